"""Accounts: sign-up, login and refresh at the tenant, who a token stands for, and what never links two accounts."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask.testing import FlaskClient
from sqlalchemy.exc import OperationalError

from app.auth import repository, service
from app.auth.tokens import VerifiedToken
from app.models import User
from tests.support.accounts import AUTH, ask_me, log_in, me, post, sign_up, user_of
from tests.support.assertions import assert_error, assert_invalid, assert_ok, problems
from tests.support.processes.tenant import AUDIENCE, PASSWORD, TenantProcess
from tests.support.rows import Person, count_rows

pytestmark = pytest.mark.usefixtures("calm")
NO_EMAILS: list[Any] = ["@.", "", "a", "a@", "@b.example.com", "a@b", "a@@b.com", "a b@c.com", "a@b..com", "a.@b.com"]
NO_EMAILS += ["a@b.com, c@d.com", "<a@b.com>", "a\0@b.com", "x" * 250 + "@b.com", None, 7, ["a@b.com"], {}]


@pytest.fixture
def email() -> str:
    """An e-mail address without an account."""
    return f"{uuid4().hex[:12]}@example.com"


def asked(tenant: TenantProcess, endpoint: str) -> int:
    return int(tenant.counters()["endpoints"][endpoint])


class TestSignUp:
    def test_an_account_is_made_here_and_at_the_tenant_and_is_the_one_that_logs_in(
        self, client: FlaskClient, email: str
    ) -> None:
        made = sign_up(client, email, username=f"sam-{email[:8]}", full_name="Sam O’Neil")
        assert (made["email"], made["email_verified"]) == (email, False)
        assert made["auth0_id"].startswith("auth0|")
        mine = me(client, log_in(client, email)["access_token"])
        assert mine == {
            "id": made["id"],
            "email": email,
            "role": "renter",
            "username": f"sam-{email[:8]}",
            "full_name": "Sam O’Neil",
            "avatar_url": None,
        }

    def test_a_made_up_username_says_nothing_of_the_email(self, client: FlaskClient, email: str) -> None:
        username = user_of(sign_up(client, email)["id"]).username
        assert email.partition("@")[0] not in username

    @pytest.mark.parametrize("code", ["user_exists", "invalid_signup"])
    def test_a_taken_email_is_a_conflict_by_either_of_the_tenant_s_words(
        self, client: FlaskClient, tenant: TenantProcess, email: str, code: str
    ) -> None:
        sign_up(client, email, full_name="The first")
        tenant.control("POST", "settings", {"existing_user_code": code})
        before = count_rows(User)
        assert_error(post(client, "signup", email=email, password=PASSWORD, full_name="The second"), 409, "CONFLICT")
        assert count_rows(User) == before

    @pytest.mark.parametrize("change", [str, str.upper], ids=["as it is", "in capitals"])
    def test_a_taken_username_is_named_before_the_tenant_is_asked(
        self, client: FlaskClient, tenant: TenantProcess, email: str, change: Callable[[str], str]
    ) -> None:
        sign_up(client, email, username="samantha")
        tenant.reset()
        body = {"email": f"other-{email}", "password": PASSWORD, "username": change("samantha")}
        details = assert_error(post(client, "signup", **body), 409, "CONFLICT")["details"]
        assert [problem["field"] for problem in details] == ["username"]
        assert asked(tenant, "signup") == 0

    @pytest.mark.parametrize("password", ["password", "12345678", "Passw0rd!", "a", "qwertyuiop", "{email}"])
    def test_a_password_that_is_easy_to_guess_is_refused_before_the_tenant_is_asked(
        self, client: FlaskClient, tenant: TenantProcess, email: str, password: str
    ) -> None:
        answer = post(client, "signup", email=email, password=password.format(email=email))
        assert problems(answer) == [("password", "too_weak")]
        assert asked(tenant, "signup") == 0

    def test_a_password_that_breaks_the_tenant_s_policy_is_refused_with_the_policy(
        self, client: FlaskClient, email: str
    ) -> None:
        answer = post(client, "signup", email=email, password="zebra staple battery horse")  # noqa: S106
        (problem,) = assert_invalid(answer, "password")
        assert "upper case letters" in problem["message"]

    @pytest.mark.parametrize("wrong", NO_EMAILS, ids=lambda value: f"{value!r:.20}")
    @pytest.mark.parametrize("path", ["signup", "login"])
    def test_what_is_no_email_is_refused_before_the_tenant_is_asked(
        self, client: FlaskClient, tenant: TenantProcess, path: str, wrong: Any
    ) -> None:
        # `@.` has all that a careless check looks for.
        assert_invalid(post(client, path, email=wrong, password=PASSWORD), "email")
        assert asked(tenant, "signup") + asked(tenant, "token") == 0

    def test_a_provisioning_that_fails_once_is_repeated(
        self, client: FlaskClient, email: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        failing_provisioning(monkeypatch, times=1)
        made = sign_up(client, email, username=f"sam-{email[:8]}")
        assert me(client, log_in(client, email)["access_token"])["id"] == made["id"]
        assert user_of(made["id"]).username == f"sam-{email[:8]}"

    def test_an_account_whose_provisioning_fails_is_completed_by_its_first_login(
        self, client: FlaskClient, email: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = count_rows(User)
        with monkeypatch.context() as patch:
            failing_provisioning(patch, times=10)
            answer = post(client, "signup", email=email, password=PASSWORD)
        body = assert_error(answer, 503, "SERVICE_UNAVAILABLE")
        assert "Log in" in body["message"]
        assert count_rows(User) == before
        assert me(client, log_in(client, email)["access_token"])["email"] == email
        assert count_rows(User) == before + 1


def failing_provisioning(monkeypatch: pytest.MonkeyPatch, *, times: int) -> None:
    """Lose the connection when a user is inserted, this many times."""
    add_user, left = repository.add_user, iter(range(times))

    def fail(*args: Any, **kwargs: Any) -> UUID:
        if next(left, None) is not None:
            raise OperationalError("INSERT", None, Exception("the connection was lost"))
        return add_user(*args, **kwargs)

    monkeypatch.setattr(repository, "add_user", fail)


BODIES = {
    "signup": {"email": "sam@example.com", "password": PASSWORD},
    "login": {"email": "sam@example.com", "password": PASSWORD},
    "refresh": {"refresh_token": "made-up"},
}


class TestBodies:
    @pytest.mark.parametrize("path", BODIES)
    def test_every_missing_field_is_named(self, client: FlaskClient, path: str) -> None:
        assert_invalid(post(client, path), *BODIES[path])

    @pytest.mark.parametrize("value", ["", "x" * 129, None, 7, ["a"], {}], ids=lambda value: f"{value!r:.10}")
    def test_a_password_is_text_of_a_bounded_length(self, client: FlaskClient, value: Any) -> None:
        assert_invalid(post(client, "login", email="sam@example.com", password=value), "password")


class TestLogin:
    @pytest.mark.parametrize("path", ["login", "refresh"])
    def test_the_answer_is_the_tenant_s_tokens_and_they_work(self, client: FlaskClient, email: str, path: str) -> None:
        made = sign_up(client, email)
        answer = post(client, "login", email=email, password=PASSWORD)
        if path == "refresh":
            answer = post(client, "refresh", refresh_token=assert_ok(answer)["refresh_token"])
        tokens = assert_ok(answer)
        assert tokens.keys() == {"access_token", "refresh_token", "id_token", "token_type", "expires_in"}
        assert isinstance(tokens["refresh_token"], str if path == "login" else str | None)
        assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 86_400)
        assert answer.headers["Cache-Control"] == "no-store"  # RFC 6749 §5.1
        assert me(client, tokens["access_token"])["id"] == made["id"]

    def test_a_wrong_refresh_token_is_refused(self, client: FlaskClient) -> None:
        assert_error(post(client, "refresh", **BODIES["refresh"]), 401, "INVALID_CREDENTIALS")

    def test_a_blocked_account_is_not_let_in(self, client: FlaskClient, tenant: TenantProcess, email: str) -> None:
        sign_up(client, email)
        refresh_token = log_in(client, email)["refresh_token"]
        tenant.control("POST", f"users/{email}", {"blocked": True})
        assert_error(post(client, "login", email=email, password=PASSWORD), 403, "FORBIDDEN")
        assert_error(post(client, "refresh", refresh_token=refresh_token), 403, "FORBIDDEN")

    def test_proxies_and_netrc_of_the_environment_are_not_used(
        self, client: FlaskClient, email: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        made = sign_up(client, email)
        (tmp_path / "netrc").write_text("default login planted password planted\n")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        assert me(client, log_in(client, email)["access_token"])["id"] == made["id"]

    @pytest.mark.parametrize(("path", "endpoint"), [("signup", "signup"), ("login", "token"), ("refresh", "token")])
    def test_the_tenant_s_own_limit_is_passed_on(
        self, client: FlaskClient, tenant: TenantProcess, path: str, endpoint: str
    ) -> None:
        tenant.fault(endpoint, "rate_limited")
        assert_error(post(client, path, **BODIES[path]), 429, "RATE_LIMITED")

    @pytest.mark.parametrize(
        "password",
        [
            "Tr0ub4dor & 3% off + 1=2",
            " Leading and trailing 7 blanks ",
            "Größe-9 \N{SNOWMAN} Пароль \U0001f600",
            "Q7;'\"\\<b>%00&x=1&password=y#",
            "e\u0301-decomposed-Accent-7",
        ],
    )
    def test_a_password_arrives_as_it_was_typed(self, client: FlaskClient, email: str, password: str) -> None:
        sign_up(client, email, password)
        assert log_in(client, email, password)["access_token"]
        assert post(client, "login", email=email, password=password.strip() + "x").status_code == 401

    def test_the_tenant_is_told_the_address_of_the_connection_and_not_of_a_header(
        self, client: FlaskClient, tenant: TenantProcess, email: str
    ) -> None:
        body = {"email": email, "password": PASSWORD}
        headers = {"X-Forwarded-For": "198.51.100.9", "auth0-forwarded-for": "198.51.100.9"}
        connection = {"REMOTE_ADDR": "203.0.113.7"}
        client.post(f"{AUTH}/auth0/login", json=body, headers=headers, environ_base=connection)
        assert tenant.counters()["forwarded_for"] == {email: "203.0.113.7"}

    def test_login_alone_takes_down_the_email_and_its_proof(
        self, client: FlaskClient, tenant: TenantProcess, email: str
    ) -> None:
        tenant.add_user(email, email_verified=True)
        mine = me(client, log_in(client, email)["access_token"])
        assert (mine["email"], user_of(mine["id"]).email_verified) == (email, True)
        assert asked(tenant, "userinfo") == 0


class TestFirstUse:
    def test_a_token_without_an_email_has_the_tenant_asked_for_it_once(
        self, client: FlaskClient, tenant: TenantProcess, email: str
    ) -> None:
        token = tenant.token(sub=tenant.add_user(email, email_verified=True))
        first = me(client, token)
        assert (first["email"], first["role"]) == (email, "renter")
        assert user_of(first["id"]).email_verified
        assert [me(client, token) for _ in range(3)] == [first] * 3
        assert asked(tenant, "userinfo") == 1

    @pytest.mark.parametrize(
        "claims", [{"aud": AUDIENCE}, {"email": "sam@example.com"}], ids=["not for userinfo", "with an e-mail"]
    )
    def test_the_tenant_is_not_asked_where_it_need_not_or_would_not_say(
        self, client: FlaskClient, tenant: TenantProcess, claims: dict[str, Any]
    ) -> None:
        assert me(client, tenant.token(**claims))["email"] == claims.get("email")
        assert asked(tenant, "userinfo") == 0

    @pytest.mark.parametrize("mode", ["down", "error", "garbage", "wrong_shape"])
    def test_a_tenant_that_is_away_delays_new_users_only(
        self, client: FlaskClient, tenant: TenantProcess, renter: Person, email: str, mode: str
    ) -> None:
        token = tenant.token(sub=tenant.add_user(email))
        tenant.fault("userinfo", mode)
        before = count_rows(User)
        assert_error(ask_me(client, token), 503, "SERVICE_UNAVAILABLE")
        assert count_rows(User) == before
        assert me(client, renter.token)["id"] == str(renter.id)
        tenant.reset()
        assert me(client, token)["email"] == email

    def test_a_known_user_costs_one_statement(
        self, client: FlaskClient, renter: Person, counting_statements: Callable[[], Any]
    ) -> None:
        with counting_statements() as counted:
            me(client, renter.token)
        assert len(counted) == 1, counted.statements


@pytest.mark.attack("accounts")
class TestLinking:
    def test_who_proves_an_email_later_is_the_same_user_with_a_proof(
        self, client: FlaskClient, tenant: TenantProcess, email: str
    ) -> None:
        made = sign_up(client, email)
        tenant.control("POST", f"users/{email}", {"email_verified": True})
        assert me(client, log_in(client, email)["access_token"])["id"] == made["id"]
        assert user_of(made["id"]).email_verified

    def test_a_proof_that_comes_with_an_access_token_counts_as_well(
        self, client: FlaskClient, tenant: TenantProcess, email: str
    ) -> None:
        subject = f"auth0|{uuid4().hex}"
        before = me(client, tenant.token(sub=subject, email=f"old-{email}"))
        after = me(client, tenant.token(sub=subject, email=email, email_verified=True))
        assert after == before | {"email": email}
        assert user_of(after["id"]).email_verified

    @pytest.mark.parametrize(
        "changes", [{}, {"sub": "auth0|other"}, {"sub": None}, {"sub": ["{sub}"]}, {"email_verified": "true"}], ids=str
    )
    def test_userinfo_links_by_a_verified_email_of_the_same_subject_only(
        self, tenant: TenantProcess, renter: Person, changes: dict[str, Any]
    ) -> None:
        # OpenID Connect Core §5.3.2. The fake identity provider does not send such answers, so they are made here.
        subject = f"auth0|{uuid4().hex}"
        token = VerifiedToken(
            issuer=tenant.issuer,
            subject=subject,
            audience=frozenset([AUDIENCE, f"{tenant.issuer}userinfo"]),
            expires_at=time.time() + 60,
            email=None,
            email_verified=False,
        )
        userinfo = {"sub": subject, "email": renter.email, "email_verified": True, **changes}
        identity = service.identify(token, fetch_userinfo=lambda: userinfo)
        assert (identity.user_id == renter.id) == (changes == {})


class TestRoles:
    def test_no_token_gives_a_role(self, client: FlaskClient, tenant: TenantProcess, renter: Person) -> None:
        claims = {"role": "admin", "roles": ["admin"], "permissions": ["admin"], "scope": "admin", "is_admin": True}
        for subject in (renter.subject, f"auth0|{uuid4().hex}"):
            assert me(client, tenant.token(sub=subject, aud=AUDIENCE, **claims))["role"] == "renter"

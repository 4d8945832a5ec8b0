"""Accounts: sign-up, login and refresh at the tenant, who a token stands for, and what never links two accounts."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select, update
from werkzeug.test import TestResponse

from app.auth import service
from app.auth.principal import Identity, SubjectClaims
from app.auth.tokens import VerifiedToken
from app.database import transaction
from app.models import ExternalIdentity, Role, User
from app.settings import Settings
from tests.conftest import StatementCounter
from tests.support.processes.tenant import AUDIENCE, PASSWORD, TenantProcess
from tests.support.rows import Person

AUTH = "/api/v1/auth"
TENANT_AWAY = ["down", "error", "garbage", "wrong_shape"]


@pytest.fixture(autouse=True)
def unbroken(tenant: TenantProcess) -> None:
    tenant.reset()


@pytest.fixture
def email() -> str:
    return f"{uuid4().hex[:12]}@example.com"


def post(client: FlaskClient, path: str, **body: Any) -> TestResponse:
    return client.post(f"{AUTH}/auth0/{path}", json=body)


def sign_up(client: FlaskClient, email: str, password: str = PASSWORD, **more: Any) -> dict[str, Any]:
    answer = post(client, "signup", email=email, password=password, **more)
    assert answer.status_code == 201, answer.text
    return dict(answer.json or {})


def log_in(client: FlaskClient, email: str, password: str = PASSWORD) -> dict[str, Any]:
    answer = post(client, "login", email=email, password=password)
    assert answer.status_code == 200, answer.text
    return dict(answer.json or {})


def me(client: FlaskClient, token: str) -> dict[str, Any]:
    answer = client.get(f"{AUTH}/me", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200, answer.text
    return dict(answer.json or {})


def refused(answer: TestResponse, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    body = dict(answer.json or {})
    assert body["code"] == code
    if status in (429, 503):
        assert int(answer.headers["Retry-After"]) > 0
    if status == 401:
        assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
    return body


def fields_of(body: dict[str, Any]) -> list[str]:
    return [problem["field"] for problem in body["details"]]


def asked(tenant: TenantProcess, endpoint: str) -> int:
    """How often the service has asked the tenant here."""
    return int(tenant.counters()["endpoints"][endpoint])


def user_of(user_id: str) -> User:
    with transaction() as session:
        return session.scalars(select(User).where(User.id == UUID(user_id))).one()


def count_users() -> int:
    with transaction() as session:
        return session.scalars(select(func.count()).select_from(User)).one()


NO_EMAILS: list[Any] = ["@.", "", "a", "a@", "@b.example.com", "a@b", "a@@b.com", "a b@c.com", "a@b..com", "a.@b.com"]
NO_EMAILS += ["a@b.com, c@d.com", "<a@b.com>", "a\0@b.com", "x" * 250 + "@b.com", None, 7, ["a@b.com"], {}]


class TestSignUp:
    def test_an_account_is_made_here_and_at_the_tenant_and_is_the_one_that_logs_in(
        self, client: FlaskClient, email: str
    ) -> None:
        made = sign_up(client, email, username=f"sam-{email[:8]}", full_name="Sam O’Neil")
        assert made.keys() == {"id", "email", "email_verified", "auth0_id"}
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

    def test_its_identity_carries_the_configured_issuer(
        self, client: FlaskClient, settings: Settings, email: str
    ) -> None:
        # A constant here would give every user another issuer than their tokens have.
        made = sign_up(client, email)
        with transaction() as session:
            rows = session.scalars(select(ExternalIdentity).where(ExternalIdentity.user_id == UUID(made["id"]))).all()
        assert [(row.issuer, row.subject) for row in rows] == [(settings.auth0_issuer, made["auth0_id"])]

    def test_a_made_up_username_says_nothing_of_the_email(self, client: FlaskClient, email: str) -> None:
        username = user_of(sign_up(client, email)["id"]).username
        assert email.partition("@")[0] not in username

    @pytest.mark.parametrize("code", ["user_exists", "invalid_signup"])
    def test_a_taken_email_is_a_conflict_by_either_of_the_tenant_s_words(
        self, client: FlaskClient, tenant: TenantProcess, email: str, code: str
    ) -> None:
        sign_up(client, email, full_name="The first")
        tenant.control("POST", "settings", {"existing_user_code": code})
        before = count_users()
        refused(post(client, "signup", email=email, password=PASSWORD, full_name="The second"), 409, "CONFLICT")
        assert count_users() == before

    @pytest.mark.parametrize("change", [str, str.upper], ids=["as it is", "in capitals"])
    def test_a_taken_username_is_named_before_the_tenant_is_asked(
        self, client: FlaskClient, tenant: TenantProcess, email: str, change: Callable[[str], str]
    ) -> None:
        sign_up(client, email, username="samantha")
        tenant.reset()
        body = {"email": f"other-{email}", "password": PASSWORD, "username": change("samantha")}
        assert fields_of(refused(post(client, "signup", **body), 409, "CONFLICT")) == ["username"]
        assert asked(tenant, "signup") == 0

    @pytest.mark.parametrize("password", ["password", "12345678", "Passw0rd!", "a", "qwertyuiop", "{email}"])
    def test_a_password_that_is_easy_to_guess_is_refused_before_the_tenant_is_asked(
        self, client: FlaskClient, tenant: TenantProcess, email: str, password: str
    ) -> None:
        answer = post(client, "signup", email=email, password=password.format(email=email))
        body = refused(answer, 400, "VALIDATION_ERROR")
        assert [(problem["field"], problem["code"]) for problem in body["details"]] == [("password", "too_weak")]
        assert asked(tenant, "signup") == 0

    def test_a_password_that_breaks_the_tenant_s_policy_is_refused_with_the_policy(
        self, client: FlaskClient, email: str
    ) -> None:
        answer = post(client, "signup", email=email, password="zebra staple battery horse")  # noqa: S106
        body = refused(answer, 400, "VALIDATION_ERROR")
        assert fields_of(body) == ["password"]
        assert "upper case letters" in body["details"][0]["message"]

    @pytest.mark.parametrize("wrong", NO_EMAILS, ids=lambda value: f"{value!r:.20}")
    @pytest.mark.parametrize("path", ["signup", "login"])
    def test_what_is_no_email_is_refused_before_the_tenant_is_asked(
        self, client: FlaskClient, tenant: TenantProcess, path: str, wrong: Any
    ) -> None:
        # `@.` has all that a careless check looks for.
        body = refused(post(client, path, email=wrong, password=PASSWORD), 400, "VALIDATION_ERROR")
        assert fields_of(body) == ["email"]
        assert asked(tenant, "signup") + asked(tenant, "token") == 0


BODIES = {
    "signup": {"email": "sam@example.com", "password": PASSWORD},
    "login": {"email": "sam@example.com", "password": PASSWORD},
    "refresh": {"refresh_token": "made-up"},
}


class TestBodies:
    @pytest.mark.parametrize("path", BODIES)
    @pytest.mark.parametrize("field", ["role", "email_verified", "id", "connection", "auth0_id", "is_admin"])
    def test_an_unknown_field_is_refused_by_name(self, client: FlaskClient, path: str, field: str) -> None:
        body = refused(post(client, path, **BODIES[path], **{field: "admin"}), 400, "VALIDATION_ERROR")
        assert [(problem["field"], problem["code"]) for problem in body["details"]] == [(field, "unknown_field")]

    @pytest.mark.parametrize("path", BODIES)
    def test_every_missing_field_is_named(self, client: FlaskClient, path: str) -> None:
        body = refused(post(client, path), 400, "VALIDATION_ERROR")
        assert sorted(fields_of(body)) == sorted(BODIES[path])

    @pytest.mark.parametrize("value", ["", "x" * 129, None, 7, ["a"], {}], ids=lambda value: f"{value!r:.10}")
    def test_a_password_is_text_of_a_bounded_length(self, client: FlaskClient, value: Any) -> None:
        body = refused(post(client, "login", email="sam@example.com", password=value), 400, "VALIDATION_ERROR")
        assert fields_of(body) == ["password"]


class TestLogin:
    def test_the_answer_is_the_tenant_s_tokens_and_they_work(self, client: FlaskClient, email: str) -> None:
        made = sign_up(client, email)
        answer = post(client, "login", email=email, password=PASSWORD)
        tokens = dict(answer.json or {})
        assert tokens.keys() == {"access_token", "refresh_token", "id_token", "token_type", "expires_in"}
        assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 86_400)
        assert answer.headers["Cache-Control"] == "no-store"  # RFC 6749 §5.1
        assert me(client, tokens["access_token"])["id"] == made["id"]

    def test_a_refresh_gives_an_access_token_and_a_refresh_token_only_if_there_is_a_new_one(
        self, client: FlaskClient, email: str
    ) -> None:
        made = sign_up(client, email)
        answer = post(client, "refresh", refresh_token=log_in(client, email)["refresh_token"])
        assert answer.status_code == 200, answer.text
        tokens = dict(answer.json or {})
        assert tokens.keys() == {"access_token", "refresh_token", "id_token", "token_type", "expires_in"}
        assert tokens["refresh_token"] is None or isinstance(tokens["refresh_token"], str)
        assert answer.headers["Cache-Control"] == "no-store"
        assert me(client, tokens["access_token"])["id"] == made["id"]

    def test_a_wrong_password_and_an_unknown_email_are_the_same_answer(self, client: FlaskClient, email: str) -> None:
        sign_up(client, email)
        wrong = refused(post(client, "login", email=email, password=PASSWORD[1:]), 401, "INVALID_CREDENTIALS")
        unknown = refused(post(client, "login", email=f"un-{email}", password=PASSWORD), 401, "INVALID_CREDENTIALS")
        assert wrong | {"request_id": ""} == unknown | {"request_id": ""}

    def test_a_wrong_refresh_token_is_refused(self, client: FlaskClient) -> None:
        refused(post(client, "refresh", **BODIES["refresh"]), 401, "INVALID_CREDENTIALS")

    def test_a_blocked_account_is_not_let_in(self, client: FlaskClient, tenant: TenantProcess, email: str) -> None:
        sign_up(client, email)
        refresh_token = log_in(client, email)["refresh_token"]
        tenant.control("POST", f"users/{email}", {"blocked": True})
        refused(post(client, "login", email=email, password=PASSWORD), 403, "FORBIDDEN")
        refused(post(client, "refresh", refresh_token=refresh_token), 403, "FORBIDDEN")

    @pytest.mark.parametrize(("path", "endpoint"), [("signup", "signup"), ("login", "token"), ("refresh", "token")])
    def test_the_tenant_s_own_limit_is_passed_on(
        self, client: FlaskClient, tenant: TenantProcess, path: str, endpoint: str
    ) -> None:
        tenant.fault(endpoint, "rate_limited")
        refused(post(client, path, **BODIES[path]), 429, "RATE_LIMITED")

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

    def test_the_tenant_is_told_the_client_s_address(
        self, client: FlaskClient, tenant: TenantProcess, email: str
    ) -> None:
        body = {"email": email, "password": PASSWORD}
        client.post(f"{AUTH}/auth0/login", json=body, environ_base={"REMOTE_ADDR": "203.0.113.7"})
        assert tenant.counters()["forwarded_for"] == {email: "203.0.113.7"}

    def test_the_tenant_is_not_told_what_a_client_only_says_of_its_address(
        self, client: FlaskClient, tenant: TenantProcess, email: str
    ) -> None:
        headers = {"X-Forwarded-For": "198.51.100.9", "auth0-forwarded-for": "198.51.100.9"}
        client.post(f"{AUTH}/auth0/login", json={"email": email, "password": PASSWORD}, headers=headers)
        assert tenant.counters()["forwarded_for"] == {email: "127.0.0.1"}

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

    @pytest.mark.parametrize("mode", TENANT_AWAY)
    def test_a_tenant_that_is_away_delays_new_users_only(
        self, client: FlaskClient, tenant: TenantProcess, renter: Person, email: str, mode: str
    ) -> None:
        token = tenant.token(sub=tenant.add_user(email))
        tenant.fault("userinfo", mode)
        before = count_users()
        answer = client.get(f"{AUTH}/me", headers={"Authorization": f"Bearer {token}"})
        refused(answer, 503, "SERVICE_UNAVAILABLE")
        assert count_users() == before
        assert me(client, renter.token)["id"] == str(renter.id)
        tenant.reset()
        assert me(client, token)["email"] == email

    @pytest.mark.parametrize("wrong", ["@.", "", 7, ["sam@example.com"], "a b@c.com", "sam@example.com\0"])
    def test_a_claim_that_is_no_email_is_left_out(self, client: FlaskClient, tenant: TenantProcess, wrong: Any) -> None:
        mine = me(client, tenant.token(aud=AUDIENCE, email=wrong, email_verified=True))
        assert mine["email"] is None
        assert not user_of(mine["id"]).email_verified

    def test_a_known_user_costs_one_statement(
        self, client: FlaskClient, renter: Person, counting_statements: Callable[[], Any]
    ) -> None:
        counting: AbstractContextManager[StatementCounter] = counting_statements()
        with counting as counted:
            me(client, renter.token)
        assert len(counted) == 1, counted.statements

    def test_me_is_these_six_fields(self, client: FlaskClient, renter: Person) -> None:
        mine = me(client, renter.token)
        assert mine.keys() == {"id", "email", "role", "username", "full_name", "avatar_url"}
        assert (mine["id"], mine["email"], mine["role"]) == (str(renter.id), renter.email, "renter")


@pytest.mark.attack("accounts")
class TestLinking:
    def test_a_verified_email_leads_to_the_account_where_it_is_verified_too(
        self, client: FlaskClient, tenant: TenantProcess, renter: Person
    ) -> None:
        token = tenant.token(sub=f"google-oauth2|{uuid4().hex}", email=renter.email.upper(), email_verified=True)
        assert me(client, token)["id"] == str(renter.id)
        assert me(client, tenant.token(sub=renter.subject))["id"] == str(renter.id)

    @pytest.mark.parametrize("verified", ["true", "True", 1, "1", [True], {"true": True}, 0, False, None], ids=repr)
    def test_nothing_but_a_boolean_true_verifies_an_email(
        self, client: FlaskClient, tenant: TenantProcess, renter: Person, verified: Any
    ) -> None:
        mine = me(client, tenant.token(email=renter.email, email_verified=verified))
        assert mine["id"] != str(renter.id)
        assert not user_of(mine["id"]).email_verified

    def test_an_email_without_a_word_on_its_proof_does_not_link(
        self, client: FlaskClient, tenant: TenantProcess, renter: Person
    ) -> None:
        assert me(client, tenant.token(email=renter.email))["id"] != str(renter.id)

    def test_an_account_made_beforehand_with_somebody_s_email_is_not_what_they_get(
        self, client: FlaskClient, tenant: TenantProcess, email: str
    ) -> None:
        planted = sign_up(client, email)
        attacker = log_in(client, email)["access_token"]
        victim = tenant.token(sub=f"google-oauth2|{uuid4().hex}", email=email, email_verified=True)
        mine = me(client, victim)
        assert mine["id"] != planted["id"]
        assert user_of(mine["id"]).email_verified
        assert me(client, attacker)["id"] == planted["id"]
        assert not user_of(planted["id"]).email_verified

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

    def test_a_proof_that_comes_second_takes_nothing_from_who_was_first(
        self, client: FlaskClient, tenant: TenantProcess, renter: Person, email: str
    ) -> None:
        subject = f"auth0|{uuid4().hex}"
        second = me(client, tenant.token(sub=subject, email=email))
        proven = tenant.token(sub=subject, email=renter.email, email_verified=True)
        assert me(client, proven) == second
        assert me(client, renter.token)["id"] == str(renter.id)

    @pytest.mark.parametrize(
        "answer", [{"sub": "auth0|other"}, {"sub": None}, {"sub": ["{sub}"]}, {"email_verified": "true"}], ids=str
    )
    def test_what_userinfo_says_of_another_or_without_proof_does_not_link(
        self, tenant: TenantProcess, renter: Person, answer: dict[str, Any]
    ) -> None:
        # OpenID Connect Core §5.3.2. The tenant cannot be made to say this, so its answer is played.
        subject = f"auth0|{uuid4().hex}"
        said = {"sub": subject, "email": renter.email, "email_verified": True, **answer}
        assert identify(tenant, subject, said).user_id != renter.id

    def test_what_userinfo_says_with_proof_does(self, tenant: TenantProcess, renter: Person) -> None:
        subject = f"auth0|{uuid4().hex}"
        said = {"sub": subject, "email": renter.email, "email_verified": True}
        assert identify(tenant, subject, said).user_id == renter.id

    def test_one_subject_at_two_issuers_is_two_users(self, renter: Person, settings: Settings) -> None:
        here = SubjectClaims(
            issuer=settings.auth0_issuer, subject=renter.subject, email=renter.email, email_verified=False
        )
        assert service.provision(here).user_id == renter.id
        assert service.provision(replace(here, issuer="https://other.example/")).user_id != renter.id


def identify(tenant: TenantProcess, subject: str, userinfo: dict[str, Any]) -> Identity:
    audience = frozenset([AUDIENCE, f"{tenant.issuer}userinfo"])
    token = VerifiedToken(
        issuer=tenant.issuer,
        subject=subject,
        audience=audience,
        expires_at=time.time() + 60,
        email=None,
        email_verified=False,
    )
    return service.identify(token, fetch_userinfo=lambda: userinfo)


class TestRoles:
    def test_a_change_of_role_counts_from_the_next_request_on(self, client: FlaskClient, renter: Person) -> None:
        for role in (Role.ADMIN, Role.OWNER, Role.RENTER):
            with transaction() as session:
                session.execute(update(User).where(User.id == renter.id).values(role=role))
            assert me(client, renter.token)["role"] == role.value

    def test_no_token_gives_a_role(self, client: FlaskClient, tenant: TenantProcess, renter: Person) -> None:
        claims = {"role": "admin", "roles": ["admin"], "permissions": ["admin"], "scope": "admin", "is_admin": True}
        for subject in (renter.subject, f"auth0|{uuid4().hex}"):
            assert me(client, tenant.token(sub=subject, aud=AUDIENCE, **claims))["role"] == "renter"

"""Nobody gets into somebody else's account: not by an e-mail, not by an account made first, not by being deleted."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask.testing import FlaskClient

from app.auth import service
from app.auth.principal import SubjectClaims
from app.errors import InvalidToken
from app.models import Role, User
from tests.support.accounts import ask_me, post, user_id, user_of
from tests.support.admin_api import change_role, delete_user
from tests.support.assertions import assert_error, assert_ok
from tests.support.processes.tenant import AUDIENCE, PASSWORD, TenantProcess
from tests.support.rows import Person, add_person, count_rows

pytestmark = [pytest.mark.attack("accounts"), pytest.mark.usefixtures("calm")]
ME = "/api/v1/auth/me"
# Nothing but boolean true proves an address.
NO_PROOFS: list[Any] = ["absent", "true", "True", 1, "1", [True], {"true": True}, None, False, 0]
# Other addresses, which a careless comparison takes for victim@example.com.
LOOK_ALIKES = {
    "a dotless i": "v\u0131ctim@example.com",
    "a dotted capital I, whose small letter is i": "v\u0130ctim@example.com",
    "a Cyrillic i": "v\u0456ctim@example.com",
    "a full-width v": "\uff56ictim@example.com",
    "an accent": "vi\u0301ctim@example.com",
    "a Cyrillic letter in the domain": "victim@exampl\u0435.com",
    "a suffix": "victim@example.com.attacker.example",
    "a tag": "victim+x@example.com",
    "a dot": "vic.tim@example.com",
}
# Other spellings of the same address.
SAME: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "in capitals": str.upper,
    "with capitals": str.title,
    "with a full-width domain": lambda email: email.replace("example.com", "\uff45xample.com"),
}
in_other_letters = pytest.mark.parametrize("change", SAME.values(), ids=SAME)
MALFORMED: list[Any] = ["victim\uff20example.com", "vi\u200bctim@example.com", "victim@example.com\0"]
MALFORMED += [" victim@example.com", "vic tim@example.com", ["victim@example.com"], "@.", "", 7]


@pytest.fixture
def victim(client: FlaskClient, tenant: TenantProcess) -> str:
    """The id of somebody who has proven victim@example.com."""
    return user_id(client, tenant.token(email="victim@example.com", email_verified=True))


class TestByAnEmail:
    @pytest.mark.parametrize("proof", NO_PROOFS, ids=repr)
    def test_an_unproven_email_leads_to_nobody_and_stays_unproven(
        self, client: FlaskClient, tenant: TenantProcess, victim: str, proof: Any
    ) -> None:
        claims = {} if proof == "absent" else {"email_verified": proof}
        attacker = user_id(client, tenant.token(email="victim@example.com", **claims))
        assert attacker != victim
        assert not user_of(attacker).email_verified

    @pytest.mark.parametrize("email", LOOK_ALIKES.values(), ids=LOOK_ALIKES)
    def test_a_proven_email_that_looks_alike_is_another_one(
        self, client: FlaskClient, tenant: TenantProcess, victim: str, email: str
    ) -> None:
        token = tenant.token(email=email, email_verified=True)
        assert user_id(client, token) != victim
        assert user_id(client, token) != victim  # nor the second time, when it is known

    @pytest.mark.parametrize("email", MALFORMED, ids=ascii)
    def test_what_is_no_email_proves_nothing(
        self, client: FlaskClient, tenant: TenantProcess, victim: str, email: Any
    ) -> None:
        attacker = user_id(client, tenant.token(aud=AUDIENCE, email=email, email_verified=True))
        assert attacker != victim
        assert (user_of(attacker).email, user_of(attacker).email_verified) == (None, False)

    @in_other_letters
    def test_the_same_email_in_other_letters_is_its_owner_s(
        self, client: FlaskClient, tenant: TenantProcess, victim: str, change: Callable[[str], str]
    ) -> None:
        email = change("victim@example.com")
        assert user_id(client, tenant.token(email=email, email_verified=True)) == victim
        assert user_id(client, tenant.token(email=email)) != victim

    @pytest.mark.parametrize("own_is_proven", [True, False])
    @pytest.mark.parametrize("proof", [True, "true", None], ids=repr)
    def test_an_email_that_the_issuer_changes_to_the_victim_s_changes_nobody(
        self, client: FlaskClient, tenant: TenantProcess, victim: str, own_is_proven: bool, proof: Any
    ) -> None:
        subject = f"auth0|{uuid4().hex}"
        before = tenant.token(sub=subject, email="attacker@example.com", email_verified=own_is_proven)
        attacker = user_id(client, before)
        after = tenant.token(sub=subject, email="victim@example.com", email_verified=proof)
        assert [user_id(client, token) for token in (after, before)] == [attacker, attacker]
        assert user_of(attacker).email == "attacker@example.com"
        assert user_id(client, tenant.token(email="VICTIM@example.com", email_verified=True)) == victim

    def test_the_same_subject_at_another_issuer_is_somebody_else(self, renter: Person, tenant: TenantProcess) -> None:
        elsewhere = SubjectClaims(
            issuer="https://attacker.example/", subject=renter.subject, email=None, email_verified=False
        )
        assert service.provision(elsewhere).user_id != renter.id
        assert service.provision(replace(elsewhere, issuer=tenant.issuer)).user_id == renter.id


class TestByAnAccountMadeFirst:
    @in_other_letters
    def test_the_victim_who_comes_later_gets_an_account_of_their_own(
        self, client: FlaskClient, tenant: TenantProcess, change: Callable[[str], str]
    ) -> None:
        token = tenant.token(email=change("victim@example.com"))
        planted = user_id(client, token)
        victim = user_id(client, tenant.token(email="victim@example.com", email_verified=True))
        assert victim != planted
        assert user_id(client, token) == planted
        assert not user_of(planted).email_verified

    @in_other_letters
    def test_one_who_signs_up_with_the_victim_s_email_later_gets_nothing_of_theirs(
        self, client: FlaskClient, tenant: TenantProcess, change: Callable[[str], str]
    ) -> None:
        email = f"victim-{uuid4().hex[:12]}@example.com"  # the tenant keeps those who signed up
        victim = user_id(client, tenant.token(email=email, email_verified=True))
        body = {"email": change(email), "password": PASSWORD}
        made = assert_ok(post(client, "signup", **body), 201)
        tokens = assert_ok(post(client, "login", **body))
        assert user_id(client, tokens["access_token"]) == made["id"] != victim
        assert user_of(victim).email == email

    def test_a_second_login_that_the_attacker_bound_first_stays_theirs_alone(
        self, client: FlaskClient, tenant: TenantProcess
    ) -> None:
        # The attacker's account holds the victim's address unproven, and one that the attacker proves.
        subject = f"auth0|{uuid4().hex}"
        planted = user_id(client, tenant.token(sub=subject, email="victim@example.com"))
        proven = tenant.token(sub=subject, email="attacker@example.com", email_verified=True)
        assert user_id(client, proven) == planted
        victim = user_id(client, tenant.token(email="victim@example.com", email_verified=True))
        assert victim != planted
        assert user_of(planted).email == "attacker@example.com"


class TestByADeletedAccount:
    def test_its_token_is_refused_in_one_statement_and_creates_no_user(
        self, client: FlaskClient, admin: Person, renter: Person, counting_statements: Any
    ) -> None:
        assert ask_me(client, renter.token).status_code == 200
        assert delete_user(client, admin, renter.id).status_code == 204
        before = count_rows(User)
        for method, path in (("GET", ME), ("PUT", "/api/v1/users/me/owner-profile"), ("GET", "/api/v1/conversations")):
            with counting_statements() as counted:
                answer = client.open(path, method=method, headers=renter.headers, json={"business_info": {}})
            assert len(counted) == 1, counted.statements
            assert_error(answer, 401, "INVALID_TOKEN")
            assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
        assert count_rows(User) == before

    @pytest.mark.parametrize("email", ["their own", "a new one", "somebody else's"])
    def test_no_proven_email_brings_it_back_or_leads_elsewhere(
        self, client: FlaskClient, tenant: TenantProcess, admin: Person, owner: Person, renter: Person, email: str
    ) -> None:
        assert delete_user(client, admin, renter.id).status_code == 204
        before = count_rows(User)
        address = {"their own": renter.email, "somebody else's": owner.email}.get(email, "new@example.com")
        token = tenant.token(sub=renter.subject, email=address, email_verified=True)
        assert ask_me(client, token).status_code == 401
        assert count_rows(User) == before

    def test_login_does_not_bring_it_back(self, client: FlaskClient, tenant: TenantProcess, admin: Person) -> None:
        email = f"{uuid4().hex[:12]}@example.com"
        body = {"email": email, "password": PASSWORD}
        tenant.add_user(email, email_verified=True)
        token = assert_ok(post(client, "login", **body))["access_token"]
        assert delete_user(client, admin, UUID(user_id(client, token))).status_code == 204
        before = count_rows(User)
        again = post(client, "login", **body).json or {}
        for access_token in (token, again.get("access_token", token)):
            assert ask_me(client, access_token).status_code == 401
        # Nor does signing up again: the account is still at the tenant.
        assert post(client, "signup", **body).status_code == 409
        assert count_rows(User) == before

    def test_sign_up_under_its_subject_does_not_bring_it_back(
        self, client: FlaskClient, tenant: TenantProcess, admin: Person, renter: Person
    ) -> None:
        assert delete_user(client, admin, renter.id).status_code == 204
        claims = SubjectClaims(
            issuer=tenant.issuer, subject=renter.subject, email="new@example.com", email_verified=False
        )
        before = count_rows(User)
        with pytest.raises(InvalidToken):
            service.provision(claims, username="newcomer")
        assert count_rows(User) == before


class TestByAnOldRole:
    def test_a_demoted_admin_s_token_is_a_renter_s_from_the_next_request_on(
        self, client: FlaskClient, tenant: TenantProcess, admin: Person, renter: Person
    ) -> None:
        demoted = add_person(tenant, Role.ADMIN)
        assert change_role(client, admin, demoted.id, "renter").status_code == 200
        assert (ask_me(client, demoted.token).json or {})["role"] == "renter"
        for method, path in (
            ("DELETE", f"/api/v1/admin/users/{renter.id}"),
            ("PUT", f"/api/v1/admin/users/{demoted.id}/role"),
            ("PUT", f"/api/v1/users/{renter.id}"),
            ("POST", "/api/v1/equipment"),
        ):
            answer = client.open(path, method=method, headers=demoted.headers, json={"full_name": "Mallory"})
            assert answer.status_code in (400, 403), answer.text
        assert (ask_me(client, renter.token).json or {})["full_name"] is None

"""Changes of roles and listings by admins: the last admin stays, and the audit log holds every change."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.db.session import transaction
from app.errors import Forbidden
from app.models import Role
from app.users import service
from tests.support.admin_api import ADMIN, audit_log, change_role, delete_user, role_of
from tests.support.assertions import assert_error, assert_invalid, assert_ok
from tests.support.processes.tenant import TenantProcess
from tests.support.rows import Person, add_equipment, add_person, photo_id_of


class TestRoles:
    @pytest.mark.parametrize("role", [role.value for role in Role])
    def test_a_role_is_given_at_once_and_shown_as_in_the_list(
        self, client: FlaskClient, admin: Person, owner: Person, role: str
    ) -> None:
        add_equipment(owner.id)
        add_equipment(owner.id)
        add_equipment(admin.id)
        body = assert_ok(change_role(client, admin, owner.id, role))
        assert body.pop("created_at").endswith("+00:00")
        me = client.get("/api/v1/auth/me", headers=owner.headers).json or {}
        assert body == {
            "id": str(owner.id),
            "email": owner.email,
            "role": role,
            "username": me["username"],
            "full_name": None,
            "equipment_count": 2,
        }
        assert me["role"] == role

    @pytest.mark.parametrize("role", ["emperor", "ADMIN", "", None, 1, ["admin"], {"admin": True}], ids=repr)
    def test_what_is_no_role_is_refused_by_name(
        self, client: FlaskClient, admin: Person, renter: Person, role: Any
    ) -> None:
        assert_invalid(change_role(client, admin, renter.id, role), "role")
        assert role_of(renter.id) == "renter"


@pytest.mark.attack("roles and objects")
def test_an_admin_who_is_demoted_during_the_request_changes_nothing(
    client: FlaskClient, renter: Person, owner: Person, admin: Person
) -> None:
    for user_id in (renter.id, admin.id, uuid4()):
        with pytest.raises(Forbidden), transaction() as session:
            service.lock_for_role_change(session, owner.id, user_id, Role.ADMIN)
        with pytest.raises(Forbidden), transaction() as session:
            service.lock_for_role_change(session, owner.id, user_id, None)


class TestTheLastAdmin:
    @pytest.mark.attack("accounts")
    @pytest.mark.parametrize("headers", [{}, {"If-Match": "*"}, {"If-Match": '"9999.000000"'}], ids=str)
    @pytest.mark.parametrize("others", [0, 1], ids=["the only one", "one of two"])
    @pytest.mark.parametrize("role", ["renter", "owner", None], ids=str)
    def test_no_admin_demotes_or_deletes_themselves(
        self,
        client: FlaskClient,
        tenant: TenantProcess,
        admin: Person,
        role: str | None,
        others: int,
        headers: dict[str, str],
    ) -> None:
        for _ in range(others):
            add_person(tenant, Role.ADMIN)
        if role is None:
            answer = delete_user(client, admin, admin.id, **headers)
        else:
            answer = change_role(client, admin, admin.id, role, **headers)
        assert "your own account" in assert_error(answer, 409, "CONFLICT")["message"]
        assert change_role(client, admin, admin.id, "admin").status_code == 200
        assert (role_of(admin.id), audit_log()) == ("admin", [])


def test_what_an_admin_changes_of_another_s_account_is_written_down_by_field_and_not_by_value(
    client: FlaskClient, admin: Person, renter: Person
) -> None:
    body = {"full_name": "Sam", "avatar_url": "https://pictures.example.com/sam.jpg"}
    for who in (renter, admin):
        assert client.put(f"/api/v1/users/{renter.id}", json=body, headers=who.headers).status_code == 200
    (entry,) = audit_log()
    assert (entry["actor_id"], entry["action"], entry["subject_id"]) == (admin.id, "user.changed", renter.id)
    assert entry["after"] == {"fields": "avatar_url, full_name"}
    assert entry["request_id"]


def test_what_an_admin_changes_of_another_s_listing_is_written_down(
    client: FlaskClient, admin: Person, owner: Person
) -> None:
    for who in (owner, admin):
        equipment_id = add_equipment(owner.id, photos=1)
        path = f"/api/v1/equipment/{equipment_id}"
        photo = {"photo_url": "https://photos.example.com/2.jpg"}
        assert client.put(path, json={"title": "Another title"}, headers=who.headers).status_code == 200
        assert client.post(f"{path}/photos", json=photo, headers=who.headers).status_code == 201
        assert client.delete(f"{path}/photos/{photo_id_of(equipment_id)}", headers=who.headers).status_code == 204
        assert client.delete(path, headers=who.headers).status_code == 204
    entries = audit_log()
    verbs = ("changed", "photo_added", "photo_removed", "deleted")
    assert [entry["action"] for entry in entries] == [f"equipment.{verb}" for verb in verbs]
    assert {(entry["actor_id"], entry["subject_id"]) for entry in entries} == {(admin.id, equipment_id)}
    assert {entry["before"]["owner_id"] for entry in entries} == {str(owner.id)}


def offer(client: FlaskClient, who: Person, equipment_id: UUID, is_available: Any, **headers: str) -> TestResponse:
    path = f"{ADMIN}/equipment/{equipment_id}/availability"
    return client.put(path, json={"is_available": is_available}, headers=who.headers | headers)


def take_down(client: FlaskClient, who: Person, equipment_id: UUID, **headers: str) -> TestResponse:
    return client.delete(f"{ADMIN}/equipment/{equipment_id}", headers=who.headers | headers)


def entry(admin: Person, owner: Person, equipment_id: UUID, action: str, **changes: Any) -> dict[str, Any]:
    about = {"owner_id": str(owner.id), "title": "Cordless drill"}
    kept = {name: value if value is None else about | value for name, value in changes.items()}
    common = {"actor_id": admin.id, "subject_id": equipment_id, "request_id": "request-of-a-test"}
    return {**common, "action": f"equipment.{action}", **kept}


REQUEST = {"X-Request-Id": "request-of-a-test"}


class TestAvailability:
    def test_it_changes_at_once_and_is_shown_as_in_the_list(
        self, client: FlaskClient, admin: Person, owner: Person
    ) -> None:
        equipment_id = add_equipment(owner.id)
        for is_available in (False, True):
            answer = offer(client, admin, equipment_id, is_available)
            assert (answer.json or {})["is_available"] is is_available
            listed = client.get(f"{ADMIN}/equipment?owner_id={owner.id}", headers=admin.headers).json or {}
            assert listed["equipment"] == [answer.json]
            assert (client.get(f"/api/v1/equipment/{equipment_id}").json or {})["is_available"] is is_available

    @pytest.mark.parametrize("whose", ["owner", "admin"])
    def test_it_is_written_down_even_of_one_s_own(
        self, client: FlaskClient, admin: Person, owner: Person, whose: str
    ) -> None:
        its_owner = {"owner": owner, "admin": admin}[whose]
        equipment_id = add_equipment(its_owner.id, title="Cordless drill")
        offer(client, admin, equipment_id, False, **REQUEST)
        states = {"before": {"is_available": True}, "after": {"is_available": False}}
        assert audit_log() == [entry(admin, its_owner, equipment_id, "availability_changed", **states)]

    @pytest.mark.parametrize("value", ["false", 0, None, [], "", {}], ids=repr)
    def test_what_is_no_boolean_is_refused(self, client: FlaskClient, admin: Person, owner: Person, value: Any) -> None:
        equipment_id = add_equipment(owner.id)
        assert_invalid(offer(client, admin, equipment_id, value), "is_available")
        assert (client.get(f"/api/v1/equipment/{equipment_id}").json or {})["is_available"] is True


class TestTakingDown:
    @pytest.mark.parametrize("whose", ["owner", "admin"])
    def test_it_is_gone_and_written_down(self, client: FlaskClient, admin: Person, owner: Person, whose: str) -> None:
        its_owner = {"owner": owner, "admin": admin}[whose]
        equipment_id = add_equipment(its_owner.id, photos=2, title="Cordless drill")
        answer = take_down(client, admin, equipment_id, **REQUEST)
        assert (answer.status_code, answer.data) == (204, b"")
        assert client.get(f"/api/v1/equipment/{equipment_id}").status_code == 404
        assert audit_log() == [
            entry(admin, its_owner, equipment_id, "deleted", before={"is_available": True}, after=None)
        ]
        assert_error(take_down(client, admin, equipment_id), 404, "NOT_FOUND")
        assert len(audit_log()) == 1

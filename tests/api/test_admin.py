"""What admins change of users' roles; the last admin stays, and the audit log knows of all of it."""

from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import update

from app.audit import Author
from app.database import transaction
from app.errors import Forbidden
from app.models import Role, User
from app.users import service
from tests.support.admin_api import ADMIN, audit_log, change_role, delete_user, role_of
from tests.support.assertions import assert_error
from tests.support.processes.tenant import TenantProcess
from tests.support.rows import Person, add_equipment, add_person, photo_id_of

ROLES = [role.value for role in Role]


def promote(app: Flask, email: str, role: str) -> Any:
    return app.test_cli_runner().invoke(args=["users", "promote", email, role])


class TestRoles:
    @pytest.mark.parametrize("role", ROLES)
    def test_a_role_is_given_at_once_and_shown_as_in_the_list(
        self, client: FlaskClient, admin: Person, owner: Person, role: str
    ) -> None:
        add_equipment(owner.id)
        add_equipment(owner.id)
        add_equipment(admin.id)
        answer = change_role(client, admin, owner.id, role)
        assert answer.status_code == 200, answer.text
        body = dict(answer.json or {})
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

    def test_a_change_is_written_down_with_who_what_and_which_request(
        self, client: FlaskClient, admin: Person, renter: Person
    ) -> None:
        change_role(client, admin, renter.id, "owner", **{"X-Request-Id": "request-of-a-test"})
        assert audit_log() == [
            {
                "actor_id": admin.id,
                "action": "user.role_changed",
                "subject_id": renter.id,
                "before": {"role": "renter"},
                "after": {"role": "owner"},
                "request_id": "request-of-a-test",
            }
        ]

    def test_what_changes_nothing_is_not_written_down(self, client: FlaskClient, admin: Person, renter: Person) -> None:
        with transaction() as session:
            before = session.get_one(User, renter.id).updated_at
        assert (change_role(client, admin, renter.id, "renter").json or {})["role"] == "renter"
        assert (change_role(client, admin, admin.id, "admin").json or {})["role"] == "admin"
        with transaction() as session:
            assert session.get_one(User, renter.id).updated_at == before
        assert audit_log() == []

    @pytest.mark.parametrize("role", ["emperor", "ADMIN", "", None, 1, ["admin"], {"admin": True}], ids=repr)
    def test_what_is_no_role_is_refused_by_name(
        self, client: FlaskClient, admin: Person, renter: Person, role: Any
    ) -> None:
        answer = change_role(client, admin, renter.id, role)
        assert_error(answer, 400, "VALIDATION_ERROR")
        assert [problem["field"] for problem in (answer.json or {})["details"]] == ["role"]
        assert role_of(renter.id) == "renter"

    def test_an_unknown_user_is_not_found(self, client: FlaskClient, admin: Person) -> None:
        assert_error(change_role(client, admin, uuid4(), "owner"), 404, "NOT_FOUND")
        assert_error(delete_user(client, admin, uuid4()), 404, "NOT_FOUND")
        assert audit_log() == []


@pytest.mark.attack("roles and objects")
class TestOthers:
    @pytest.mark.parametrize("role", ["renter", "owner"])
    def test_who_is_no_admin_learns_nothing(
        self, client: FlaskClient, tenant: TenantProcess, renter: Person, role: str
    ) -> None:
        # Neither which ids exist, nor what a body should hold, nor their own: all these are one answer.
        actor = add_person(tenant, Role(role))
        answers = [
            *(change_role(client, actor, user_id, "admin") for user_id in (renter.id, uuid4(), actor.id)),
            *(delete_user(client, actor, user_id) for user_id in (renter.id, uuid4(), actor.id)),
            change_role(client, actor, renter.id, "emperor"),
            client.put(f"{ADMIN}/users/{renter.id}/role", data="{", headers=actor.headers),
        ]
        assert {assert_error(answer, 403, "FORBIDDEN")["message"] for answer in answers} == {"This is for admins."}
        assert (role_of(renter.id), role_of(actor.id), audit_log()) == ("renter", role, [])

    def test_who_was_an_admin_when_the_request_began_and_is_none_changes_nothing(
        self, client: FlaskClient, renter: Person, owner: Person, admin: Person
    ) -> None:
        former = Author(user_id=owner.id, request_id=None)
        for user_id in (renter.id, admin.id, uuid4()):
            with pytest.raises(Forbidden), transaction() as session:
                service.hold_for_role(session, former, user_id, Role.ADMIN)
            with pytest.raises(Forbidden), transaction() as session:
                service.hold_for_deletion(session, former, user_id)

    def test_a_pre_flight_is_answered_without_asking_who_it_is(self, client: FlaskClient, renter: Person) -> None:
        assert client.options(f"{ADMIN}/users/{renter.id}/role").status_code == 200


class TestTheLastAdmin:
    @pytest.mark.attack("accounts")
    @pytest.mark.parametrize("others", [0, 1], ids=["the only one", "one of two"])
    @pytest.mark.parametrize("role", ["renter", "owner", None], ids=str)
    def test_no_admin_demotes_or_deletes_themselves(
        self, client: FlaskClient, tenant: TenantProcess, admin: Person, role: str | None, others: int
    ) -> None:
        for _ in range(others):
            add_person(tenant, Role.ADMIN)
        answer = delete_user(client, admin, admin.id) if role is None else change_role(client, admin, admin.id, role)
        assert "your own account" in assert_error(answer, 409, "CONFLICT")["message"]
        assert (role_of(admin.id), audit_log()) == ("admin", [])

    @pytest.mark.attack("accounts")
    @pytest.mark.parametrize("role", ["renter", "owner"])
    def test_no_shell_demotes_the_last_one(self, app: Flask, client: FlaskClient, admin: Person, role: str) -> None:
        done = promote(app, admin.email, role)
        assert done.exit_code == 1
        assert "last admin" in done.output
        assert (role_of(admin.id), audit_log()) == ("admin", [])

    def test_one_of_two_can_go(self, client: FlaskClient, tenant: TenantProcess, admin: Person) -> None:
        other, another = add_person(tenant, Role.ADMIN), add_person(tenant, Role.ADMIN)
        assert change_role(client, admin, other.id, "owner").status_code == 200
        assert delete_user(client, admin, another.id).status_code == 204
        assert role_of(admin.id) == "admin"


class TestTheShell:
    def test_a_promotion_is_written_down_without_an_actor(
        self, app: Flask, client: FlaskClient, renter: Person
    ) -> None:
        assert promote(app, renter.email, "admin").exit_code == 0
        assert promote(app, renter.email, "admin").exit_code == 0
        entry = {"actor_id": None, "request_id": None, "action": "user.role_changed", "subject_id": renter.id}
        assert audit_log() == [entry | {"before": {"role": "renter"}, "after": {"role": "admin"}}]

    @pytest.mark.attack("accounts")
    def test_a_promotion_goes_to_nobody_whose_email_looks_alike(
        self, app: Flask, client: FlaskClient, renter: Person
    ) -> None:
        with transaction() as session:
            session.execute(update(User).where(User.id == renter.id).values(email="v\u0130ctim@example.com"))
        assert promote(app, "victim@example.com", "admin").exit_code == 1
        assert role_of(renter.id) == "renter"


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

"""What admins change of listings; the audit log knows whose it was, what it was called, and how it was before."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.database import transaction
from app.errors import Forbidden
from app.models import Equipment
from tests.support.admin_api import ADMIN, audit_log
from tests.support.assertions import assert_error, problems
from tests.support.rows import Person, add_equipment


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

    def test_what_changes_nothing_is_not_written_down(self, client: FlaskClient, admin: Person, owner: Person) -> None:
        equipment_id = add_equipment(owner.id)
        with transaction() as session:
            before = session.get_one(Equipment, equipment_id).updated_at
        assert offer(client, admin, equipment_id, True).status_code == 200
        with transaction() as session:
            assert session.get_one(Equipment, equipment_id).updated_at == before
        assert audit_log() == []

    @pytest.mark.parametrize("value", ["false", 0, None, [], "", {}], ids=repr)
    def test_what_is_no_boolean_is_refused(self, client: FlaskClient, admin: Person, owner: Person, value: Any) -> None:
        equipment_id = add_equipment(owner.id)
        ((field, _),) = problems(offer(client, admin, equipment_id, value))
        assert field == "is_available"
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


def test_an_unknown_listing_is_not_found(client: FlaskClient, admin: Person) -> None:
    assert_error(offer(client, admin, uuid4(), False), 404, "NOT_FOUND")
    assert_error(take_down(client, admin, uuid4()), 404, "NOT_FOUND")
    assert audit_log() == []


def test_a_change_and_its_entry_are_there_together_or_not_at_all(
    client: FlaskClient, admin: Person, owner: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise Forbidden("The log is full.")

    equipment_id = add_equipment(owner.id)
    monkeypatch.setattr("app.audit.record", fail)
    assert_error(offer(client, admin, equipment_id, False), 403, "FORBIDDEN")
    assert_error(take_down(client, admin, equipment_id), 403, "FORBIDDEN")
    assert (client.get(f"/api/v1/equipment/{equipment_id}").json or {})["is_available"] is True

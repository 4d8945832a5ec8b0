"""What admins change of listings; the audit log knows whose it was, what it was called, and how it was before."""

from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.support.admin_api import ADMIN, audit_log
from tests.support.assertions import assert_error, assert_invalid
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

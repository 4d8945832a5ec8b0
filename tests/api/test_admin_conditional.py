"""Conditional moderation (RFC 9110 §13.1.1): an admin changes and deletes only the version that the admin has read."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from sqlalchemy import delete, update
from werkzeug.test import TestResponse

from app.db.session import transaction
from app.models import Category, Equipment, User
from tests.support import UNKNOWN_ID
from tests.support.admin_api import ADMIN, audit_log
from tests.support.assertions import assert_error
from tests.support.rows import Person, add_category, add_equipment

STALE = '"9999.000000"'
# Of each kind: the model, where its ETag is read, where it is changed, the body of the change, and another change.
KINDS: dict[str, tuple[Any, str, str, dict[str, Any], dict[str, Any]]] = {
    "users": (User, ADMIN, "/role", {"role": "owner"}, {"full_name": "Sam"}),
    "equipment": (Equipment, "/api/v1", "/availability", {"is_available": False}, {"title": "Other drill"}),
    "categories": (Category, "/api/v1", "", {"name": "Kayaks"}, {"name": "Canoes"}),
}


def execute(statement: Any) -> None:
    with transaction() as session:
        session.execute(statement)


class Target:
    def __init__(self, client: FlaskClient, admin: Person, kind: str, id_: UUID) -> None:
        self.client, self.admin, self.id = client, admin, id_
        self.model, read_below, suffix, self.body, self.edited = KINDS[kind]
        self.read_path, self.path = f"{read_below}/{kind}/{id_}", f"{ADMIN}/{kind}/{id_}"
        self.change_path = self.path + suffix

    def edit(self, **values: Any) -> None:
        """Change the row past the service."""
        execute(update(self.model).where(self.model.id == self.id).values(**(values or self.edited)))

    def read(self) -> str:
        return self.client.get(self.read_path, headers=self.admin.headers).headers["ETag"]

    def change(self, **headers: str) -> TestResponse:
        return self.client.put(self.change_path, json=self.body, headers={**self.admin.headers, **headers})

    def remove(self, **headers: str) -> TestResponse:
        return self.client.delete(self.path, headers={**self.admin.headers, **headers})


@pytest.fixture
def user(client: FlaskClient, admin: Person, renter: Person) -> Target:
    add_equipment(renter.id)
    return Target(client, admin, "users", renter.id)


@pytest.fixture
def category(client: FlaskClient, admin: Person) -> Target:
    return Target(client, admin, "categories", add_category("Boats"))


@pytest.fixture(params=KINDS)
def target(request: pytest.FixtureRequest, client: FlaskClient, admin: Person, owner: Person, user: Target) -> Target:
    if request.param == "equipment":
        return Target(client, admin, "equipment", add_equipment(owner.id))
    return user if request.param == "users" else request.getfixturevalue("category")


both_acts = pytest.mark.parametrize("act", [Target.change, Target.remove])


@both_acts
@pytest.mark.parametrize("condition", ["*", "the current tag"])
def test_what_changed_since_it_was_read_is_neither_changed_nor_removed(
    target: Target, act: Callable[..., TestResponse], condition: str
) -> None:
    seen = target.read()
    target.edit()
    now = target.read()
    assert now != seen

    for sent in ({"If-Match": seen}, {"If-Match": STALE}, {"If-None-Match": "*"}, {"If-None-Match": now}):
        assert_error(act(target, **sent), 412, "PRECONDITION_FAILED")
    for malformed in ("nonsense", "", "7", '"', '*, "7"'):
        assert_error(act(target, **{"If-Match": malformed}), 400, "BAD_REQUEST")
    assert target.read() == now
    assert audit_log() == []

    assert act(target, **{"If-Match": "*" if condition == "*" else now}).status_code in (200, 204)
    assert len(audit_log()) == 1


def test_a_change_gives_the_tag_to_make_the_next_one_on(target: Target) -> None:
    seen = target.read()
    changed = target.change(**{"If-Match": seen})
    assert changed.status_code == 200
    assert changed.headers["ETag"] == target.read() != seen
    assert_error(target.remove(**{"If-Match": seen}), 412, "PRECONDITION_FAILED")
    weakened = f"W/{changed.headers['ETag']}"  # by a proxy that compresses
    assert target.remove(**{"If-Match": f"{STALE}, {weakened}"}).status_code == 204


def test_a_change_that_changes_nothing_is_made_on_its_condition_too(target: Target) -> None:
    changed = target.change()
    assert_error(target.change(**{"If-Match": STALE}), 412, "PRECONDITION_FAILED")
    again = target.change(**{"If-Match": changed.headers["ETag"]})
    assert (again.status_code, again.headers["ETag"]) == (200, changed.headers["ETag"])
    assert len(audit_log()) == 1


@both_acts
def test_a_condition_tells_nothing_to_users_who_are_not_admins(
    target: Target, owner: Person, act: Callable[..., TestResponse]
) -> None:
    for condition in (target.read(), STALE, "nonsense"):
        assert_error(act(target, **owner.headers, **{"If-Match": condition}), 403, "FORBIDDEN")


@pytest.mark.parametrize("condition", [{}, {"If-Match": "*"}, {"If-Match": STALE}], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_resource_is_not_found_with_any_condition(
    client: FlaskClient, admin: Person, condition: dict[str, str], kind: str
) -> None:
    unknown = Target(client, admin, kind, UUID(UNKNOWN_ID))
    for answer in (unknown.change(**condition), unknown.remove(**condition)):
        assert_error(answer, 404, "NOT_FOUND")
    if kind == "users":
        answer = client.get(unknown.read_path, headers={**admin.headers, **condition})
        assert_error(answer, 404, "NOT_FOUND")
    assert audit_log() == []


def test_a_user_is_not_removed_with_listings_that_nobody_saw(user: Target) -> None:
    seen = user.read()
    added = add_equipment(user.id)
    assert_error(user.remove(**{"If-Match": seen}), 412, "PRECONDITION_FAILED")
    execute(delete(Equipment).where(Equipment.id == added))
    assert user.remove(**{"If-Match": seen}).status_code == 204


def test_a_user_whom_an_admin_has_is_not_sent_again_until_something_shown_is_other(
    client: FlaskClient, admin: Person, user: Target
) -> None:
    sent = {**admin.headers, "If-None-Match": user.read()}
    assert client.get(user.read_path, headers=sent).status_code == 304
    add_equipment(user.id)
    answer = client.get(user.read_path, headers=sent)
    assert (answer.status_code, (answer.json or {})["equipment_count"]) == (200, 2)


def test_a_category_below_another_is_a_part_of_it(client: FlaskClient, admin: Person, category: Target) -> None:
    seen = category.read()
    body = {"name": "Canoes", "parent_id": str(category.id)}
    below = client.post(f"{ADMIN}/categories", json=body, headers=admin.headers)
    assert_error(category.change(**{"If-Match": seen}), 412, "PRECONDITION_FAILED")
    path = f"/api/v1/categories/{(below.json or {})['id']}"
    assert below.headers["ETag"] == client.get(path).headers["ETag"]
    assert category.change(**{"If-Match": category.read()}).status_code == 200


def test_a_condition_costs_a_user_one_statement_and_none_without(
    user: Target, counting_statements: Callable[[], Any]
) -> None:
    with counting_statements() as plain:
        user.change()
    user.edit(role="renter")
    now = user.read()
    with counting_statements() as conditional:
        assert user.change(**{"If-Match": now}).status_code == 200
    assert len(conditional) == len(plain) + 1

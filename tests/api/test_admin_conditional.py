"""Moderation on a condition (RFC 9110 §13.1.1): what an admin did not see is not changed or removed."""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask.testing import FlaskClient
from sqlalchemy import delete, text, update
from werkzeug.test import TestResponse

from app.database import transaction
from app.models import Category, Equipment, User
from tests.support.admin_api import ADMIN, audit_log, role_of
from tests.support.assertions import assert_error
from tests.support.rows import Person, add_category, add_equipment

STALE = '"9999.000000"'


class Thing:
    """What is moderated: where its tag is read, and the requests that change it and remove it."""

    def __init__(self, read: str, change: tuple[str, Any], remove: str, edit: Callable[[], None]) -> None:
        self.read, self.change, self.remove, self.edit = read, change, remove, edit


@pytest.fixture
def things(client: FlaskClient, renter: Person) -> dict[str, Thing]:
    """One of each, and how somebody else edits it."""
    listing, category = add_equipment(renter.id), add_category("Boats")

    def edit(table: Any, row_id: UUID, **values: Any) -> Callable[[], None]:
        return lambda: execute(update(table).where(table.id == row_id).values(**values))

    return {
        "user": Thing(
            f"{ADMIN}/users/{renter.id}",
            (f"{ADMIN}/users/{renter.id}/role", {"role": "owner"}),
            f"{ADMIN}/users/{renter.id}",
            edit(User, renter.id, full_name="Sam"),
        ),
        "listing": Thing(
            f"/api/v1/equipment/{listing}",
            (f"{ADMIN}/equipment/{listing}/availability", {"is_available": False}),
            f"{ADMIN}/equipment/{listing}",
            edit(Equipment, listing, title="Other drill"),
        ),
        "category": Thing(
            f"/api/v1/categories/{category}",
            (f"{ADMIN}/categories/{category}", {"name": "Kayaks"}),
            f"{ADMIN}/categories/{category}",
            edit(Category, category, name="Canoes"),
        ),
    }


KINDS = pytest.mark.parametrize("kind", ["user", "listing", "category"])


def execute(statement: Any) -> None:
    with transaction() as session:
        session.execute(statement)


def read(client: FlaskClient, who: Person, thing: Thing) -> str:
    answer = client.get(thing.read, headers=who.headers)
    assert answer.status_code == 200, answer.text
    return answer.headers["ETag"]


def change(client: FlaskClient, who: Person, thing: Thing, **headers: str) -> TestResponse:
    path, body = thing.change
    return client.put(path, json=body, headers={**who.headers, **headers})


def remove(client: FlaskClient, who: Person, thing: Thing, **headers: str) -> TestResponse:
    return client.delete(thing.remove, headers={**who.headers, **headers})


@KINDS
@pytest.mark.parametrize("act", [change, remove])
def test_what_changed_since_it_was_read_is_neither_changed_nor_removed(
    client: FlaskClient, admin: Person, things: dict[str, Thing], kind: str, act: Any
) -> None:
    thing = things[kind]
    seen = read(client, admin, thing)
    thing.edit()
    now = read(client, admin, thing)
    assert now != seen

    for condition in ({"If-Match": seen}, {"If-Match": STALE}, {"If-None-Match": "*"}, {"If-None-Match": now}):
        assert_error(act(client, admin, thing, **condition), 412, "PRECONDITION_FAILED")
    assert read(client, admin, thing) == now
    assert audit_log() == []

    assert act(client, admin, thing, **{"If-Match": now}).status_code in (200, 204)
    assert len(audit_log()) == 1


@KINDS
def test_a_change_gives_the_tag_to_make_the_next_one_on(
    client: FlaskClient, admin: Person, things: dict[str, Thing], kind: str
) -> None:
    thing = things[kind]
    seen = read(client, admin, thing)
    changed = change(client, admin, thing, **{"If-Match": seen})
    assert changed.status_code == 200
    assert changed.headers["ETag"] == read(client, admin, thing) != seen
    assert_error(remove(client, admin, thing, **{"If-Match": seen}), 412, "PRECONDITION_FAILED")
    weakened = f"W/{changed.headers['ETag']}"  # by what compresses on the way
    assert remove(client, admin, thing, **{"If-Match": f"{STALE}, {weakened}"}).status_code == 204


@KINDS
def test_a_change_that_changes_nothing_is_made_on_its_condition_too(
    client: FlaskClient, admin: Person, things: dict[str, Thing], kind: str
) -> None:
    thing = things[kind]
    changed = change(client, admin, thing)
    assert_error(change(client, admin, thing, **{"If-Match": STALE}), 412, "PRECONDITION_FAILED")
    again = change(client, admin, thing, **{"If-Match": changed.headers["ETag"]})
    assert (again.status_code, again.headers["ETag"]) == (200, changed.headers["ETag"])
    assert len(audit_log()) == 1


@KINDS
@pytest.mark.parametrize("act", [change, remove])
def test_whatever_there_is_will_do_for_a_star(
    client: FlaskClient, admin: Person, things: dict[str, Thing], kind: str, act: Any
) -> None:
    assert act(client, admin, things[kind], **{"If-Match": "*"}).status_code in (200, 204)


@KINDS
@pytest.mark.parametrize("act", [change, remove])
def test_who_is_no_admin_learns_nothing_by_a_condition(
    client: FlaskClient, admin: Person, owner: Person, things: dict[str, Thing], kind: str, act: Any
) -> None:
    for condition in (read(client, admin, things[kind]), STALE, "nonsense"):
        assert_error(act(client, owner, things[kind], **{"If-Match": condition}), 403, "FORBIDDEN")


@KINDS
@pytest.mark.parametrize("act", [change, remove])
def test_what_is_no_list_of_tags_is_refused(
    client: FlaskClient, admin: Person, things: dict[str, Thing], kind: str, act: Any
) -> None:
    for nonsense in ("nonsense", "", "7", '"', '*, "7"'):
        assert_error(act(client, admin, things[kind], **{"If-Match": nonsense}), 400, "BAD_REQUEST")


@pytest.mark.parametrize("condition", [{}, {"If-Match": "*"}, {"If-Match": STALE}], ids=str)
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "users/{}", None),
        ("PUT", "users/{}/role", {"role": "owner"}),
        ("DELETE", "users/{}", None),
        ("PUT", "equipment/{}/availability", {"is_available": False}),
        ("DELETE", "equipment/{}", None),
        ("PUT", "categories/{}", {"name": "Boats"}),
        ("DELETE", "categories/{}", None),
    ],
)
def test_an_unknown_resource_is_not_found_with_any_condition(
    client: FlaskClient, admin: Person, condition: dict[str, str], method: str, path: str, body: Any
) -> None:
    headers = {**admin.headers, **condition}
    answer = client.open(f"{ADMIN}/{path.format(uuid4())}", method=method, json=body, headers=headers)
    assert_error(answer, 404, "NOT_FOUND")
    assert audit_log() == []


def test_a_user_is_not_removed_with_listings_that_nobody_saw(
    client: FlaskClient, admin: Person, things: dict[str, Thing], renter: Person
) -> None:
    seen = read(client, admin, things["user"])
    added = add_equipment(renter.id)
    assert_error(remove(client, admin, things["user"], **{"If-Match": seen}), 412, "PRECONDITION_FAILED")
    execute(delete(Equipment).where(Equipment.id == added))
    assert remove(client, admin, things["user"], **{"If-Match": seen}).status_code == 204


def test_a_user_whom_an_admin_has_is_not_sent_again_until_something_shown_is_other(
    client: FlaskClient, admin: Person, things: dict[str, Thing], renter: Person
) -> None:
    sent = {**admin.headers, "If-None-Match": read(client, admin, things["user"])}
    assert client.get(things["user"].read, headers=sent).status_code == 304
    add_equipment(renter.id)
    answer = client.get(things["user"].read, headers=sent)
    assert (answer.status_code, (answer.json or {})["equipment_count"]) == (200, 2)


def test_a_category_below_another_is_a_part_of_it(client: FlaskClient, admin: Person, things: dict[str, Thing]) -> None:
    boats = things["category"]
    seen = read(client, admin, boats)
    below = client.post(
        f"{ADMIN}/categories",
        json={"name": "Canoes", "parent_id": boats.read.rpartition("/")[2]},
        headers=admin.headers,
    )
    assert_error(change(client, admin, boats, **{"If-Match": seen}), 412, "PRECONDITION_FAILED")
    path = f"/api/v1/categories/{(below.json or {})['id']}"
    assert below.headers["ETag"] == client.get(path).headers["ETag"]
    assert change(client, admin, boats, **{"If-Match": read(client, admin, boats)}).status_code == 200


def test_the_last_admin_and_oneself_are_refused_before_any_condition(client: FlaskClient, admin: Person) -> None:
    for condition in ("*", STALE):
        sent = {**admin.headers, "If-Match": condition}
        assert_error(client.delete(f"{ADMIN}/users/{admin.id}", headers=sent), 409, "CONFLICT")
        body = {"role": "renter"}
        assert_error(client.put(f"{ADMIN}/users/{admin.id}/role", json=body, headers=sent), 409, "CONFLICT")
    assert role_of(admin.id) == "admin"


def test_a_condition_costs_a_user_one_statement_and_none_without(
    client: FlaskClient, admin: Person, things: dict[str, Thing], counting_statements: Callable[[], Any]
) -> None:
    with counting_statements() as plain:
        change(client, admin, things["user"])
    seen = read(client, admin, things["user"])
    execute(text(f"UPDATE users SET role = 'renter' WHERE id = '{things['user'].read.rpartition('/')[2]}'"))  # noqa: S608
    assert_error(change(client, admin, things["user"], **{"If-Match": seen}), 412, "PRECONDITION_FAILED")
    now = read(client, admin, things["user"])
    with counting_statements() as conditional:
        assert change(client, admin, things["user"], **{"If-Match": now}).status_code == 200
    assert len(conditional) == len(plain) + 1

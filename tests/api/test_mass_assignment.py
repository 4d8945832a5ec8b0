"""Objects and fields: no request sets a field that its sender may not set, and no refusal tells which ids exist."""

import re
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.test import TestResponse

from app.db.session import transaction
from app.models import Base, Role
from tests.support.assertions import assert_ok, problems
from tests.support.processes.tenant import TenantProcess
from tests.support.routes import API, PUBLIC_ENDPOINTS, ROUTES, Route, Scene
from tests.support.rows import (
    Person,
    add_conversation,
    add_equipment,
    add_person,
    add_user,
    category_id,
    new_equipment,
    photo_id_of,
)

pytestmark = pytest.mark.attack("objects and fields")
FORBIDDEN = (
    *("id", "user_id", "owner_id", "sender_id", "participant_key"),
    *("role", "is_admin", "email_verified"),
    *("created_at", "updated_at", "version", "seq", "last_seq", "is_primary", "distance_km"),
    *("__proto__", "constructor"),
)
# Where one of them is what the route is for.
MEANT = {("admin.change_role", "role"), ("equipment.add_photo", "is_primary"), ("conversations.mark_read", "seq")}
BODIES = {route.endpoint: route for route in ROUTES if route.body is not None}
CASES = [(name, field) for name in BODIES for field in FORBIDDEN if (name, field) not in MEANT]


@pytest.fixture
def valid_request(admin: Person, owner: Person) -> Callable[[str], tuple[str, dict[str, Any]]]:
    """The path and the body of a valid request of an admin, who has all rights, to the route of this endpoint."""

    def make(endpoint: str) -> tuple[str, dict[str, Any]]:
        route = BODIES[endpoint]
        assert route.body is not None
        its_owner = owner if route.admin_status == 409 else admin
        return route.path(Scene(actor=admin, owner=its_owner)), route.body()

    return make


def everything() -> dict[str, list[str]]:
    """All rows of all tables, as text."""
    tables = [table.name for table in Base.metadata.sorted_tables]
    with transaction() as session:
        return {name: sorted(session.scalars(text(f"SELECT t::text FROM {name} AS t"))) for name in tables}  # noqa: S608


@pytest.mark.parametrize(("name", "field"), CASES)
def test_a_field_that_is_not_the_sender_s_to_set_is_refused_by_name_and_nothing_changes(
    client: FlaskClient, admin: Person, valid_request: Any, name: str, field: str
) -> None:
    path, body = valid_request(name)
    before = everything()
    for value in ("admin", str(admin.id), True, 1, None, {"admin": True}):
        answer = client.open(path, method=BODIES[name].method, json={**body, field: value}, headers=admin.headers)
        assert problems(answer) == [(field, "unknown_field")]
    assert everything() == before


@pytest.mark.parametrize("name", [name for name, route in BODIES.items() if route.admin_status != 401])
def test_without_that_field_it_is_accepted(client: FlaskClient, admin: Person, valid_request: Any, name: str) -> None:
    # So the requests above were refused for the field alone.
    path, body = valid_request(name)
    before = everything()
    answer = client.open(path, method=BODIES[name].method, json=body, headers=admin.headers)
    assert answer.status_code in (200, 201, 204), answer.text
    assert everything() != before


def test_every_route_that_takes_a_body_is_tried(app: Flask) -> None:
    routes = {
        (rule.endpoint, method)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) & {"POST", "PUT", "PATCH"}
        if not rule.websocket
    }
    assert routes == {(name, route.method) for name, route in BODIES.items()}


@pytest.mark.parametrize("field", ["id", "distance_km", "__proto__", "altitude"])
def test_a_field_too_many_is_refused_deep_inside_as_well(client: FlaskClient, owner: Person, field: str) -> None:
    place = {"latitude": 46.9, "longitude": 7.4, field: 1}
    answer = client.post(f"{API}/equipment", json=new_equipment(coordinates=place), headers=owner.headers)
    assert problems(answer) == [(f"coordinates.{field}", "unknown_field")]


@pytest.mark.parametrize("field", [*FORBIDDEN, "user"])
def test_such_a_field_in_the_query_or_in_a_free_object_sets_nothing(
    client: FlaskClient, mallory: Person, admin: Person, field: str
) -> None:
    value = {"role": "admin", "is_admin": "true"}.get(field, str(admin.id))
    before = client.get(f"{API}/auth/me", headers=mallory.headers).json
    sent: dict[str, Any] = {"headers": mallory.headers, "query_string": {field: value}}
    free = {field: value, "user": {field: value}}
    add_equipment(admin.id)
    for profile, member in (("owner-profile", "business_info"), ("renter-profile", "preferences")):
        path = f"{API}/users/me/{profile}"
        assert_ok(client.put(path, json={member: {}}, headers=admin.headers))
        assert_ok(client.put(path, json={member: free}, **sent))
        assert assert_ok(client.get(path, **sent))[member] == free
        assert assert_ok(client.get(path, headers=admin.headers))[member] == {}
    assert_ok(client.put(f"{API}/users/{mallory.id}", json={}, **sent))
    made = assert_ok(client.post(f"{API}/equipment", json=new_equipment(), **sent), 201)
    assert made["owner_id"] == str(mallory.id)
    assert [item["id"] for item in assert_ok(client.get(f"{API}/users/me/equipment", **sent))["items"]] == [made["id"]]
    assert client.get(f"{API}/auth/me", headers=mallory.headers).json == before


CLOSED = [route for route in ROUTES if route.endpoint not in PUBLIC_ENDPOINTS]
FOR_ADMINS = [route for route in CLOSED if route.endpoint.startswith("admin.")]
CHANGE_USER = next(route for route in CLOSED if route.endpoint == "users.change_user")


@pytest.fixture
def mallory(client: FlaskClient, tenant: TenantProcess) -> Person:
    """An owner who wants what is somebody else's."""
    return add_person(tenant, Role.OWNER)


def said(answer: TestResponse) -> tuple[int, dict[str, Any]]:
    """All that an answer tells, but for what names the request."""
    body = dict(answer.json or {})
    return answer.status_code, {name: body[name] for name in body if name not in ("request_id", "instance")}


def existing(owner: Person) -> dict[str, UUID]:
    equipment_id = add_equipment(owner.id, photos=1)
    talk = add_conversation(owner.id, add_user())
    ids = {"user_id": owner.id, "equipment_id": equipment_id, "photo_id": photo_id_of(equipment_id)}
    return ids | {"conversation_id": talk, "category_id": category_id()}


def answers(client: FlaskClient, route: Route, owner: Person, **sent: Any) -> list[tuple[int, dict[str, Any]]]:
    """The answers for ids that exist and for ids that do not."""
    rule = next(client.application.url_map.iter_rules(route.endpoint)).rule
    path, ids = re.sub(r"<\w+:(\w+)>", r"{\1}", rule), existing(owner)
    unknown = dict.fromkeys(ids, uuid4())
    return [said(client.open(path.format(**known), method=route.method, **sent)) for known in (ids, unknown)]


class TestSecrets:
    """An existing and an unknown id have the same answer for users without the right.

    Listings and users are public. A conversation's 403 and 404 differ, as existing clients rely on it; its id cannot be
    guessed (122 random bits).
    """

    @pytest.mark.parametrize("route", CLOSED, ids=str)
    def test_nobody_learns_what_exists(self, client: FlaskClient, owner: Person, route: Route) -> None:
        existent, unknown = answers(client, route, owner)
        assert existent == unknown
        assert existent[0] == 401

    @pytest.mark.parametrize("route", [*FOR_ADMINS, CHANGE_USER], ids=str)
    @pytest.mark.parametrize("body", ["{}", '{"role": "admin"}', '{"full_name": "Mallory"}', "{"])
    def test_who_may_not_learns_not_what_exists(
        self, client: FlaskClient, mallory: Person, owner: Person, route: Route, body: str
    ) -> None:
        sent = {"data": body, "content_type": "application/json", "headers": mallory.headers}
        existent, unknown = answers(client, route, owner, **sent)
        assert existent == unknown
        is_bad_body = route is CHANGE_USER and body in ("{", '{"role": "admin"}')
        assert existent[0] == (400 if is_bad_body else 403)

    @pytest.mark.parametrize("whose", ["own", "foreign"])
    def test_a_photo_is_none_of_the_caller_s_business_elsewhere_than_in_their_own_listing(
        self, client: FlaskClient, mallory: Person, owner: Person, whose: str
    ) -> None:
        foreign = existing(owner)
        listing = add_equipment(mallory.id, photos=1) if whose == "own" else foreign["equipment_id"]
        existent, unknown = (
            said(client.delete(f"{API}/equipment/{listing}/photos/{photo_id}", headers=mallory.headers))
            for photo_id in (foreign["photo_id"], uuid4())
        )
        assert existent == unknown
        assert existent[0] == (404 if whose == "own" else 403)
        assert photo_id_of(foreign["equipment_id"]) == foreign["photo_id"]

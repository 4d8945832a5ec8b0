"""No body sets a field that its sender may not set: every route that takes a body refuses each such field by name."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text

from app.database import transaction
from app.models import Base, Role
from tests.support.assertions import assert_ok, problems
from tests.support.processes.tenant import TenantProcess
from tests.support.routes import API, ROUTES, Scene
from tests.support.rows import Person, add_equipment, add_person, new_equipment

FORBIDDEN = (
    *("id", "user_id", "owner_id", "sender_id", "participant_key"),
    *("role", "is_admin", "email_verified"),
    *("created_at", "updated_at", "version", "seq", "last_seq", "is_primary", "distance_km"),
    *("__proto__", "constructor"),
)
# Where one of them is what the route is for.
MEANT = {("admin.change_role", "role"), ("equipment.add_photo", "is_primary"), ("conversations.mark_read", "seq")}
WITH_BODY = {"POST", "PUT", "PATCH"}
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


@pytest.mark.attack("objects and fields")
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
        for method in (rule.methods or set()) & WITH_BODY
        if not rule.websocket
    }
    assert routes == {(name, route.method) for name, route in BODIES.items()}


@pytest.mark.attack("objects and fields")
@pytest.mark.parametrize("field", ["id", "distance_km", "__proto__", "altitude"])
def test_a_field_too_many_is_refused_deep_inside_as_well(client: FlaskClient, owner: Person, field: str) -> None:
    place = {"latitude": 46.9, "longitude": 7.4, field: 1}
    answer = client.post(f"{API}/equipment", json=new_equipment(coordinates=place), headers=owner.headers)
    assert problems(answer) == [(f"coordinates.{field}", "unknown_field")]


@pytest.mark.attack("objects and fields")
@pytest.mark.parametrize("field", [*FORBIDDEN, "user"])
def test_such_a_field_in_the_query_or_in_a_free_object_sets_nothing(
    client: FlaskClient, tenant: TenantProcess, field: str
) -> None:
    mallory, other = add_person(tenant, Role.OWNER), add_person(tenant, Role.ADMIN)
    value = {"role": "admin", "is_admin": "true"}.get(field, str(other.id))
    before = client.get(f"{API}/auth/me", headers=mallory.headers).json
    sent: dict[str, Any] = {"headers": mallory.headers, "query_string": {field: value}}
    free = {field: value, "user": {field: value}}
    add_equipment(other.id)
    for profile, member in (("owner-profile", "business_info"), ("renter-profile", "preferences")):
        path = f"{API}/users/me/{profile}"
        assert_ok(client.put(path, json={member: {}}, headers=other.headers))
        assert_ok(client.put(path, json={member: free}, **sent))
        assert assert_ok(client.get(path, **sent))[member] == free
        assert assert_ok(client.get(path, headers=other.headers))[member] == {}
    assert_ok(client.put(f"{API}/users/{mallory.id}", json={}, **sent))
    made = assert_ok(client.post(f"{API}/equipment", json=new_equipment(), **sent), 201)
    assert made["owner_id"] == str(mallory.id)
    assert [item["id"] for item in assert_ok(client.get(f"{API}/users/me/equipment", **sent))["items"]] == [made["id"]]
    assert client.get(f"{API}/auth/me", headers=mallory.headers).json == before

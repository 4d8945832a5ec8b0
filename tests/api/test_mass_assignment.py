"""No body sets what its sender may not set: on every route that takes one, each such field is refused by its name.

`BODIES` holds what each route would accept. A route of the URL map that could take a body and is not in it fails
`test_every_route_that_takes_a_body_is_tried`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from app.database import transaction
from app.models import Base, Role
from tests.support.processes.tenant import PASSWORD, TenantProcess
from tests.support.rows import (
    Person,
    add_category,
    add_conversation,
    add_equipment,
    add_person,
    add_user,
    new_equipment,
)
from tests.support.writers import problems

API = "/api/v1"
FORBIDDEN = (
    *("id", "user_id", "owner_id", "sender_id", "participant_key"),
    *("role", "is_admin", "email_verified"),
    *("created_at", "updated_at", "version", "seq", "last_seq", "is_primary", "distance_km"),
    *("__proto__", "constructor"),
)
# Where one of them is what the route is for.
MEANT = {("admin.change_role", "role"), ("equipment.add_photo", "is_primary"), ("conversations.mark_read", "seq")}
WITH_BODY = {"POST", "PUT", "PATCH"}


@dataclass(frozen=True)
class Route:
    """A request that would be accepted, but for a field too many; `who` has all rights that it asks for."""

    method: str
    path: Callable[[Person], str]
    body: Callable[[], dict[str, Any]]


def _equipment(who: Person) -> str:
    return f"{API}/equipment/{add_equipment(who.id)}"


def _talk(who: Person) -> str:
    return f"{API}/conversations/{add_conversation(who.id, add_user(), messages=2)}"


def at(path: str) -> Callable[[Person], str]:
    return lambda _: API + path


def _account() -> dict[str, Any]:
    return {"email": "mass-assignment@example.com", "password": PASSWORD}


BODIES = {
    "auth.sign_up": Route("POST", at("/auth/auth0/signup"), _account),
    "auth.log_in": Route("POST", at("/auth/auth0/login"), _account),
    "auth.refresh": Route("POST", at("/auth/auth0/refresh"), lambda: {"refresh_token": "made-up"}),
    "users.change_user": Route("PUT", lambda who: f"{API}/users/{who.id}", lambda: {"full_name": "Mallory"}),
    "users.save_owner_profile": Route("PUT", at("/users/me/owner-profile"), lambda: {"business_info": {"hours": "9"}}),
    "users.save_renter_profile": Route("PUT", at("/users/me/renter-profile"), lambda: {"experience_level": "expert"}),
    "equipment.create_equipment": Route("POST", at("/equipment"), new_equipment),
    "equipment.change_equipment": Route("PUT", _equipment, lambda: {"title": "Another title"}),
    "equipment.add_photo": Route(
        "POST", lambda who: f"{_equipment(who)}/photos", lambda: {"photo_url": "https://photos.example.com/1.jpg"}
    ),
    "conversations.begin_conversation": Route(
        "POST", at("/conversations"), lambda: {"participant_ids": [str(add_user())]}
    ),
    "conversations.send_message": Route("POST", lambda who: f"{_talk(who)}/messages", lambda: {"content": "Hello"}),
    "conversations.mark_read": Route("POST", lambda who: f"{_talk(who)}/read", dict),
    "admin.change_role": Route("PUT", lambda _: f"{API}/admin/users/{add_user()}/role", lambda: {"role": "owner"}),
    "admin.set_availability": Route(
        "PUT", lambda who: f"{API}/admin{_equipment(who)[len(API) :]}/availability", lambda: {"is_available": False}
    ),
    "admin.create_category": Route("POST", at("/admin/categories"), lambda: {"name": "Boats"}),
    "admin.change_category": Route(
        "PUT", lambda _: f"{API}/admin/categories/{add_category()}", lambda: {"name": "Boats"}
    ),
}
CASES = [(name, field) for name in BODIES for field in FORBIDDEN if (name, field) not in MEANT]


def everything() -> dict[str, list[str]]:
    """All rows of all tables."""
    with transaction() as session:
        return {
            table.name: sorted(map(repr, session.execute(select(table)).all())) for table in Base.metadata.sorted_tables
        }


@pytest.mark.attack("objects and fields")
@pytest.mark.parametrize(("name", "field"), CASES)
def test_a_field_that_is_not_the_sender_s_to_set_is_refused_by_name_and_nothing_changes(
    client: FlaskClient, admin: Person, name: str, field: str
) -> None:
    # An admin has every right there is; not even an admin sets these.
    route = BODIES[name]
    path, body = route.path(admin), route.body()
    before = everything()
    for value in ("admin", str(admin.id), True, 1, None, {"admin": True}):
        answer = client.open(path, method=route.method, json={**body, field: value}, headers=admin.headers)
        assert problems(answer) == [(field, "unknown_field")]
    assert everything() == before


@pytest.mark.parametrize("name", [name for name in BODIES if not name.startswith("auth.")])
def test_without_that_field_it_is_accepted(client: FlaskClient, admin: Person, name: str) -> None:
    # So what was refused above was refused for the field alone. Accounts are the tenant's: see test_accounts.
    route = BODIES[name]
    path, body = route.path(admin), route.body()
    before = everything()
    answer = client.open(path, method=route.method, json=body, headers=admin.headers)
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


def test_no_route_declares_such_a_field_but_those_that_are_for_it(client: FlaskClient) -> None:
    document = dict(client.get("/openapi.json").json or {})
    schemas = document["components"]["schemas"]
    declared, bodies = set(), 0
    for operations in document["paths"].values():
        for method, operation in operations.items():
            if method.upper() in WITH_BODY | {"DELETE"} and "requestBody" in operation:
                reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
                fields = schemas[reference.rpartition("/")[2]]["properties"]
                declared |= {(reference.rpartition("/")[2], field) for field in fields if field in FORBIDDEN}
                bodies += 1
    assert bodies == len(BODIES)  # the document tells of each of them
    assert declared == {("RoleChange", "role"), ("NewPhoto", "is_primary"), ("Read", "seq")}


@pytest.mark.attack("objects and fields")
@pytest.mark.parametrize("field", ["id", "distance_km", "__proto__", "altitude"])
def test_a_field_too_many_is_refused_deep_inside_as_well(client: FlaskClient, owner: Person, field: str) -> None:
    place = {"latitude": 46.9, "longitude": 7.4, field: 1}
    answer = client.post(f"{API}/equipment", json=new_equipment(coordinates=place), headers=owner.headers)
    assert problems(answer) == [(f"coordinates.{field}", "unknown_field")]


@pytest.mark.attack("objects and fields")
@pytest.mark.parametrize("name", BODIES)
def test_a_list_of_bodies_is_no_body(client: FlaskClient, admin: Person, name: str) -> None:
    route = BODIES[name]
    path, body = route.path(admin), route.body()
    before = everything()
    for several in ([body], [{**body, "role": "admin"}], [["role", "admin"]]):
        answer = client.open(path, method=route.method, json=several, headers=admin.headers)
        assert answer.status_code == 400, answer.text
    assert everything() == before


@pytest.mark.attack("objects and fields")
@pytest.mark.parametrize("field", FORBIDDEN)
def test_such_a_field_in_the_query_or_in_a_free_object_sets_nothing(
    client: FlaskClient, tenant: TenantProcess, field: str
) -> None:
    mallory, other = add_person(tenant, Role.OWNER), add_person(tenant, Role.ADMIN)
    value = {"role": "admin", "is_admin": "true"}.get(field, str(other.id))
    before = client.get(f"{API}/auth/me", headers=mallory.headers).json
    free = {field: value, "user": {field: value}}
    for path, body in (
        ("/users/me/owner-profile", {"business_info": free}),
        ("/users/me/renter-profile", {"preferences": free}),
        (f"/users/{mallory.id}", {}),
    ):
        answer = client.put(f"{API}{path}", json=body, headers=mallory.headers, query_string={field: value})
        assert answer.status_code == 200, answer.text
    made = client.post(f"{API}/equipment", json=new_equipment(), headers=mallory.headers, query_string={field: value})
    assert (made.json or {})["owner_id"] == str(mallory.id)
    assert client.get(f"{API}/auth/me", headers=mallory.headers).json == before
    assert client.get(f"{API}/users/me/owner-profile", headers=other.headers).status_code == 404

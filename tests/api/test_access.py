"""Who may do what: every route, for every role, with one's own things and with somebody else's.

`MATRIX` is the promise. A route of the URL map that is not in it fails `test_every_route_is_in_the_matrix`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine

from app import create_app
from app.auth.identity import is_public
from app.models import Role
from app.settings import Settings
from tests.support.processes.tenant import TenantProcess
from tests.support.rows import (
    Person,
    add_category,
    add_conversation,
    add_equipment,
    add_person,
    add_user,
    category_id,
    new_equipment,
    photo_id_of,
)

NOBODY, RENTER, OWNER, ADMIN = "nobody", "renter", "owner", "admin"
ROLES = (NOBODY, RENTER, OWNER, ADMIN)
PUBLIC_ENDPOINTS = {
    "api-docs.openapi_json",
    "asyncapi",
    "auth.log_in",
    "auth.refresh",
    "auth.sign_up",
    "categories.get_category",
    "categories.list_categories",
    "equipment.get_equipment",
    "equipment.search_equipment",
    "docs.asset",
    "docs.first_page",
    "docs.protocol",
    "docs.rest",
    "docs.socket",
    "health",
    "metrics",
    "ready",
    # The handshake, or the first frame, says who is calling: see tests/realtime.
    "socket.explain_1",
    "socket.explain_2",
    "socket.explain_3",
    "socket.open_1",
    "socket.open_2",
    "socket.open_3",
    "users.get_user",
}


@dataclass(frozen=True)
class Scene:
    """Who acts, and whose things are acted upon."""

    actor: Person | None
    owner: Person


@dataclass(frozen=True)
class Row:
    """A route, the request that is tried on it, and the status for each role: nobody, renter, owner, admin."""

    endpoint: str
    method: str
    path: Callable[[Scene], str]
    own: tuple[int, int, int, int]
    foreign: tuple[int, int, int, int] | None = None
    body: Callable[[], Any] | None = None


def everyone(status: int) -> tuple[int, int, int, int]:
    return (status, status, status, status)


def known(status: int) -> tuple[int, int, int, int]:
    return (401, status, status, status)


ADMINS, ADMINS_REMOVE = (401, 403, 403, 200), (401, 403, 403, 204)


def _own_equipment(scene: Scene) -> str:
    return f"/api/v1/equipment/{add_equipment(scene.owner.id)}"


def _moderated_equipment(scene: Scene) -> str:
    return f"/api/v1/admin/equipment/{add_equipment(scene.owner.id)}"


def _own_photo(scene: Scene) -> str:
    equipment_id = add_equipment(scene.owner.id, photos=1)
    return f"/api/v1/equipment/{equipment_id}/photos/{photo_id_of(equipment_id)}"


def _own_conversation(scene: Scene) -> str:
    return f"/api/v1/conversations/{add_conversation(scene.owner.id, add_user())}"


def at(path: str) -> Callable[[Scene], str]:
    return lambda _: path


def _credentials() -> dict[str, str]:
    return {"email": "nobody@example.com", "password": "Wrong-password-1"}


MATRIX = (
    Row("health", "GET", at("/health"), everyone(200)),
    Row("ready", "GET", at("/ready"), everyone(200)),
    Row("metrics", "GET", at("/metrics"), everyone(200)),
    Row("api-docs.openapi_json", "GET", at("/openapi.json"), everyone(200)),
    Row("asyncapi", "GET", at("/asyncapi.json"), everyone(200)),
    Row("docs.first_page", "GET", at("/"), everyone(200)),
    Row("docs.rest", "GET", at("/docs"), everyone(200)),
    Row("docs.socket", "GET", at("/docs/socket"), everyone(200)),
    Row("docs.protocol", "GET", at("/docs/protocol.md"), everyone(200)),
    Row("docs.asset", "GET", at("/docs/swagger-ui.css"), everyone(200)),
    Row("auth.sign_up", "POST", at("/api/v1/auth/auth0/signup"), everyone(400), body=dict),
    Row("auth.log_in", "POST", at("/api/v1/auth/auth0/login"), everyone(401), body=_credentials),
    Row("auth.refresh", "POST", at("/api/v1/auth/auth0/refresh"), everyone(401), body=lambda: {"refresh_token": "x"}),
    Row("auth.me", "GET", at("/api/v1/auth/me"), known(200)),
    Row("users.get_user", "GET", lambda scene: f"/api/v1/users/{scene.owner.id}", everyone(200), everyone(200)),
    Row(
        "users.change_user",
        "PUT",
        lambda scene: f"/api/v1/users/{scene.owner.id}",
        own=known(200),
        foreign=(401, 403, 403, 200),
        body=lambda: {"full_name": "Sam"},
    ),
    Row("users.list_own_equipment", "GET", at("/api/v1/users/me/equipment"), known(200)),
    Row("users.get_owner_profile", "GET", at("/api/v1/users/me/owner-profile"), known(404)),
    Row("users.save_owner_profile", "PUT", at("/api/v1/users/me/owner-profile"), known(200),
        body=lambda: {"business_info": {}}),
    Row("users.get_renter_profile", "GET", at("/api/v1/users/me/renter-profile"), known(200)),
    Row("users.save_renter_profile", "PUT", at("/api/v1/users/me/renter-profile"), known(200), body=dict),
    Row("equipment.search_equipment", "GET", at("/api/v1/equipment"), everyone(200)),
    Row("equipment.get_equipment", "GET", _own_equipment, everyone(200), everyone(200)),
    Row("equipment.create_equipment", "POST", at("/api/v1/equipment"), (401, 403, 201, 201), body=new_equipment),
    Row(
        "equipment.change_equipment",
        "PUT",
        _own_equipment,
        own=known(200),
        foreign=(401, 403, 403, 200),
        body=lambda: {"title": "Another title"},
    ),
    Row("equipment.delete_equipment", "DELETE", _own_equipment, own=known(204), foreign=(401, 403, 403, 204)),
    Row(
        "equipment.add_photo",
        "POST",
        lambda scene: f"{_own_equipment(scene)}/photos",
        own=known(201),
        foreign=(401, 403, 403, 201),
        body=lambda: {"photo_url": "https://photos.example.com/2.jpg"},
    ),
    Row("equipment.delete_photo", "DELETE", _own_photo, own=known(204), foreign=(401, 403, 403, 204)),
    Row("categories.list_categories", "GET", at("/api/v1/categories"), everyone(200)),
    Row("categories.get_category", "GET", lambda _: f"/api/v1/categories/{category_id()}", everyone(200)),
    Row("conversations.list_conversations", "GET", at("/api/v1/conversations"), known(200)),
    Row("conversations.begin_conversation", "POST", at("/api/v1/conversations"), known(201),
        body=lambda: {"participant_ids": [str(add_user())]}),
    Row("conversations.get_conversation", "GET", _own_conversation, known(200), known(403)),
    Row("conversations.list_messages", "GET", lambda scene: f"{_own_conversation(scene)}/messages",
        known(200), known(403)),
    Row(
        "conversations.send_message",
        "POST",
        lambda scene: f"{_own_conversation(scene)}/messages",
        own=known(201),
        foreign=known(403),
        body=lambda: {"content": "Hello"},
    ),
    Row("conversations.mark_read", "POST", lambda scene: f"{_own_conversation(scene)}/read", known(204), known(403)),
    Row(
        "admin.change_role",
        "PUT",
        lambda scene: f"/api/v1/admin/users/{scene.owner.id}/role",
        own=(401, 403, 403, 409),
        foreign=(401, 403, 403, 200),
        body=lambda: {"role": "renter"},
    ),
    Row(
        "admin.delete_user",
        "DELETE",
        lambda scene: f"/api/v1/admin/users/{scene.owner.id}",
        own=(401, 403, 403, 409),
        foreign=(401, 403, 403, 204),
    ),
    Row("admin.get_stats", "GET", at("/api/v1/admin/stats"), ADMINS),
    Row("admin.list_users", "GET", at("/api/v1/admin/users"), ADMINS),
    Row("admin.get_user", "GET", lambda scene: f"/api/v1/admin/users/{scene.owner.id}", ADMINS, ADMINS),
    Row("admin.list_equipment", "GET", at("/api/v1/admin/equipment"), ADMINS),
    Row(
        "admin.set_availability",
        "PUT",
        lambda scene: f"{_moderated_equipment(scene)}/availability",
        own=ADMINS,
        foreign=ADMINS,
        body=lambda: {"is_available": False},
    ),
    Row("admin.delete_equipment", "DELETE", _moderated_equipment, ADMINS_REMOVE, ADMINS_REMOVE),
    Row("admin.list_categories", "GET", at("/api/v1/admin/categories"), ADMINS),
    Row("admin.create_category", "POST", at("/api/v1/admin/categories"), (401, 403, 403, 201),
        body=lambda: {"name": "Boats"}),
    Row("admin.change_category", "PUT", lambda _: f"/api/v1/admin/categories/{add_category()}", ADMINS,
        body=lambda: {"name": "Boats"}),
    Row("admin.delete_category", "DELETE", lambda _: f"/api/v1/admin/categories/{add_category()}", ADMINS_REMOVE),
    Row("admin.list_entries", "GET", at("/api/v1/admin/audit-log"), ADMINS),
    Row("socket.explain_1", "GET", at("/ws"), everyone(426)),
    Row("socket.explain_2", "GET", at("/api/ws"), everyone(426)),
    Row("socket.explain_3", "GET", at("/api/v1/ws"), everyone(426)),
)  # fmt: skip


def _cases() -> list[Any]:
    return [
        pytest.param(row, role, whose, status, id=f"{row.method} {row.endpoint} {whose} {role}")
        for row in MATRIX
        for whose, statuses in (("own", row.own), ("foreign", row.foreign))
        for role, status in zip(ROLES, statuses or (), strict=statuses is not None)
    ]


@pytest.mark.attack("roles and objects")
@pytest.mark.parametrize(("row", "role", "whose", "status"), _cases())
def test_access(
    client: FlaskClient, people: dict[str, Person], stranger: Person, row: Row, role: str, whose: str, status: int
) -> None:
    actor = people.get(role)
    scene = Scene(actor=actor, owner=actor if actor is not None and whose == "own" else stranger)

    headers = actor.headers if actor else {}
    body = row.body() if row.body else None
    with client.open(row.path(scene), method=row.method, headers=headers, json=body) as answer:
        assert answer.status_code == status, answer.get_data(as_text=True)


@pytest.fixture
def people(renter: Person, owner: Person, admin: Person) -> dict[str, Person]:
    return {RENTER: renter, OWNER: owner, ADMIN: admin}


@pytest.fixture
def stranger(client: FlaskClient, tenant: TenantProcess) -> Person:
    return add_person(tenant, Role.OWNER)


def test_every_route_is_in_the_matrix(app: Flask) -> None:
    # A socket cannot be opened in this process; who may open one, and write to whom, is tested in tests/realtime.
    rules = [rule for rule in app.url_map.iter_rules() if not rule.websocket]
    routes = {(rule.endpoint, method) for rule in rules for method in (rule.methods or set()) - IMPLIED}
    assert routes == {(row.endpoint, row.method) for row in MATRIX}


IMPLIED = {"HEAD", "OPTIONS"}  # Flask's own: HEAD goes the way of GET, OPTIONS tells the methods and nothing else


def test_public_routes_are_these_and_no_others(app: Flask) -> None:
    public = {endpoint for endpoint, view in app.view_functions.items() if is_public(view)}
    assert public == PUBLIC_ENDPOINTS, f"public routes: {sorted(public)}"


def test_a_route_is_closed_unless_marked_public(settings: Settings, engine: Engine) -> None:
    app = create_app(settings)
    app.add_url_rule("/forgotten", view_func=lambda: "secret")
    assert app.test_client().get("/forgotten").status_code == 401


def test_head_is_as_closed_as_get(client: FlaskClient) -> None:
    assert client.head("/api/v1/auth/me").status_code == 401

"""Every route: a request that it accepts, the status for each role, and the body that clients rely on.

`tests/api/test_access.py` fails if a route of the URL map is missing here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from app.common.geo import Point
from tests.support.processes.tenant import PASSWORD
from tests.support.rows import (
    Person,
    add_category,
    add_conversation,
    add_equipment,
    add_user,
    category_id,
    new_equipment,
    photo_id_of,
)
from tests.support.shapes import Shape, boolean, fits, integer, json_object, money, number, or_null, text, time
from tests.support.shapes import uuid as id_

ANONYMOUS, RENTER, OWNER, ADMIN = "anonymous", "renter", "owner", "admin"
ROLES = (ANONYMOUS, RENTER, OWNER, ADMIN)
API = "/api/v1"
BERN = Point(longitude=7.4474, latitude=46.948)
ROLE = {"renter", "owner", "admin"}
ME = {"id": id_, "email": text, "role": ROLE, "username": text, "full_name": or_null(text), "avatar_url": or_null(text)}
PUBLIC_USER = {"id": id_, "username": text, "avatar_url": or_null(text)}
PHOTO = {"id": id_, "photo_url": text, "is_primary": boolean, "order_index": integer}
EQUIPMENT = {
    "id": id_, "owner_id": id_, "category_id": id_, "title": text, "description": text, "daily_rate": money,
    "condition": {"new", "excellent", "good", "fair"}, "location": text,
    "coordinates": {"latitude": number, "longitude": number}, "is_available": boolean, "photos": [PHOTO],
    "created_at": time, "updated_at": time,
}  # fmt: skip
PAGE = {"items": [EQUIPMENT], "total": integer, "page": integer, "limit": integer, "total_pages": integer,
        "next_cursor": or_null(text)}  # fmt: skip
MESSAGE = {
    "id": id_, "conversation_id": id_, "sender_id": id_, "sender_name": text, "content": text, "created_at": time,
    "seq": integer, "client_msg_id": or_null(text),
}  # fmt: skip
PARTICIPANT = {"user_id": id_, "username": text, "avatar_url": or_null(text), "last_read_at": or_null(time),
               "last_read_seq": integer}  # fmt: skip
CONVERSATION = {
    "id": id_, "equipment_id": or_null(id_), "participants": [PARTICIPANT], "last_message": or_null(MESSAGE),
    "last_seq": integer, "unread_count": integer, "created_at": time, "updated_at": time,
}  # fmt: skip
STATS = dict.fromkeys(("total_users", "total_equipment", "available_equipment", "total_categories"), integer)
ADMIN_USER = {"id": id_, "email": or_null(text), "role": ROLE, "username": text, "full_name": or_null(text),
              "created_at": time, "equipment_count": integer}  # fmt: skip
ADMIN_EQUIPMENT = {"id": id_, "title": text, "owner_email": or_null(text), "category_name": text, "daily_rate": money,
                   "is_available": boolean, "created_at": time}  # fmt: skip
NUMBERED = {"total": integer, "page": integer, "per_page": integer}


def category(value: Any) -> bool:
    fields = {"id": id_, "name": text, "parent_id": or_null(id_), "created_at": time, "children": [category]}
    return fits(value, fields)


@dataclass(frozen=True)
class Scene:
    """The user who sends the request (None without a token) and the owner of what the path names."""

    actor: Person | None
    owner: Person


@dataclass(frozen=True)
class Route:
    """A route and the request that tests send to it.

    `own` and `foreign` hold the status for each of `ROLES`, if the path names the actor's resource or another user's.
    `answer` is the shape of a 2xx body: `exact` where existing web clients know exactly these members.
    """

    endpoint: str
    method: str
    path: Callable[[Scene], str]
    own: tuple[int, int, int, int]
    foreign: tuple[int, int, int, int] | None = None
    body: Callable[[], Any] | None = None
    answer: Shape | None = None
    exact: bool = True

    def __str__(self) -> str:
        return f"{self.method} {self.endpoint}"

    @property
    def admin_status(self) -> int:
        """The status for an admin who owns what the path names."""
        return self.own[ROLES.index(ADMIN)]


def everyone(status: int) -> tuple[int, int, int, int]:
    return (status, status, status, status)


def users(status: int) -> tuple[int, int, int, int]:
    return (401, status, status, status)


def admins(status: int) -> tuple[int, int, int, int]:
    return (401, 403, 403, status)


OWNERS_AND_ADMINS = (401, 403, 201, 201)


def at(path: str) -> Callable[[Scene], str]:
    return lambda _: path


def api(path: str) -> Callable[[Scene], str]:
    return at(API + path)


def for_user(path: str) -> Callable[[Scene], str]:
    return lambda scene: API + path.format(scene.owner.id)


def for_equipment(path: str) -> Callable[[Scene], str]:
    """A path for a new listing of the scene's owner, with its id and the id of its photo."""

    def make(scene: Scene) -> str:
        equipment_id = add_equipment(scene.owner.id, photos=1, coordinates=BERN)
        return API + path.format(equipment_id, photo=photo_id_of(equipment_id))

    return make


def for_conversation(path: str) -> Callable[[Scene], str]:
    """A path for a new conversation of the scene's owner."""
    return lambda scene: API + path.format(add_conversation(scene.owner.id, add_user(), messages=2))


def for_category(path: str) -> Callable[[Scene], str]:
    return lambda _: API + path.format(add_category())


def sending(**body: Any) -> Callable[[], Any]:
    return lambda: dict(body)


def _account() -> dict[str, str]:
    name = uuid4().hex[:12]
    return {"email": f"{name}@example.com", "password": PASSWORD, "username": name, "full_name": "Sam O’Neil"}


EQUIPMENT_PATH, CONVERSATION_PATH, ADMIN_EQUIPMENT_PATH = "/equipment/{}", "/conversations/{}", "/admin/equipment/{}"
ROUTES = (
    *(Route(endpoint, "GET", at(path), everyone(200)) for endpoint, path in (
        ("health", "/health"), ("ready", "/ready"), ("metrics", "/metrics"), ("api-docs.openapi_json", "/openapi.json"),
        ("asyncapi", "/asyncapi.json"), ("docs.first_page", "/"), ("docs.rest", "/docs"),
        ("docs.socket", "/docs/socket"), ("docs.protocol", "/docs/protocol.md"),
        ("docs.asset", "/docs/swagger-ui.css"),
    )),
    Route("auth.sign_up", "POST", api("/auth/auth0/signup"), everyone(201), body=_account,
          answer={"id": id_, "email": text, "email_verified": boolean, "auth0_id": text}, exact=False),
    # These two need an account: see test_accounts.
    Route("auth.log_in", "POST", api("/auth/auth0/login"), everyone(401),
          body=sending(email="nobody@example.com", password="Wrong-password-1")),  # noqa: S106
    Route("auth.refresh", "POST", api("/auth/auth0/refresh"), everyone(401), body=sending(refresh_token="x")),  # noqa: S106
    Route("auth.me", "GET", api("/auth/me"), users(200), answer=ME),
    Route("users.get_user", "GET", for_user("/users/{}"), everyone(200), everyone(200), answer=PUBLIC_USER),
    Route("users.change_user", "PUT", for_user("/users/{}"), users(200), admins(200),
          sending(full_name="Sam", avatar_url="https://example.com/a.jpg"), PUBLIC_USER, exact=False),
    Route("users.list_own_equipment", "GET", for_equipment("/users/me/equipment"), users(200), answer=PAGE),
    Route("users.get_owner_profile", "GET", api("/users/me/owner-profile"), users(404)),
    Route("users.save_owner_profile", "PUT", api("/users/me/owner-profile"), users(200),
          body=sending(business_info={"pickup": "weekends"}), answer={"business_info": json_object}, exact=False),
    Route("users.get_renter_profile", "GET", api("/users/me/renter-profile"), users(200),
          answer={"preferences": json_object, "experience_level": or_null(text)}, exact=False),
    Route("users.save_renter_profile", "PUT", api("/users/me/renter-profile"), users(200),
          body=sending(preferences={"pickup": "weekends"}, experience_level="pro"),
          answer={"preferences": {"pickup": text}, "experience_level": {"pro"}}, exact=False),
    Route("equipment.search_equipment", "GET", for_equipment("/equipment"), everyone(200), answer=PAGE),
    Route("equipment.get_equipment", "GET", for_equipment(EQUIPMENT_PATH), everyone(200), everyone(200),
          answer=EQUIPMENT),
    Route("equipment.create_equipment", "POST", api("/equipment"), OWNERS_AND_ADMINS, body=new_equipment,
          answer=EQUIPMENT),
    Route("equipment.change_equipment", "PUT", for_equipment(EQUIPMENT_PATH), users(200), admins(200),
          sending(title="Another title"), EQUIPMENT),
    Route("equipment.delete_equipment", "DELETE", for_equipment(EQUIPMENT_PATH), users(204), admins(204)),
    Route("equipment.add_photo", "POST", for_equipment(f"{EQUIPMENT_PATH}/photos"), users(201), admins(201),
          sending(photo_url="https://photos.example.com/2.jpg"), PHOTO, exact=False),
    Route("equipment.delete_photo", "DELETE", for_equipment(f"{EQUIPMENT_PATH}/photos/{{photo}}"), users(204),
          admins(204)),
    Route("categories.list_categories", "GET", api("/categories"), everyone(200), answer=[category]),
    Route("categories.get_category", "GET", lambda _: f"{API}/categories/{category_id()}", everyone(200),
          answer=category),
    Route("conversations.list_conversations", "GET", for_conversation("/conversations"), users(200),
          answer=[CONVERSATION]),
    Route("conversations.begin_conversation", "POST", api("/conversations"), users(201),
          body=lambda: {"participant_ids": [str(add_user())]}, answer=CONVERSATION),
    Route("conversations.get_conversation", "GET", for_conversation(CONVERSATION_PATH), users(200), users(403),
          answer=CONVERSATION),
    Route("conversations.list_messages", "GET", for_conversation(f"{CONVERSATION_PATH}/messages"), users(200),
          users(403), answer=[MESSAGE]),
    Route("conversations.send_message", "POST", for_conversation(f"{CONVERSATION_PATH}/messages"), users(201),
          users(403), sending(content="Hello"), MESSAGE),
    Route("conversations.mark_read", "POST", for_conversation(f"{CONVERSATION_PATH}/read"), users(204), users(403),
          body=dict),
    Route("admin.change_role", "PUT", for_user("/admin/users/{}/role"), admins(409), admins(200),
          sending(role="renter"), ADMIN_USER, exact=False),
    Route("admin.delete_user", "DELETE", for_user("/admin/users/{}"), admins(409), admins(204)),
    Route("admin.get_stats", "GET", api("/admin/stats"), admins(200), answer=STATS),
    Route("admin.list_users", "GET", api("/admin/users"), admins(200), answer={"users": [ADMIN_USER], **NUMBERED}),
    Route("admin.get_user", "GET", for_user("/admin/users/{}"), admins(200), admins(200), answer=ADMIN_USER),
    # Both also return the ids of the owner and the category.
    Route("admin.list_equipment", "GET", for_equipment("/admin/equipment"), admins(200),
          answer={"equipment": [ADMIN_EQUIPMENT], **NUMBERED}, exact=False),
    Route("admin.set_availability", "PUT", for_equipment(f"{ADMIN_EQUIPMENT_PATH}/availability"), admins(200),
          admins(200), sending(is_available=False), ADMIN_EQUIPMENT, exact=False),
    Route("admin.delete_equipment", "DELETE", for_equipment(ADMIN_EQUIPMENT_PATH), admins(204), admins(204)),
    Route("admin.list_categories", "GET", api("/admin/categories"), admins(200), answer=[category]),
    Route("admin.create_category", "POST", api("/admin/categories"), admins(201), body=sending(name="Boats"),
          answer=category),
    Route("admin.change_category", "PUT", for_category("/admin/categories/{}"), admins(200),
          body=sending(name="Boats"), answer=category),
    Route("admin.delete_category", "DELETE", for_category("/admin/categories/{}"), admins(204)),
    Route("admin.list_entries", "GET", api("/admin/audit-log"), admins(200), answer={"entries": [json_object]},
          exact=False),
    *(Route(f"socket.explain_{number}", "GET", at(path), everyone(426))
      for number, path in enumerate(("/ws", "/api/ws", "/api/v1/ws"), 1)),
)  # fmt: skip
# Every role has the same status there. The sockets authenticate in the handshake or the first frame: tests/realtime.
PUBLIC_ENDPOINTS = {route.endpoint for route in ROUTES if len(set(route.own)) == 1}
PUBLIC_ENDPOINTS |= {"socket.open_1", "socket.open_2", "socket.open_3"}

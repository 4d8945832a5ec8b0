"""What clients rely on, line by line, in the contract's order: each convention and each route with a request.

The table is the promise. What existing web clients speak has exactly these fields (`exact`); any other answer may gain
some. A route of the API that is not in the table fails `test_every_route_is_in_the_table`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.geo import Point
from app.models import Role
from app.settings import Settings
from tests.api.failing_app import make_failing_app
from tests.api.shapes import Shape, a_time, an_id, an_object, differences, flag, money, number, or_null, text, whole
from tests.support import UNKNOWN_ID
from tests.support.processes.tenant import PASSWORD, TenantProcess
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

BASE = "/api/v1"
BERN = Point(longitude=7.4474, latitude=46.948)
MEGABYTE = 1024 * 1024
NOBODY, RENTER, OWNER, ADMIN = "nobody", "renter", "owner", "admin"

ROLE = {"renter", "owner", "admin"}
CONDITION = {"new", "excellent", "good", "fair"}
ME = {
    "id": an_id,
    "email": text,
    "role": ROLE,
    "username": text,
    "full_name": or_null(text),
    "avatar_url": or_null(text),
}
PUBLIC_USER = {"id": an_id, "username": text, "avatar_url": or_null(text)}
TOKENS = {"access_token": text, "refresh_token": or_null(text), "id_token": text, "token_type": text,
          "expires_in": whole}  # fmt: skip
PHOTO = {"id": an_id, "photo_url": text, "is_primary": flag, "order_index": whole}
COORDINATES = {"latitude": number, "longitude": number}
ITEM = {
    "id": an_id, "owner_id": an_id, "category_id": an_id, "title": text, "description": text, "daily_rate": money,
    "condition": CONDITION, "location": text, "coordinates": COORDINATES, "is_available": flag, "photos": [PHOTO],
    "created_at": a_time, "updated_at": a_time,
}  # fmt: skip


def page_of(item: Shape) -> dict[str, Shape]:
    counts = dict.fromkeys(("total", "page", "limit", "total_pages"), whole)
    return {"items": [item], **counts, "next_cursor": or_null(text)}


def category(value: Any) -> bool:
    fields = {"id": an_id, "name": text, "parent_id": or_null(an_id), "created_at": a_time, "children": [category]}
    return not differences(value, fields)


MESSAGE = {
    "id": an_id, "conversation_id": an_id, "sender_id": an_id, "sender_name": text, "content": text,
    "created_at": a_time, "seq": whole, "client_msg_id": or_null(text),
}  # fmt: skip
PARTICIPANT = {"user_id": an_id, "username": text, "avatar_url": or_null(text), "last_read_at": or_null(a_time),
               "last_read_seq": whole}  # fmt: skip
CONVERSATION = {
    "id": an_id, "equipment_id": or_null(an_id), "participants": [PARTICIPANT], "last_message": or_null(MESSAGE),
    "last_seq": whole, "unread_count": whole, "created_at": a_time, "updated_at": a_time,
}  # fmt: skip
STATS = dict.fromkeys(("total_users", "total_equipment", "available_equipment", "total_categories"), whole)
SEEN_USER = {"id": an_id, "email": or_null(text), "role": ROLE, "username": text, "full_name": or_null(text),
             "created_at": a_time, "equipment_count": whole}  # fmt: skip
SEEN_EQUIPMENT = {"id": an_id, "title": text, "owner_email": or_null(text), "category_name": text, "daily_rate": money,
                  "is_available": flag, "created_at": a_time}  # fmt: skip
NUMBERED = {"total": whole, "page": whole, "per_page": whole}


@dataclass(frozen=True)
class Scene:
    """The people and things that the table's requests are about; all of the things are the owner's."""

    people: dict[str, Person | None]
    tenant: TenantProcess
    names: dict[str, Any]

    def headers(self, who: str) -> dict[str, str]:
        person = self.people[who]
        return person.headers if person is not None else {}


Body = Callable[[Scene], Any]


@dataclass(frozen=True)
class Row:
    """A route, who asks, what is sent, and what has to come back."""

    method: str
    path: str
    who: str
    status: int = 200
    shape: Shape | None = None
    sends: Body | None = None
    query: str = ""
    exact: bool = True
    headers: dict[str, str] = field(default_factory=dict)
    named: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, (self.method, self.path + self.query, self.who, self.named)))


def sending(**body: Any) -> Body:
    return lambda _: body


def a_listing(**changes: Any) -> Body:
    return lambda _: new_equipment(**changes)


def with_person(name: str) -> Body:
    return lambda scene: {"participant_ids": [scene.names[name]]}


def about(name: str) -> Body:
    return lambda scene: {name: scene.names[name]}


def an_account(scene: Scene) -> dict[str, str]:
    email = f"{uuid4().hex[:12]}@example.com"
    scene.tenant.add_user(email)
    return {"email": email, "password": PASSWORD}


def a_newcomer(_: Scene) -> dict[str, str]:
    name = uuid4().hex[:12]
    return {"email": f"{name}@example.com", "password": PASSWORD, "username": name, "full_name": "Sam O’Neil"}


def a_grant(scene: Scene) -> dict[str, str]:
    return {"refresh_token": scene.names["refresh_token"]}


USER, LISTING, TALK = "/users/{user_id}", "/equipment/{equipment_id}", "/conversations/{conversation_id}"
MODERATED, KIND = "/admin/equipment/{equipment_id}", "/admin/categories/{category_id}"

ROWS = (
    # Auth
    Row("POST", "/auth/auth0/signup", NOBODY, 201,
        {"id": an_id, "email": text, "email_verified": flag, "auth0_id": text}, a_newcomer, exact=False),
    Row("POST", "/auth/auth0/login", NOBODY, 200, TOKENS, an_account),
    Row("POST", "/auth/auth0/refresh", NOBODY, 200, TOKENS, a_grant, exact=False),
    Row("GET", "/auth/me", RENTER, 200, ME),
    # Users
    Row("GET", USER, NOBODY, 200, PUBLIC_USER),
    Row("PUT", USER, OWNER, 200, PUBLIC_USER,
        sending(username="ada", full_name="Ada", avatar_url="https://example.com/a.jpg"), exact=False),
    Row("PUT", USER, ADMIN, 200, PUBLIC_USER, sending(full_name=None), exact=False),
    Row("PUT", USER, RENTER, 403, sends=sending(full_name="Eve")),
    Row("PUT", USER, OWNER, 400, sends=sending(username="ab")),
    Row("GET", "/users/me/equipment", OWNER, 200, page_of(ITEM)),
    Row("GET", "/users/me/owner-profile", RENTER, 404),
    Row("PUT", "/users/me/owner-profile", RENTER, 200, {"business_info": an_object},
        sending(business_info={"pickup": "weekends"}), exact=False),
    Row("GET", "/users/me/renter-profile", RENTER, 200,
        {"preferences": an_object, "experience_level": or_null(text)}, exact=False),
    Row("PUT", "/users/me/renter-profile", RENTER, 200, {"preferences": {"pickup": text}, "experience_level": {"pro"}},
        sending(preferences={"pickup": "weekends"}, experience_level="pro"), exact=False),
    # Equipment
    Row("GET", "/equipment", NOBODY, 200, page_of(ITEM)),
    *(
        Row("GET", "/equipment", NOBODY, 200, page_of({**ITEM, "distance_km": or_null(number)}), query=query)
        for query in (
            "?lat=46.9&lng=7.4&radius_km=50&min_price=1&max_price=99.50&is_available=true&condition=good&q=drill",
            "?latitude=46.9&longitude=7.4&sort=distance",
            "?lat=46.9&lng=7.4&bbox=170,-50,-170,50&sort=newest",
        )
    ),
    *(
        Row("GET", "/equipment", NOBODY, 200, page_of(ITEM), query=query)
        for query in ("?category_id={parent_id}", "?sort=newest", "?sort=price_asc", "?sort=price_desc",
                      "?q=drill&sort=relevance", "?q=&lat=null&lng=undefined&page=&limit=+")
    ),
    *(
        Row("GET", "/equipment", NOBODY, 400, query=query)
        for query in ("?lat=46.9", "?lng=7.4", "?latitude=46.9", "?bbox=1,2,3", "?sort=cheapest", "?condition=broken",
                      "?sort=distance", "?min_price=x", "?page=0", "?limit=0", "?limit=101", "?page=x", "?cursor=x")
    ),
    Row("GET", LISTING, NOBODY, 200, ITEM),
    Row("GET", f"/equipment/{UNKNOWN_ID}", NOBODY, 404, named="unknown"),
    Row("POST", "/equipment", OWNER, 201, ITEM, a_listing(), headers={"Location": "/api/v1/equipment/"}),
    Row("POST", "/equipment", ADMIN, 201, ITEM, a_listing(daily_rate=25.5)),
    Row("POST", "/equipment", RENTER, 403, sends=a_listing()),
    *(
        Row("POST", "/equipment", OWNER, 400, sends=a_listing(**wrong), named=f"{wrong}"[:40])
        for wrong in ({"title": "ab"}, {"title": "a" * 201}, {"description": "too short"}, {"daily_rate": 0},
                      {"daily_rate": "-1"}, {"condition": "broken"}, {"location": "B"}, {"location": "B" * 256},
                      {"category_id": UNKNOWN_ID}, {"coordinates": {"latitude": 1}})
    ),
    Row("PUT", LISTING, OWNER, 200, ITEM, sending(title="Another title")),
    Row("PUT", LISTING, ADMIN, 200, ITEM, sending(daily_rate="12.5", is_available=False)),
    Row("PUT", LISTING, RENTER, 403, sends=sending(title="Another title")),
    Row("DELETE", LISTING, RENTER, 403),
    Row("DELETE", LISTING, OWNER, 204),
    Row("POST", f"{LISTING}/photos", OWNER, 201, PHOTO,
        sending(photo_url="https://example.com/2.jpg", is_primary=True), exact=False),
    Row("POST", f"{LISTING}/photos", OWNER, 400, sends=sending(photo_url="http://example.com/2.jpg")),
    Row("DELETE", f"{LISTING}/photos/{{photo_id}}", OWNER, 204),
    Row("GET", "/categories", NOBODY, 200, [category]),
    Row("GET", "/categories/{category_id}", NOBODY, 200, category),
    # Conversations
    Row("GET", "/conversations", OWNER, 200, [CONVERSATION]),
    Row("GET", "/conversations", OWNER, 200, [CONVERSATION], query="?limit=1", headers={"Link": 'rel="next"'}),
    Row("POST", "/conversations", RENTER, 201, CONVERSATION, with_person("user_id")),
    Row("POST", "/conversations", RENTER, 201, CONVERSATION, about("equipment_id")),
    Row("POST", "/conversations", OWNER, 200, CONVERSATION, with_person("other_id")),
    Row("GET", TALK, OWNER, 200, CONVERSATION),
    Row("GET", TALK, RENTER, 403),
    Row("GET", f"/conversations/{UNKNOWN_ID}", OWNER, 404, named="unknown"),
    *(
        Row("GET", f"{TALK}/messages", OWNER, 200, [MESSAGE], query=query)
        for query in ("", "?limit=1", "?offset=1", "?before_seq=3", "?after_seq=1&limit=100")
    ),
    *(Row("GET", f"{TALK}/messages", OWNER, 400, query=query) for query in ("?limit=0", "?limit=101", "?offset=x")),
    Row("POST", f"{TALK}/messages", OWNER, 201, MESSAGE, sending(content="Hello", client_msg_id="m-1")),
    Row("POST", f"{TALK}/messages", OWNER, 400, sends=sending(content="")),
    Row("POST", f"{TALK}/messages", OWNER, 400, sends=sending(content="a" * 5001), named="5001 characters"),
    Row("POST", f"{TALK}/messages", RENTER, 403, sends=sending(content="Hello")),
    Row("POST", f"{TALK}/read", OWNER, 204, sends=sending(seq=1)),
    Row("POST", f"{TALK}/read", OWNER, 204, sends=sending(), named="all"),
    # Admin
    Row("GET", "/admin/stats", ADMIN, 200, STATS),
    Row("GET", "/admin/stats", OWNER, 403),
    Row("GET", "/admin/users", ADMIN, 200, {"users": [SEEN_USER], **NUMBERED}),
    Row("GET", "/admin/users", ADMIN, 200, {"users": [SEEN_USER], **NUMBERED},
        query="?page=1&per_page=5&search=person&role=owner"),
    Row("GET", "/admin/users/{user_id}", ADMIN, 200, SEEN_USER),
    Row("PUT", "/admin/users/{user_id}/role", ADMIN, 200, SEEN_USER, sending(role="renter"), exact=False),
    Row("PUT", "/admin/users/{admin_id}/role", ADMIN, 409, sends=sending(role="renter")),
    Row("DELETE", "/admin/users/{user_id}", ADMIN, 204),
    # Beyond the contract's fields, both tell whose and of which category it is.
    Row("GET", "/admin/equipment", ADMIN, 200, {"equipment": [SEEN_EQUIPMENT], **NUMBERED}, exact=False),
    Row("PUT", f"{MODERATED}/availability", ADMIN, 200, SEEN_EQUIPMENT, sending(is_available=False), exact=False),
    Row("DELETE", MODERATED, ADMIN, 204),
    Row("GET", "/admin/categories", ADMIN, 200, [category]),
    Row("POST", "/admin/categories", ADMIN, 201, category, sending(name="Boats"), headers={"Location": "/api/v1/"}),
    Row("POST", "/admin/categories", ADMIN, 400, sends=sending(name="B")),
    Row("PUT", KIND, ADMIN, 200, category, sending(name="Boats", parent_id=None)),
    Row("PUT", KIND, ADMIN, 409, sends=lambda scene: {"name": "Boats", "parent_id": scene.names["category_id"]},
        named="a circle"),
    Row("DELETE", KIND, ADMIN, 204),
    Row("DELETE", "/admin/categories/{used_category_id}", ADMIN, 409, named="in use"),
    Row("GET", "/admin/audit-log", ADMIN, 200, {"entries": [an_object]}, exact=False),
)  # fmt: skip
TEXTS = {"/health": "ok", "/ready": "ready"}
SYSTEM = ("/health", "/ready", "/metrics", "/openapi.json", "/docs")
# The same routes under other names of what is in their paths, for a request of another kind.
ALIASES = {"{admin_id}": "{user_id}", "{used_category_id}": "{category_id}"}
NO_PART_OF_THE_API = re.compile(r"/docs/.*|/|/(api/)?(v1/)?ws|/asyncapi\.json|/docs\w*")


@pytest.fixture
def scene(client: FlaskClient, tenant: TenantProcess, renter: Person, owner: Person, admin: Person) -> Scene:
    """Somebody of each role; the owner's listing, and two conversations of the owner with somebody else."""
    used, other = category_id(), add_user()
    equipment_id = add_equipment(owner.id, photos=1, coordinates=BERN, category_id=used)
    add_conversation(owner.id, add_user())
    begun = client.post(f"{BASE}/conversations", json={"participant_ids": [str(other)]}, headers=owner.headers)
    talk = (begun.json or {})["id"]
    for count in range(3):
        client.post(f"{BASE}/conversations/{talk}/messages", json={"content": f"{count}"}, headers=owner.headers)
    parent = next(one for one in client.get(f"{BASE}/categories").json or () if str(used) in str(one))
    names = {
        "user_id": owner.id, "admin_id": admin.id, "other_id": other, "equipment_id": equipment_id,
        "photo_id": photo_id_of(equipment_id), "category_id": add_category(), "used_category_id": used,
        "parent_id": parent["id"], "conversation_id": talk,
    }  # fmt: skip
    people = {NOBODY: None, RENTER: renter, OWNER: owner, ADMIN: admin}
    return Scene(people, tenant, {name: str(value) for name, value in names.items()})


def ask(client: FlaskClient, scene: Scene, row: Row) -> TestResponse:
    if row.sends is a_grant:
        tokens = client.post(f"{BASE}/auth/auth0/login", json=an_account(scene)).json or {}
        scene.names["refresh_token"] = tokens["refresh_token"]
    path = (BASE + row.path + row.query).format_map(scene.names)
    body = None if row.sends is None else row.sends(scene)
    return client.open(path, method=row.method, json=body, headers=scene.headers(row.who))


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_each_line_holds(client: FlaskClient, scene: Scene, row: Row) -> None:
    answer = ask(client, scene, row)
    assert answer.status_code == row.status, answer.get_data(as_text=True)
    for name, part in row.headers.items():
        assert part in answer.headers[name]
    if row.shape is not None:
        assert differences(answer.json, row.shape, at_least=not row.exact) == []
    if row.status == 204:
        assert answer.get_data() == b""


@pytest.mark.parametrize("row", [row for row in ROWS if row.who != NOBODY and not row.query], ids=str)
def test_a_line_that_is_not_public_asks_for_a_token(client: FlaskClient, scene: Scene, row: Row) -> None:
    body = None if row.sends is None else row.sends(scene)
    answer = client.open((BASE + row.path).format_map(scene.names), method=row.method, json=body)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("path", SYSTEM)
def test_what_is_beside_the_api_is_there(client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert path not in TEXTS or answer.text == TEXTS[path]


def test_every_route_is_in_the_table(app: Flask) -> None:
    rules = [rule for rule in app.url_map.iter_rules() if not rule.websocket]
    served = {
        (method, re.sub(r"<\w+:(\w+)>", r"{\1}", rule.rule))
        for rule in rules
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if not NO_PART_OF_THE_API.fullmatch(rule.rule)
    }
    promised = {(row.method, BASE + row.path) for row in ROWS if row.named != "unknown"} | {
        ("GET", path) for path in SYSTEM
    }
    for alias, name in ALIASES.items():
        promised = {(method, path.replace(alias, name)) for method, path in promised}
    assert served == promised - {("GET", "/docs")}


class TestConventions:
    """What holds for every route."""

    @pytest.mark.parametrize(
        ("status", "code", "sent"),
        [
            (400, "VALIDATION_ERROR", {"method": "POST", "json": {"title": "A title", "nonsense": 1}}),
            (400, "BAD_REQUEST", {"method": "POST", "data": b"{", "content_type": "application/json"}),
            (401, "UNAUTHORIZED", {"method": "POST", "headers": {"Authorization": ""}}),
            (401, "INVALID_TOKEN", {"method": "POST", "headers": {"Authorization": "Bearer x.y.z"}}),
            (405, "METHOD_NOT_ALLOWED", {"method": "PATCH"}),
            (406, "NOT_ACCEPTABLE", {"method": "POST", "more": {"Accept": "text/html"}}),
            (413, "PAYLOAD_TOO_LARGE",
             {"method": "POST", "data": b" " * (MEGABYTE + 1), "content_type": "application/json"}),
            (415, "UNSUPPORTED_MEDIA_TYPE", {"method": "POST", "data": b"title=a", "content_type": "text/plain"}),
        ],
    )  # fmt: skip
    def test_an_error_of_a_request_has_its_code(
        self, client: FlaskClient, owner: Person, status: int, code: str, sent: dict[str, Any]
    ) -> None:
        headers = {**sent.get("headers", owner.headers), **sent.get("more", {})}
        options = {name: value for name, value in sent.items() if name not in ("headers", "more")}
        self.assert_error(client.open(f"{BASE}/equipment", headers=headers, **options), status, code)

    def test_an_expired_token_and_wrong_credentials_have_their_codes(
        self, client: FlaskClient, tenant: TenantProcess
    ) -> None:
        token = tenant.token(sub="auth0|late", iat=1_700_000_000, exp=1_700_000_100)
        answer = client.get(f"{BASE}/auth/me", headers={"Authorization": f"Bearer {token}"})
        self.assert_error(answer, 401, "TOKEN_EXPIRED")
        wrong = {"email": "nobody@example.com", "password": "Wrong-password-1"}
        self.assert_error(client.post(f"{BASE}/auth/auth0/login", json=wrong), 401, "INVALID_CREDENTIALS")

    @pytest.mark.parametrize(
        ("way", "status", "code"),
        [("conflict", 409, "CONFLICT"), ("precondition", 412, "PRECONDITION_FAILED"), ("busy", 429, "RATE_LIMITED"),
         ("bug", 500, "INTERNAL_ERROR"), ("away", 503, "SERVICE_UNAVAILABLE")],
    )  # fmt: skip
    def test_an_error_of_the_service_has_its_code(
        self, settings: Settings, rolled_back: None, way: str, status: int, code: str
    ) -> None:
        self.assert_error(make_failing_app(settings).test_client().get(f"/fail/{way}"), status, code)

    def test_not_found_and_forbidden_have_their_codes(self, client: FlaskClient, renter: Person) -> None:
        self.assert_error(client.get("/nowhere"), 404, "NOT_FOUND")
        self.assert_error(client.get(f"{BASE}/admin/stats", headers=renter.headers), 403, "FORBIDDEN")

    @staticmethod
    def assert_error(answer: TestResponse, status: int, code: str) -> None:
        fields = {"error": text, "message": text, "code": {code}, "request_id": text, "type": text, "title": text,
                  "status": {status}, "detail": text, "instance": text}  # fmt: skip
        assert answer.status_code == status, answer.text
        body = answer.json or {}
        assert differences(body, fields, at_least=True) == []
        assert body["request_id"] == answer.headers["X-Request-Id"]
        detail = {"field": text, "message": text, "code": text}
        assert differences(body.get("details", []), [detail]) == []
        assert (status == 401) == ("WWW-Authenticate" in answer.headers)
        assert (status in (429, 503)) == ("Retry-After" in answer.headers)

    def test_an_error_is_a_problem_where_that_is_asked_for(self, client: FlaskClient) -> None:
        answer = client.get("/nowhere", headers={"Accept": "application/problem+json"})
        assert answer.mimetype == "application/problem+json"
        assert (answer.json or {})["title"] == "Not Found"

    @pytest.mark.parametrize("sent", ["abcd-EFGH_1.2", "a" * 8, "a" * 128])
    def test_a_request_id_is_taken(self, client: FlaskClient, sent: str) -> None:
        assert client.get("/health", headers={"X-Request-Id": sent}).headers["X-Request-Id"] == sent

    @pytest.mark.parametrize("sent", ["", "a" * 7, "a" * 129, "a b c d e f", "ä" * 9])
    def test_or_made(self, client: FlaskClient, sent: str) -> None:
        made = client.get("/health", headers={"X-Request-Id": sent}).headers["X-Request-Id"]
        assert made != sent
        assert re.fullmatch("[A-Za-z0-9._-]{8,128}", made)

    def test_a_cursor_goes_through_all_of_a_list_once(self, client: FlaskClient, tenant: TenantProcess) -> None:
        person = add_person(tenant, Role.OWNER)
        made = {str(add_equipment(person.id)) for _ in range(5)}
        seen: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            query = {"limit": "2", **({"cursor": cursor} if cursor else {})}
            body: Any = client.get(f"{BASE}/users/me/equipment", query_string=query, headers=person.headers).json
            assert (body["total"], body["total_pages"], body["limit"]) == (5, 3, 2)
            seen += [item["id"] for item in body["items"]]
            cursor = body["next_cursor"]
        assert sorted(seen) == sorted(made)

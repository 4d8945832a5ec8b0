"""Security headers on every answer, whatever its status; nothing personal is kept by anybody's cache."""

import dataclasses
import re
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import create_app
from app.settings import Settings
from app.web.errors import codes_by_status
from tests.support import UNKNOWN_ID
from tests.support.assertions import assert_error
from tests.support.failing_app import make_failing_app
from tests.support.routes import ROUTES, Route, Scene
from tests.support.rows import Person, add_equipment, new_equipment
from tests.support.security_headers import assert_secure

API = "/api/v1/equipment"
ASSET = "/docs/swagger-ui.css"
ORIGIN = "https://app.example.com"
READABLE = {"X-Request-Id", "ETag", "Idempotent-Replayed", "Link", "Location", "Retry-After", "WWW-Authenticate"}
MAX_BODY = 256 * 1024
# Each is a way to a status that anybody can go: method, path, what else is sent.
ANSWERS: list[tuple[int, str, str, dict[str, Any]]] = [
    (200, "GET", "/health", {}),
    (200, "GET", "/ready", {}),
    (200, "GET", API, {}),
    (200, "GET", "/api/v1/categories", {}),
    (200, "GET", "/openapi.json", {}),
    (200, "GET", "/", {}),
    (200, "GET", "/docs/start.js", {}),
    (200, "GET", "/docs/protocol.md", {}),
    (200, "GET", ASSET, {}),
    (200, "HEAD", ASSET, {}),
    (200, "HEAD", "/health", {}),
    (200, "OPTIONS", API, {}),
    (200, "OPTIONS", "/api/v1/auth/me", {}),
    (206, "GET", ASSET, {"headers": {"Range": "bytes=0-9"}}),
    (304, "GET", ASSET, {"headers": {"If-None-Match": "*"}}),
    (308, "GET", "/folder", {}),
    (400, "GET", f"{API}?limit=x", {}),
    (400, "POST", "/api/v1/auth/auth0/login", {"data": b"{", "content_type": "application/json"}),
    (400, "GET", "/api/v1/auth/me", {"headers": {"Authorization": "Bearer a, Bearer b"}}),
    (401, "GET", "/api/v1/auth/me", {}),
    (401, "HEAD", "/api/v1/auth/me", {}),
    (401, "POST", API, {"headers": {"Authorization": "Bearer nonsense"}}),
    (403, "GET", "/fail/forbidden", {}),
    (404, "GET", "/nowhere", {}),
    (404, "HEAD", "/nowhere", {}),
    (404, "OPTIONS", "/nowhere", {}),
    (404, "GET", "/docs/nothing.js", {}),
    (404, "GET", f"{API}/{UNKNOWN_ID}", {}),
    (404, "GET", f"/api/v1/users/{UNKNOWN_ID}", {}),
    (405, "PATCH", API, {}),
    (405, "TRACE", "/health", {}),
    (409, "GET", "/fail/conflict", {}),
    (412, "GET", "/fail/precondition", {}),
    (413, "POST", "/api/v1/auth/auth0/login", {"data": b" " * (MAX_BODY + 1), "content_type": "application/json"}),
    (415, "POST", "/api/v1/auth/auth0/login", {"data": b"{}", "content_type": "text/plain"}),
    (416, "GET", ASSET, {"headers": {"Range": "bytes=99999999-"}}),
    (426, "GET", "/ws", {}),
    (426, "GET", "/api/v1/ws", {}),
    (429, "GET", "/fail/busy", {}),
    (500, "GET", "/fail/bug", {}),
    (500, "HEAD", "/fail/bug", {}),
    (503, "GET", "/fail/away", {}),
    (503, "GET", "/fail/pool", {}),
]

# What is the same for everybody. All the other routes there are (see test_access) are personal, or of no use to keep.
PUBLIC_READS = {
    *("api-docs.openapi_json", "users.get_user", "equipment.search_equipment", "equipment.get_equipment"),
    *("categories.list_categories", "categories.get_category", "docs.first_page"),
}
EVERYBODYS = [row for row in ROUTES if row.endpoint in PUBLIC_READS]
PERSONAL = [row for row in ROUTES if row.endpoint not in {"docs.asset", "docs.protocol", *PUBLIC_READS}]
EVIL_HOST = {"Host": "evil.example.com", "X-Forwarded-Host": "evil.example.com", "Forwarded": "host=evil.example.com"}


@pytest.fixture(scope="module")
def failing_app(settings: Settings) -> Flask:
    return make_failing_app(settings, cors_allowed_origins=(ORIGIN,))


@pytest.fixture
def web(failing_app: Flask, rolled_back: None) -> FlaskClient:
    return failing_app.test_client()


@pytest.mark.parametrize("origin", [None, ORIGIN])
@pytest.mark.parametrize(
    ("status", "method", "path", "sent"), [pytest.param(*row, id=f"{row[0]} {row[1]} {row[2]}") for row in ANSWERS]
)
def test_every_status_has_its_headers_and_every_error_the_one_body(
    web: FlaskClient, status: int, method: str, path: str, sent: dict[str, Any], origin: str | None
) -> None:
    headers = {**sent.get("headers", {}), **({"Origin": origin} if origin else {})}
    with web.open(path, method=method, **{**sent, "headers": headers}) as answer:
        assert answer.status_code == status
        assert_secure(answer.headers)
        assert answer.headers.get("Access-Control-Allow-Origin") == origin
        if origin:
            assert set(answer.headers["Access-Control-Expose-Headers"].split(", ")) >= READABLE
        names = [name for name in answer.headers.keys() if name != "Vary"]  # noqa: SIM118
        assert len(set(names)) == len(names)
        if status >= 400:
            assert answer.headers["Cache-Control"] == "no-store"
        if status >= 400 and method != "HEAD":
            body = assert_error(answer, status, (answer.json or {}).get("code", ""))
            assert body["code"] in codes_by_status().get(status, {"BAD_REQUEST"})
            assert not re.search("secret|QueuePool", str(body))


@pytest.mark.parametrize(
    ("trusted_proxies", "forwarded_proto", "is_https"),
    [(0, "https", False), (1, "http", False), (1, "https", True), (1, "https, http", False), (1, "javascript", False)],
)
@pytest.mark.parametrize("path", ["/health", "/nowhere"])
def test_hsts_is_sent_over_https_only(
    settings: Settings, trusted_proxies: int, forwarded_proto: str, is_https: bool, path: str
) -> None:
    client = create_app(dataclasses.replace(settings, trusted_proxy_count=trusted_proxies)).test_client()
    answer = client.get(path, headers={"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": forwarded_proto})
    assert_secure(answer.headers, is_https=is_https)


class TestCaches:
    """`no-store` is what an answer says unless it is of everybody's."""

    @pytest.mark.parametrize("row", PERSONAL, ids=lambda row: row.endpoint)
    def test_nothing_personal_may_be_kept(self, client: FlaskClient, admin: Person, owner: Person, row: Route) -> None:
        scene = Scene(actor=admin, owner=admin)
        for headers in ({}, owner.headers, admin.headers):  # an error, an error or a success, and most often a success
            body = row.body() if row.body else None
            answer = client.open(row.path(scene), method=row.method, headers=headers, json=body)
            assert answer.headers["Cache-Control"] == "no-store"
            assert_secure(answer.headers, is_page=answer.mimetype == "text/html")
        expected = row.admin_status
        assert answer.status_code == expected or expected >= 400, "a success is among them, where there is one"

    @pytest.mark.parametrize("row", EVERYBODYS, ids=lambda row: row.endpoint)
    def test_what_is_everybodys_may_be_kept_and_is_asked_for_each_time(
        self, client: FlaskClient, admin: Person, row: Route
    ) -> None:
        path = row.path(Scene(actor=admin, owner=admin))
        assert client.get(path).headers["Cache-Control"] == "public, no-cache"
        assert client.get(path, headers=admin.headers).headers["Cache-Control"] == "private, no-cache"

    def test_an_asset_is_everybodys(self, client: FlaskClient) -> None:
        with client.get(ASSET) as answer:
            assert answer.headers["Cache-Control"] == "public, max-age=86400"


class TestHost:
    """What the client says this host is called comes back nowhere, so that it can lead nobody astray."""

    @pytest.mark.attack("headers")
    @pytest.mark.parametrize(
        "path",
        ["/health", "/docs", "/openapi.json", "/nowhere", "/api/v1//equipment", "//health", "/health/", "/docs/",
         API, f"{API}?limit=1", f"{API}/", "/ws"],
    )  # fmt: skip
    def test_is_not_repeated(self, client: FlaskClient, owner: Person, path: str) -> None:
        for _ in range(2):
            add_equipment(owner.id)
        answer = client.get(path, headers=EVIL_HOST)
        assert not 300 <= answer.status_code < 400
        assert "evil.example.com" not in str(answer.headers) + answer.get_data(as_text=True)

    @pytest.mark.attack("headers")
    def test_is_not_where_a_new_thing_is_said_to_be(self, client: FlaskClient, owner: Person) -> None:
        answer = client.post(API, json=new_equipment(), headers={**owner.headers, **EVIL_HOST})
        assert answer.status_code == 201
        assert answer.headers["Location"].startswith(f"{API}/")

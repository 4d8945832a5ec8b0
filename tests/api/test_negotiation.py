"""What form an answer has, which methods a path takes, and that a slash too many does no harm."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.support.assertions import assert_error
from tests.support.routes import PUBLIC_ENDPOINTS, ROUTES, Route, Scene
from tests.support.rows import Person, add_equipment, new_equipment

API = "/api/v1/equipment"
NOT_OF_REST = ("socket.", "api-docs.", "docs.")
REST = [row for row in ROUTES if "." in row.endpoint and not row.endpoint.startswith(NOT_OF_REST)]
NOT_REST = [row for row in ROUTES if row not in REST and row.method == "GET"]
CLOSED = [row for row in REST if row.endpoint not in PUBLIC_ENDPOINTS]
NOT_TAKEN = [
    "text/html", "text/html, image/*;q=0.9", "application/xml", "application/json;q=0", "*/*;q=0",
    "application/json;q=0, */*", "application/json;q=0.0, text/*", "application/*;q=0, text/html",
    "application/json; charset=utf-8; q=0", "application/vnd.api+json", "jpeg/json", "application/geo+json",
]  # fmt: skip
TAKEN = [
    None, "", " ", "*/*", "application/*", "application/json", "APPLICATION/JSON", "application/json; charset=utf-8",
    "application/json;version=1", "application/json;q=0.001", "application/json, text/plain, */*", "text/plain, */*",
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "text/html;q=1, application/json;q=0.1", "application/problem+json", "application/problem+json, application/json",
    "json", "nonsense", ";;;", ",", "application/json;q=high", "*/*;q=0.1, application/json;q=0.5",
]  # fmt: skip


def accepting(accept: str | None, headers: dict[str, str] | None = None) -> dict[str, str]:
    return {**(headers or {}), **({} if accept is None else {"Accept": accept})}


class TestAccept:
    @pytest.mark.parametrize("accept", TAKEN)
    def test_what_can_be_given_is_given(self, client: FlaskClient, owner: Person, accept: str | None) -> None:
        answers = [
            client.get(API, headers=accepting(accept)),
            client.get("/api/v1/auth/me", headers=accepting(accept, owner.headers)),
            client.post(API, json=new_equipment(), headers=accepting(accept, owner.headers)),
            client.delete(f"{API}/{add_equipment(owner.id)}", headers=accepting(accept, owner.headers)),
        ]
        assert [answer.status_code for answer in answers] == [200, 200, 201, 204]
        assert {answer.mimetype for answer in answers[:3]} == {"application/json"}
        assert all("Accept" in answer.vary for answer in answers)

    @pytest.mark.parametrize("accept", NOT_TAKEN)
    def test_what_cannot_be_given_is_refused(self, client: FlaskClient, accept: str) -> None:
        path = "/api/v1/categories"  # the search has another form to give
        answer = client.get(path, headers={"Accept": accept})
        self.assert_not_acceptable(answer)
        assert client.head(path, headers={"Accept": accept}).status_code == 406

    @pytest.mark.parametrize("row", REST, ids=lambda row: f"{row.method} {row.endpoint}")
    def test_no_route_does_anything_for_a_client_that_takes_no_answer(
        self, client: FlaskClient, admin: Person, owner: Person, row: Route
    ) -> None:
        path = row.path(Scene(actor=admin, owner=owner))
        before = client.get(path, headers=admin.headers).get_data() if row.method != "GET" else b""
        body = row.body() if row.body else None
        if row in CLOSED:
            anonymous = client.open(path, method=row.method, headers={"Accept": "text/html"})
            assert_error(anonymous, 401, "UNAUTHORIZED")
        answer = client.open(path, method=row.method, json=body, headers=accepting("text/html", admin.headers))
        self.assert_not_acceptable(answer)
        if row.method != "GET":
            assert _stable(client.get(path, headers=admin.headers).get_data()) == _stable(before)

    @pytest.mark.parametrize("row", NOT_REST, ids=lambda row: row.endpoint)
    def test_what_is_no_part_of_the_api_is_given_to_anyone(
        self, client: FlaskClient, owner: Person, row: Route
    ) -> None:
        for accept in ("text/html", "application/openmetrics-text", "image/png", "*/*;q=0"):
            with client.get(row.path(Scene(actor=None, owner=owner)), headers={"Accept": accept}) as answer:
                assert answer.status_code == row.own[0]

    def test_a_pre_flight_is_answered_whatever_it_takes(self, client: FlaskClient) -> None:
        assert client.options(API, headers={"Accept": "text/html"}).status_code == 200

    def test_the_refusal_is_json_even_where_that_is_not_taken(self, client: FlaskClient) -> None:
        accept = "application/json;q=0, application/geo+json;q=0, application/problem+json;q=0, text/html"
        assert client.get(API, headers={"Accept": accept}).mimetype == "application/json"

    @staticmethod
    def assert_not_acceptable(answer: Any) -> None:
        body = assert_error(answer, 406, "NOT_ACCEPTABLE")
        assert answer.mimetype in ("application/json", "application/problem+json")
        assert "application/json" in body["message"]
        assert "Accept" in answer.vary
        assert answer.headers["Cache-Control"] == "no-store"


def _stable(body: bytes) -> bytes:
    """Without what names one request."""
    return b"" if b'"request_id"' in body else body


class TestMethods:
    @pytest.mark.parametrize("path", [API, "/api/v1/categories", "/health", "/openapi.json"])
    def test_head_has_the_headers_of_get_and_no_content(self, client: FlaskClient, path: str) -> None:
        whole, head = client.get(path), client.head(path)
        assert head.status_code == 200
        assert head.get_data() == b""
        of_one_request = {"X-Request-Id", "X-Ratelimit-Remaining", "X-Ratelimit-Reset"}
        expected = {(name, value) for name, value in whole.headers.items() if name.title() not in of_one_request}
        assert set(head.headers.items()) >= expected
        assert head.headers["Content-Length"] == str(len(whole.get_data()))

    @pytest.mark.parametrize("row", REST, ids=lambda row: f"{row.method} {row.endpoint}")
    def test_options_and_405_tell_the_same_methods(self, client: FlaskClient, owner: Person, row: Route) -> None:
        path = row.path(Scene(actor=owner, owner=owner))
        allowed = set(client.options(path).headers["Allow"].split(", "))
        assert row.method in allowed
        assert ("HEAD" in allowed) == ("GET" in allowed)
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW"} - allowed:
            answer = client.open(path, method=method, headers=owner.headers)
            assert answer.status_code == 405, method
            assert set(answer.headers["Allow"].split(", ")) == allowed


class TestTrailingSlash:
    """A slash at the end changes nothing: no redirect, which a body or a method would not survive everywhere."""

    @pytest.mark.parametrize("row", REST, ids=lambda row: f"{row.method} {row.endpoint}")
    def test_every_route_is_the_same_with_one(
        self, client: FlaskClient, admin: Person, owner: Person, row: Route
    ) -> None:
        path = row.path(Scene(actor=admin, owner=admin))
        body = row.body() if row.body else None
        if row in CLOSED:
            assert client.open(f"{path}/", method=row.method, json=body).status_code == 401
        answer = client.open(f"{path}/", method=row.method, json=body, headers=admin.headers)
        assert answer.status_code == row.admin_status
        assert "Location" not in answer.headers or answer.status_code == 201

    def test_it_keeps_the_limits_of_its_route(self, client: FlaskClient) -> None:
        plain, slashed = client.get(API), client.get(f"{API}/")
        for name in ("X-RateLimit-Limit", "ETag"):
            assert plain.headers.get(name) == slashed.headers.get(name)

    @pytest.mark.parametrize("path", ["/ready/", "/metrics/", "/health/", f"{API}//", f"/{API}", "/api/v1//equipment"])
    def test_what_a_proxy_guards_by_its_path_has_no_second_one(self, client: FlaskClient, path: str) -> None:
        assert client.get(path).status_code == 404


class TestLinks:
    """`Link` leads through a list (RFC 8288)."""

    @staticmethod
    def links(answer: Any) -> dict[str, str]:
        found = {}
        for link in filter(None, answer.headers.get("Link", "").split(", ")):
            target, _, rel = link.partition("; ")
            found[rel.removeprefix('rel="').removesuffix('"')] = target.strip("<>")
        return found

    def test_a_numbered_page_leads_back_and_on(self, client: FlaskClient, owner: Person) -> None:
        for _ in range(5):
            add_equipment(owner.id)
        first, second, last = (client.get(f"{API}?q=drill&limit=2&page={page}") for page in (1, 2, 3))
        assert self.links(first).keys() == {"next"}
        assert self.links(second).keys() == {"next", "first", "prev"}
        assert self.links(last).keys() == {"first", "prev"}
        assert client.get(self.links(first)["next"]).json["items"] == second.json["items"]  # type: ignore[index]
        assert client.get(self.links(second)["next"]).json["items"] == last.json["items"]  # type: ignore[index]
        for rel, expected in (("first", first), ("prev", second)):
            assert client.get(self.links(last)[rel]).json == expected.json

    def test_a_page_beyond_the_end_leads_back_to_the_last(self, client: FlaskClient, owner: Person) -> None:
        add_equipment(owner.id)
        answer = client.get(f"{API}?page=900")
        assert client.get(self.links(answer)["prev"]).json["items"]  # type: ignore[index]

"""Every error of every layer has the one error body, its headers and its request id; no answer tells of the inside."""

import logging
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.auth.identity import public
from app.database import transaction
from app.models import User
from app.settings import Settings
from tests.api.failing_app import make_failing_app
from tests.support.rows import Person, add_equipment, new_equipment

API = "/api/v1/equipment"
BODY = {"error", "message", "code", "request_id", "type", "title", "status", "detail", "instance"}


def assert_error(answer: TestResponse, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.get_data(as_text=True)
    body = answer.json
    assert body is not None
    assert body.keys() - {"details"} == BODY
    assert body["code"] == code
    assert body["status"] == status
    assert body["message"] == body["detail"]
    assert body["request_id"] == answer.headers["X-Request-Id"]
    assert (status == 401) == ("WWW-Authenticate" in answer.headers)
    return dict(body)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "NOT_FOUND"),
        ("GET", "/api/v1/nowhere", 404, "NOT_FOUND"),
        ("GET", "/api/v1/equipment/not-a-uuid", 404, "NOT_FOUND"),
        ("PATCH", API, 405, "METHOD_NOT_ALLOWED"),
        ("DELETE", "/health", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/api/v1/auth/me", 401, "UNAUTHORIZED"),
        ("POST", API, 401, "UNAUTHORIZED"),
        ("GET", f"{API}?limit=x", 400, "VALIDATION_ERROR"),
        ("GET", f"{API}/%FF%FE", 404, "NOT_FOUND"),
    ],
)
def test_errors_of_every_layer_have_one_body(
    client: FlaskClient, method: str, path: str, status: int, code: str
) -> None:
    assert_error(client.open(path, method=method), status, code)


def test_a_wrong_method_tells_the_right_ones(client: FlaskClient) -> None:
    assert set(client.patch(API).headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS", "POST"}


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b"{", "application/json", 400, "BAD_REQUEST"),
        (b'{"title": NaN}', "application/json", 400, "BAD_REQUEST"),
        (b'{"title": "a", "title": "b"}', "application/json", 400, "BAD_REQUEST"),
        (b"[" * 10_000 + b"]" * 10_000, "application/json", 400, "BAD_REQUEST"),
        (b'{"daily_rate": ' + b"9" * 5_000 + b"}", "application/json", 400, "BAD_REQUEST"),
        (b'"\xff"', "application/json", 400, "BAD_REQUEST"),
        (b'{"title": "\\ud800"}', "application/json", 400, "BAD_REQUEST"),
        (b'{"\\udfff": 1}', "application/json", 400, "BAD_REQUEST"),
        (b'{"daily_rate": 1e400}', "application/json", 400, "BAD_REQUEST"),
        (b"[]", "application/json", 400, "VALIDATION_ERROR"),
        (b"null", "application/json", 400, "VALIDATION_ERROR"),
        (b"", "application/json", 400, "VALIDATION_ERROR"),
        (b"{}", "text/plain", 415, "UNSUPPORTED_MEDIA_TYPE"),
        (b"title=a", "application/x-www-form-urlencoded", 415, "UNSUPPORTED_MEDIA_TYPE"),
        (b" " * (1024 * 1024 + 1), "application/json", 413, "PAYLOAD_TOO_LARGE"),
    ],
)
def test_a_body_that_cannot_be_read_is_the_clients_error(
    client: FlaskClient, owner: Person, body: bytes, content_type: str, status: int, code: str
) -> None:
    answer = client.post(API, data=body, content_type=content_type, headers=owner.headers)
    assert_error(answer, status, code)


def test_every_wrong_field_is_named_at_once_with_a_word_for_programs(client: FlaskClient, owner: Person) -> None:
    answer = client.post(API, json={**new_equipment(), "title": "x", "color": "red"}, headers=owner.headers)
    details = assert_error(answer, 400, "VALIDATION_ERROR")["details"]
    assert {(problem["field"], problem["code"]) for problem in details} == {
        ("title", "invalid"),
        ("color", "unknown_field"),
    }


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("application/problem+json", "application/problem+json"),
        ("application/problem+json, application/json;q=0.5", "application/problem+json"),
        ("application/json", "application/json"),
        ("*/*", "application/json"),
        ("text/html", "application/json"),
        (None, "application/json"),
    ],
)
def test_problem_json_is_given_where_it_is_asked_for(client: FlaskClient, accept: str | None, media_type: str) -> None:
    answer = client.get("/nowhere", headers={"Accept": accept} if accept else {})
    assert answer.mimetype == media_type
    assert_error(answer, 404, "NOT_FOUND")


class TestRequestId:
    """Taken where it is safe, else made; on every response."""

    @pytest.mark.parametrize("path", ["/health", API, "/nowhere", "/api/v1/auth/me"])
    def test_is_on_every_response(self, client: FlaskClient, path: str) -> None:
        assert len(client.get(path).headers["X-Request-Id"]) >= 8

    @pytest.mark.parametrize("sent", ["abcdefgh", "A-1_2.3" * 4, "x" * 128])
    def test_a_safe_one_is_taken(self, client: FlaskClient, sent: str) -> None:
        assert client.get("/nowhere", headers={"X-Request-Id": sent}).headers["X-Request-Id"] == sent

    @pytest.mark.parametrize(
        "sent", ["short", "x" * 129, "with space", "tab\there", "<script>", "ééééééééé", "", "a;b;c;d;e"]
    )
    def test_any_other_is_replaced(self, client: FlaskClient, sent: str) -> None:
        assert client.get("/nowhere", headers={"X-Request-Id": sent}).headers["X-Request-Id"] != sent


class TestUnexpected:
    """What nobody foresaw: a plain 500 for the client, the whole story in the log."""

    @pytest.fixture
    def broken(self, settings: Settings) -> Flask:
        return make_failing_app(settings)

    def test_a_bug_is_a_500_that_tells_nothing(self, broken: Flask, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.ERROR):
            answer = broken.test_client().get("/fail/bug")
        body = assert_error(answer, 500, "INTERNAL_ERROR")
        assert "secret" not in str(body)
        assert body["request_id"] in caplog.text
        assert "unexpected_error" in caplog.text

    def test_a_challenge_holds_only_what_a_header_may(self, broken: Flask) -> None:
        answer = broken.test_client().get("/fail/token")
        assert_error(answer, 401, "INVALID_TOKEN")
        assert 'error_description="It is ?not? a ?token???"' in answer.headers["WWW-Authenticate"]  # RFC 6750 §3

    @pytest.mark.parametrize("kind", ["away", "pool"])
    def test_a_database_that_is_away_is_a_503_with_retry_after(self, broken: Flask, kind: str) -> None:
        answer = broken.test_client().get(f"/fail/{kind}")
        body = assert_error(answer, 503, "SERVICE_UNAVAILABLE")
        assert int(answer.headers["Retry-After"]) > 0
        assert "secret" not in str(body)
        assert "QueuePool" not in str(body)


def test_a_page_links_to_the_next_by_what_was_asked_and_nothing_else(client: FlaskClient, owner: Person) -> None:
    for _ in range(3):
        add_equipment(owner.id)
    hostile = "endpoint=x&_method=POST&_external=1&_scheme=ftp&_anchor=y&limit=&limit=2&q=drill%26"
    answer = client.get(f"{API}?{hostile}", headers={"Host": "evil.example.com"})
    assert answer.status_code == 200
    link = answer.headers["Link"].removeprefix("<").removesuffix('>; rel="next"')
    assert link.startswith(f"{API}?endpoint=x&")
    following = client.get(link).json
    assert following is not None
    assert following["limit"] == 2
    assert following["page"] == 2


def test_what_a_client_sent_comes_back_cut(client: FlaskClient, owner: Person) -> None:
    body = {**{f"unknown{number}": 1 for number in range(500)}, "x" * 100_000: 1}
    answer = client.post(API, json=body, headers=owner.headers)
    assert_error(answer, 400, "VALIDATION_ERROR")
    assert len(answer.get_data()) < 20_000


def test_a_broken_constraint_is_logged_without_the_row(
    client: FlaskClient, renter: Person, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def violate(**_: object) -> None:
        with transaction() as session:
            session.get_one(User, renter.id).avatar_url = "http://example.com/planted"

    monkeypatch.setitem(client.application.view_functions, "users.get_user", public(violate))
    with caplog.at_level(logging.ERROR):
        assert client.get(f"/api/v1/users/{renter.id}").status_code == 500
    assert "ck_users_avatar_url_https" in caplog.text
    assert "planted" not in caplog.text
    assert renter.email not in caplog.text

"""What error bodies say and hide; `test_headers.py` checks the one body on every status."""

import pytest
from flask.testing import FlaskClient
from structlog.typing import EventDict

from app.db.session import transaction
from app.models import User
from app.settings import Settings
from app.web.access import public
from tests.support.assertions import assert_error
from tests.support.failing_app import make_failing_app
from tests.support.rows import Person, new_equipment

API = "/api/v1/equipment"


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
        ("application/problem+json; charset=utf-8", "application/problem+json"),
        ("application/problem+json, application/json;q=0.5", "application/problem+json"),
        *((accept, "application/json") for accept in ("application/json", "*/*", "text/html", None)),
    ],
)
def test_problem_json_is_given_where_it_is_asked_for(client: FlaskClient, accept: str | None, media_type: str) -> None:
    answer = client.get("/nowhere", headers={"Accept": accept} if accept else {})
    assert answer.mimetype == media_type
    assert_error(answer, 404, "NOT_FOUND")


class TestRequestId:
    @pytest.mark.parametrize("sent", ["abcdefgh", "A-1_2.3" * 4, "x" * 128])
    def test_a_safe_one_is_taken(self, client: FlaskClient, sent: str) -> None:
        for path in ("/health", API, "/nowhere", "/api/v1/auth/me"):
            assert client.get(path, headers={"X-Request-Id": sent}).headers["X-Request-Id"] == sent

    @pytest.mark.parametrize(
        "sent", ["short", "x" * 129, "with space", "tab\there", "<script>", "ééééééééé", "", "a;b;c;d;e"]
    )
    def test_any_other_is_replaced(self, client: FlaskClient, sent: str) -> None:
        made = client.get("/nowhere", headers={"X-Request-Id": sent}).headers["X-Request-Id"]
        assert made != sent
        assert len(made) >= 8


@pytest.fixture
def broken(settings: Settings) -> FlaskClient:
    return make_failing_app(settings).test_client()


def test_an_unexpected_error_is_logged_with_its_request_id(broken: FlaskClient, logged: list[EventDict]) -> None:
    body = assert_error(broken.get("/fail/bug"), 500, "INTERNAL_ERROR")
    (entry,) = (entry for entry in logged if entry["log_level"] == "error")
    assert entry["request_id"] == body["request_id"]


def test_a_challenge_holds_only_what_a_header_may(broken: FlaskClient) -> None:
    answer = broken.get("/fail/token")
    assert_error(answer, 401, "INVALID_TOKEN")
    assert 'error_description="It is ?not? a ?token???"' in answer.headers["WWW-Authenticate"]  # RFC 6750 §3


def test_a_broken_constraint_is_logged_without_the_row(
    client: FlaskClient, renter: Person, logged: list[EventDict], monkeypatch: pytest.MonkeyPatch
) -> None:
    def violate(**_: object) -> None:
        with transaction() as session:
            session.get_one(User, renter.id).avatar_url = "http://example.com/planted"

    monkeypatch.setitem(client.application.view_functions, "users.get_user", public(violate))
    assert client.get(f"/api/v1/users/{renter.id}").status_code == 500
    assert "ck_users_avatar_url_https" in str(logged)
    assert "planted" not in str(logged)
    assert renter.email not in str(logged)

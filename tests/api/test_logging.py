"""One line for each request, with who asked and for what; never what should stay secret."""

import dataclasses
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from app import create_app
from app.observability.logging import OURS
from app.settings import Settings
from tests.factories import Person


def request_line(caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    events = [record.msg for record in caplog.records if record.name == "app.request"]
    assert len(events) == 1
    assert isinstance(events[0], dict)
    return events[0]


@pytest.fixture(autouse=True)
def at_info(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.INFO, logger=OURS):
        yield


def test_a_request_has_one_line_that_says_who_asked_for_what(
    client: FlaskClient, renter: Person, caplog: pytest.LogCaptureFixture
) -> None:
    answer = client.get(f"/api/v1/users/{renter.id}?token=planted", headers=renter.headers)
    line = request_line(caplog)
    assert line["method"] == "GET"
    assert line["path"] == f"/api/v1/users/{renter.id}"
    assert line["route"] == "/api/v1/users/<uuid:user_id>"
    assert line["status"] == 200
    assert line["request_id"] == answer.headers["X-Request-Id"]
    assert line["duration_ms"] >= 0


def test_the_line_of_a_known_caller_names_the_user(
    client: FlaskClient, renter: Person, caplog: pytest.LogCaptureFixture
) -> None:
    client.get("/api/v1/auth/me", headers=renter.headers)
    assert request_line(caplog)["user_id"] == str(renter.id)
    caplog.clear()
    client.get("/health")
    assert "user_id" not in request_line(caplog)


def test_no_token_password_or_query_is_logged(
    client: FlaskClient, renter: Person, caplog: pytest.LogCaptureFixture
) -> None:
    client.get("/api/v1/auth/me?access_token=planted-in-query", headers=renter.headers)
    credentials = {"email": "nobody@example.com", "password": "planted-password-1"}
    client.post("/api/v1/auth/auth0/login", json=credentials)
    client.post("/api/v1/auth/auth0/refresh", json={"refresh_token": "planted-refresh"})
    client.get("/api/v1/auth/me", headers={"Authorization": "Bearer planted.bearer.token"})
    assert "planted" not in caplog.text
    assert renter.token not in caplog.text


def test_a_line_break_in_the_path_stays_inside_one_record(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    client.get("/nowhere%0AINFO forged line")
    formatted = [logging.getLogger().handlers[0].format(record) for record in caplog.records]
    assert all("\n" not in line for line in formatted)


@pytest.mark.parametrize(
    ("proxies", "forwarded", "believed"),
    [
        (0, "203.0.113.9", "127.0.0.1"),
        (0, "203.0.113.9, 198.51.100.7", "127.0.0.1"),
        (1, "203.0.113.9", "203.0.113.9"),
        (1, "1.2.3.4, 203.0.113.9", "203.0.113.9"),
        (2, "1.2.3.4, 203.0.113.9, 198.51.100.7", "203.0.113.9"),
        (2, "203.0.113.9", "127.0.0.1"),
        (1, "203.0.113.9:4711", "203.0.113.9"),
        (1, '"[2001:db8::5]:443"', "2001:db8::5"),
        (1, "unknown", ""),
    ],
)
def test_the_clients_address_comes_through_exactly_the_trusted_proxies(
    settings: Settings, capsys: pytest.CaptureFixture[str], proxies: int, forwarded: str, believed: str
) -> None:
    behind = dataclasses.replace(settings, trusted_proxy_count=proxies, log_level="info", log_json=True)
    create_app(behind).test_client().get("/health", headers={"X-Forwarded-For": forwarded})
    assert json.loads(capsys.readouterr().err)["client_address"] == believed

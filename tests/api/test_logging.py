"""One line for each request, with who asked and for what; never what should stay secret."""

import dataclasses
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import SimpleNamespace
from uuid import uuid4

import gevent
import pytest
from flask.testing import FlaskClient
from structlog.typing import EventDict

from app import create_app
from app.observability import logging as service_logging
from app.settings import Settings
from tests.conftest import StatementCounter
from tests.support.rows import Person, add_equipment, new_equipment

SECONDS = 20


Logged = list[EventDict]


def request_line(logged: Logged) -> EventDict:
    (line,) = (entry for entry in logged if entry["event"] == "request")
    return line


def test_a_request_has_one_line_that_says_who_asked_for_what(
    client: FlaskClient, renter: Person, logged: Logged
) -> None:
    for path, route in ((f"/api/v1/users/{renter.id}", "/api/v1/users/<uuid:user_id>"), ("/api/v1/auth/me",) * 2):
        answer = client.get(f"{path}?token=planted", headers=renter.headers)
        line = request_line(logged)
        assert (line["method"], line["path"], line["route"], line["status"]) == ("GET", path, route, 200)
        assert line["request_id"] == answer.headers["X-Request-Id"]
        assert line["duration_ms"] >= 0
        assert line.get("user_id") == (str(renter.id) if path.endswith("me") else None)
        logged.clear()


def test_a_line_names_the_rule_that_was_matched(client: FlaskClient, owner: Person, logged: Logged) -> None:
    api = "/api/v1/equipment"
    rules = {api: api, f"{api}/{add_equipment(owner.id)}": f"{api}/<uuid:equipment_id>", "/nowhere": None}
    for path, rule in rules.items():
        client.get(path)
        assert request_line(logged)["route"] == rule
        logged.clear()


Counting = Callable[[], AbstractContextManager[StatementCounter]]


@pytest.mark.parametrize("path", ["/api/v1/equipment?q=tent", "/api/v1/auth/me", "/health"])
def test_the_line_says_how_many_queries_the_request_ran_and_how_long_they_took(
    client: FlaskClient, owner: Person, logged: Logged, counting_statements: Counting, path: str
) -> None:
    with counting_statements() as counted:
        client.get(path, headers=owner.headers)
    line = request_line(logged)
    assert line["queries"] == len(counted) + counted.savepoints
    assert (len(counted) > 0) == (line["query_ms"] > 0) == (path != "/health")
    assert line["query_ms"] <= line["duration_ms"]


def test_a_statement_that_fails_is_a_query_too(
    client: FlaskClient, owner: Person, logged: Logged, counting_statements: Counting
) -> None:
    body = new_equipment(category_id=str(uuid4()))
    with counting_statements() as counted:
        assert client.post("/api/v1/equipment", json=body, headers=owner.headers).status_code == 400
    line = request_line(logged)
    assert line["queries"] == len(counted) + counted.savepoints
    assert "INSERT INTO equipment" in counted.statements[-1]
    assert 0 < line["query_ms"] <= line["duration_ms"]


def test_every_request_that_shares_a_read_counts_it(
    client: FlaskClient, owner: Person, logged: Logged, counting_statements: Counting
) -> None:
    paths = [f"/api/v1/equipment/{add_equipment(owner.id)}" for _ in range(3)]
    with counting_statements() as counted:
        requests = [gevent.spawn(client.application.test_client().get, path) for path in paths]
        gevent.joinall(requests, timeout=SECONDS, raise_error=True)
    assert len(counted) == 1
    lines = [entry for entry in logged if entry["event"] == "request"]
    assert [line["queries"] for line in lines] == [1 + counted.savepoints] * 3
    assert all(0 < line["query_ms"] <= line["duration_ms"] for line in lines)


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


def test_a_log_that_cannot_be_written_fails_no_request(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    client = create_app(dataclasses.replace(settings, log_level="info", log_json=True)).test_client()
    with open("/dev/full", "wb", buffering=0) as full:
        monkeypatch.setattr("sys.stderr", SimpleNamespace(buffer=full))
        assert client.get("/health").status_code == 200
        monkeypatch.undo()
    service_logging.configure(settings)

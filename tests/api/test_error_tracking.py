"""Errors that nobody expected arrive at error tracking, over HTTP, with the request's id and without anybody's data."""

import dataclasses
import gzip
import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, Queue
from threading import Thread
from typing import Any

import gevent
import pytest
import sentry_sdk
from flask.testing import FlaskClient
from sqlalchemy import Engine, text
from structlog.typing import EventDict

from app import create_app
from app.db.session import transaction
from app.observability import failures
from app.observability.failures import report_unexpected
from app.settings import Settings
from app.web.access import public

PLANTED = "planted-password-of-somebody"
ARRIVAL_SECONDS = 20
Events = Callable[[], dict[str, Any]]


@pytest.fixture
def collector() -> Iterator[tuple[str, Queue[bytes]]]:
    """What speaks as Sentry does: its DSN, and the envelopes that arrived."""
    arrived: Queue[bytes] = Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            arrived.put(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: Any) -> None:
            """Stay quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://key@127.0.0.1:{server.server_port}/1", arrived
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def client(settings: Settings, engine: Engine, collector: tuple[str, Queue[bytes]]) -> Iterator[FlaskClient]:
    """An app that sends there, and fails where it is told to."""
    app = create_app(dataclasses.replace(settings, sentry_dsn=collector[0]))

    @public
    def fail(kind: str) -> str:
        secret = PLANTED
        if kind == "database":
            with transaction() as session:
                session.execute(text("SELECT CAST(:value AS integer)"), {"value": secret})
        try:
            int(secret)
        except ValueError as error:
            raise RuntimeError(f"cannot take {secret}") from error
        return ""

    app.add_url_rule("/fail/<kind>", view_func=fail)
    yield app.test_client()
    sentry_sdk.get_client().close(timeout=ARRIVAL_SECONDS)
    failures.configure(settings)


@pytest.fixture
def event(collector: tuple[str, Queue[bytes]]) -> Events:
    """The next event that arrives. Raises Empty."""

    def receive() -> dict[str, Any]:
        sentry_sdk.flush(ARRIVAL_SECONDS)
        envelope = collector[1].get(timeout=ARRIVAL_SECONDS)
        assert PLANTED.encode() not in envelope
        found: dict[str, Any] = json.loads(envelope.splitlines()[2])
        return found

    return receive


def test_an_unexpected_error_arrives_with_the_request_s_id_and_where_it_happened(
    client: FlaskClient, event: Events
) -> None:
    answer = client.get(f"/fail/bug?token={PLANTED}", headers={"Authorization": f"Bearer {PLANTED}"})
    assert answer.status_code == 500
    sent = event()
    assert sent["tags"]["request_id"] == answer.headers["X-Request-Id"]
    cause, error = sent["exception"]["values"]
    assert (cause["type"], error["type"]) == ("ValueError", "RuntimeError")
    assert error["stacktrace"]["frames"][-1]["function"] == "fail"
    assert "vars" not in error["stacktrace"]["frames"][-1]
    assert sent.keys().isdisjoint({"user", "request"})
    assert not sent.get("breadcrumbs", {}).get("values")


def test_a_database_error_arrives_without_its_values(client: FlaskClient, event: Events) -> None:
    assert client.get("/fail/database").status_code == 500
    values = event()["exception"]["values"]
    assert "sqlstate 22P02" in values[-1]["value"]


def test_what_a_socket_or_a_background_task_reports_arrives_too(client: FlaskClient, event: Events) -> None:
    report_unexpected(KeyError(PLANTED))
    assert event()["exception"]["values"][0]["type"] == "KeyError"

    def task() -> None:
        raise ValueError(PLANTED)

    gevent.spawn(task).join()
    assert event()["exception"]["values"][0]["type"] == "ValueError"


def test_an_error_that_is_the_client_s_is_not_sent(client: FlaskClient, collector: tuple[str, Queue[bytes]]) -> None:
    for path in ("/nowhere", "/api/v1/auth/me", "/api/v1/equipment?limit=x"):
        assert 400 <= client.get(path).status_code < 500
    sentry_sdk.flush(ARRIVAL_SECONDS)
    with pytest.raises(Empty):
        collector[1].get_nowait()


def test_without_a_dsn_nothing_is_sent_and_the_traceback_is_logged(app: Any, logged: list[EventDict]) -> None:
    assert sentry_sdk.get_client().transport is None
    with app.app_context():
        report_unexpected(ZeroDivisionError("division by zero"))
    assert isinstance(logged[0]["exc_info"], ZeroDivisionError)

"""Nothing that is planted in a request, in a setting or in a variable comes out in the log: failures in this process.

`tests/slow/ops/test_secrets.py` drives the running service.
"""

import io
import json
import logging
import logging.config
import re
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
import requests
import structlog
from flask import Flask
from flask.testing import FlaskClient
from requests.adapters import HTTPAdapter
from sqlalchemy import Engine, text
from sqlalchemy.exc import DataError, SQLAlchemyError

from app import create_app
from app.db.session import transaction
from app.observability import logging as service_logging
from app.settings import Settings
from app.web.access import public
from tests.support.processes.tenant import PASSWORD, TenantProcess
from tests.support.rows import Person

PLANTED = "planted-4711"
CONTROLS = "\x1b\x00\x07\x0b\x0c\x7f\x85\x9b\u2028\u2029\u202e\ufeff"
FORGED = f"\r\n2026-01-01T00:00:00Z [info] forged{CONTROLS}[31m"
RECORD = re.compile(r"\d{4}-\d\d-\d\dT\S+ \[\w+\s*\] ")


class Written:
    """What is written to the log, in one format."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.bytes = io.BytesIO()
        logging.config.dictConfig(service_logging.dict_config(level="debug", as_json=as_json))
        (handler,) = logging.getLogger().handlers
        assert isinstance(handler, logging.StreamHandler)
        handler.setStream(io.TextIOWrapper(self.bytes, encoding="utf-8", newline="", write_through=True))
        config = service_logging.structlog_config(level="debug", as_json=as_json)
        structlog.configure(**config | {"logger_factory": structlog.BytesLoggerFactory(self.bytes)})

    @property
    def text(self) -> str:
        return self.bytes.getvalue().decode()

    def records(self) -> list[str]:
        """Its records: in JSON each line, else each line that begins with a time, with what is indented below it."""
        lines = self.text.split("\n")
        assert lines.pop() == ""
        if self.as_json:
            assert all(isinstance(json.loads(line), dict) for line in lines)
            return lines
        found: list[str] = []
        for line in lines:
            assert line.isprintable()
            if line.startswith("    "):
                found[-1] += f"\n{line}"
            else:
                assert RECORD.match(line), line
                found.append(line)
        return found


def bad_value() -> str:
    password = f"{PLANTED}-local"
    return str(int(password))


def chained_to_the_database() -> str:
    secret = f"{PLANTED}-local"
    try:
        with transaction() as session:
            session.execute(text("SELECT CAST(:value AS integer)"), {"value": secret})
    except DataError as error:
        raise RuntimeError(f"cannot count {secret}") from error
    return ""


def database_error_itself() -> str:
    with transaction() as session:
        session.execute(text("SELECT CAST(:value AS integer)"), {"value": f"{PLANTED}-local"})
    return ""


def driver_error_while_handling_another() -> str:
    try:
        raise KeyError(f"{PLANTED}-local")
    except KeyError:
        with transaction() as session:
            session.execute(text("SELECT :value"), {"value": f"{PLANTED}\x00"})
    return ""


def forged_text() -> str:
    raise RuntimeError(f"{PLANTED}{FORGED}")


def forged_name() -> str:
    return str(getattr(Person, f"x{FORGED}"))


VIEWS = (
    *(bad_value, chained_to_the_database, database_error_itself),
    *(driver_error_while_handling_another, forged_text, forged_name),
)


@pytest.fixture(scope="module")
def failing_app(settings: Settings, engine: Engine) -> Flask:
    app = create_app(settings)
    for view in VIEWS:
        app.add_url_rule(f"/fail/{view.__name__}", view_func=public(view), methods=["POST"])
    return app


@pytest.fixture(params=[True, False], ids=["json", "console"])
def written(request: pytest.FixtureRequest, settings: Settings, failing_app: Flask) -> Iterator[Written]:
    yield Written(as_json=request.param)
    service_logging.configure(settings)


@pytest.mark.attack("secrets")
@pytest.mark.parametrize("view", VIEWS)
def test_an_unexpected_error_is_logged_with_its_place_and_without_a_value(
    written: Written, failing_app: Flask, view: Callable[[], str]
) -> None:
    answer = failing_app.test_client().post(
        f"/fail/{view.__name__}?q={PLANTED}",
        json={"password": PLANTED},
        headers={"Authorization": f"Bearer {PLANTED}", "User-Agent": PLANTED, "Referer": PLANTED, "Cookie": PLANTED},
    )
    assert answer.status_code == 500
    assert PLANTED not in answer.get_data(as_text=True)
    assert PLANTED not in written.text
    assert view.__name__ in written.records()[0]
    assert "test_secrets.py" in written.text
    assert len(written.records()) == 2  # the error and the request
    assert "forged\x1b" not in written.text
    if view is chained_to_the_database:
        for told in ("InvalidTextRepresentation", "22P02", "RuntimeError", "(text withheld, "):
            assert told in written.text


@pytest.mark.attack("secrets")
@pytest.mark.parametrize("name", ["event", "path", "route", "email", "client_address", "request_id"])
def test_line_breaks_and_terminal_sequences_stay_inside_one_record(written: Written, name: str) -> None:
    log = structlog.get_logger("app.test")
    log.info(**{"event": "first", name: f"value{FORGED}"})
    log.info("second", values=[FORGED, {FORGED: FORGED}])
    logging.getLogger("py.warnings").warning("third %s", FORGED)
    assert len(written.records()) == 3
    assert not {*CONTROLS, "\r"} & set(written.text)


@pytest.mark.attack("secrets")
@pytest.mark.parametrize(
    "path", ["/nowhere%0D%0Aforged", "/nowhere%1B[31m", "/nowhere%E2%80%A8x", "/nowhere%C2%85", "/%E2%80%AE", "/%FF%00"]
)
def test_a_path_stays_inside_one_record(written: Written, client: FlaskClient, path: str) -> None:
    client.get(path, headers={"X-Request-Id": "planted\x1bid", "User-Agent": "planted\x1b"})
    assert len(written.records()) == 1
    assert "planted" not in written.text


@pytest.mark.attack("secrets")
@pytest.mark.parametrize(
    "name",
    [
        *("urllib3.connectionpool", "authlib.oauth2", "requests_oauthlib", "sqlalchemy.engine.Engine"),
        *("sqlalchemy.pool", "limits", "webargs.core", "websockets.server", "gevent", "redis", "charset_normalizer"),
        *("gunicorn.access", "asyncio", "werkzeug", "alembic", "simple_websocket"),
    ],
)
def test_what_others_tell_a_debugger_is_not_written(written: Written, name: str) -> None:
    logging.getLogger(name).debug(PLANTED)
    logging.getLogger(name).info(PLANTED)
    assert written.text == ""


def test_what_others_warn_of_is_written_and_what_gunicorn_says_of_itself(written: Written) -> None:
    logging.getLogger("urllib3").warning("a warning")
    logging.getLogger("gunicorn.error").info("Listening")
    structlog.get_logger("app.anything").debug("ours")
    assert len(written.records()) == 3


@pytest.mark.attack("secrets")
def test_gunicorn_tells_no_debugger_what_it_read(written: Written) -> None:
    logging.getLogger("gunicorn.error").debug("Ignored premature client disconnection. %s", PLANTED)
    logging.getLogger("gunicorn.error").warning("Invalid request from ip=127.0.0.1: Invalid Header: %s", PLANTED)
    logging.getLogger("gunicorn.error").error("Error handling request /ws?token=%s", PLANTED)
    assert len(written.records()) == 2
    assert PLANTED not in written.text


@pytest.mark.attack("secrets")
def test_a_greenlet_that_fails_is_one_record_without_its_arguments(
    written: Written, capsys: pytest.CaptureFixture[str]
) -> None:
    gevent.spawn(int, PLANTED).join()
    assert len(written.records()) == 1
    assert "greenlet_failed" in written.text
    assert PLANTED not in written.text + capsys.readouterr().err


@pytest.mark.attack("secrets")
def test_secrets_of_the_settings_stay_out_of_every_sentence(written: Written, settings: Settings) -> None:
    structlog.get_logger("app.test").warning("odd", reason=f"cannot use {settings.auth0_client_secret}")
    structlog.get_logger("app.test").warning("odd", reason=f"cannot reach {settings.database_url}")
    logging.getLogger("py.warnings").warning("do not use %s", settings.auth0_client_secret)
    assert settings.auth0_client_secret not in written.text
    assert len(written.records()) == 3
    assert settings.auth0_client_secret not in repr(settings)


@pytest.mark.attack("secrets")
def test_no_url_that_is_asked_for_holds_a_secret(
    client: FlaskClient, tenant: TenantProcess, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls: list[str] = []
    send = HTTPAdapter.send

    def recording(self: HTTPAdapter, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> Any:
        if "/_control/" not in str(request.url):  # what this test itself sends
            urls.append(str(request.url))
        return send(self, request, *args, **kwargs)

    monkeypatch.setattr(HTTPAdapter, "send", recording)
    email = f"{PLANTED}@example.com"
    credentials = {"email": email, "password": PASSWORD}
    assert client.post("/api/v1/auth/auth0/signup", json=credentials).status_code == 201
    tokens = client.post("/api/v1/auth/auth0/login", json=credentials).json
    assert tokens is not None
    client.post("/api/v1/auth/auth0/login", json={**credentials, "password": f"{PLANTED}-wrong"})
    assert client.post("/api/v1/auth/auth0/refresh", json={"refresh_token": tokens["refresh_token"]}).status_code == 200
    newcomer = tenant.token(sub=tenant.add_user(f"new-{PLANTED}@example.com"))  # of whom userinfo is asked
    headers = {"Authorization": f"Bearer {newcomer}"}
    assert client.get(f"/api/v1/auth/me?access_token={PLANTED}", headers=headers).status_code == 200
    assert {url.removeprefix(settings.auth0_issuer) for url in urls} >= {
        *("dbconnections/signup", "oauth/token", "userinfo")
    }
    assert not any("?" in url or "@" in url or PLANTED in url for url in urls)


@pytest.mark.attack("secrets")
def test_no_representation_of_an_error_of_the_database_holds_a_value(client: FlaskClient) -> None:
    with pytest.raises(SQLAlchemyError) as error, transaction() as session:
        session.execute(text("SELECT :value / 0"), {"value": PLANTED})
    assert "hide_parameters" in str(error.value)

"""Settings of a real gunicorn: a wrong one stops the start with one line; those of the server and of the log apply."""

import json
import re
import socket
import sys
from collections.abc import Callable, Mapping
from subprocess import CompletedProcess

import pytest

from tests.support.processes import run
from tests.support.processes.service import ServiceProcess
from tests.support.processes.tenant import TenantProcess
from tests.support.waiting import side_by_side
from tests.unit.test_settings import REQUIRED, SECRET, server_settings

# The settings of the server itself, all numbers, by the option of gunicorn that they set.
SERVER_NUMBERS = {
    "PORT": "bind",
    "WEB_CONCURRENCY": "workers",
    "GUNICORN_HTTP_CONNECTIONS": "worker_connections",
    "GUNICORN_BACKLOG": "backlog",
    "GUNICORN_TIMEOUT_SECONDS": "timeout",
    "GUNICORN_GRACEFUL_TIMEOUT_SECONDS": "graceful_timeout",
    "GUNICORN_KEEPALIVE_SECONDS": "keepalive",
    "GUNICORN_LIMIT_REQUEST_LINE": "limit_request_line",
    "GUNICORN_LIMIT_REQUEST_FIELD_SIZE": "limit_request_field_size",
    "GUNICORN_LIMIT_REQUEST_FIELDS": "limit_request_fields",
}
# Loads gunicorn's configuration with each value, in an interpreter of its own, as the configuration patches it.
LOAD_WITH_EACH = """
import json, os, runpy, sys

names, values = json.loads(sys.argv[1])
for value in values:
    os.environ.update(dict.fromkeys(names, value))
    try:
        runpy.run_path("deploy/gunicorn.conf.py")
    except SystemExit as end:
        print(end)
"""


def gunicorn(environment: Mapping[str, str], *options: str) -> CompletedProcess[str]:
    command = (sys.executable, "-m", "gunicorn", "-c", "deploy/gunicorn.conf.py", *options, "wsgi:app")
    return run(*command, env=environment)


def test_it_does_not_start_with_a_missing_and_a_wrong_setting_and_says_so_in_one_line() -> None:
    environment = {**REQUIRED, "DB_POOL_SIZE": SECRET}
    del environment["AUTH0_CLIENT_SECRET"]
    ended = gunicorn(environment)
    assert ended.returncode != 0
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert "AUTH0_CLIENT_SECRET" in line
    assert "DB_POOL_SIZE" in line
    assert SECRET not in line


def test_each_wrong_setting_of_the_server_is_named() -> None:
    wrong = (SECRET, "0", "99999999")
    ended = run(sys.executable, "-c", LOAD_WITH_EACH, json.dumps([[*SERVER_NUMBERS], wrong]), env=REQUIRED)
    lines = ended.stdout.splitlines()
    assert [set(re.findall(r"([A-Z][A-Z_]+): \w", line)) for line in lines] == [SERVER_NUMBERS.keys()] * len(wrong)
    assert SECRET not in ended.stdout


def test_each_setting_of_the_server_is_what_gunicorn_runs_with() -> None:
    assert server_settings() == {"HOST", *SERVER_NUMBERS}
    chosen = {name: str(1001 + number) for number, name in enumerate(SERVER_NUMBERS)}
    chosen |= {"HOST": "127.0.0.2", "WEB_CONCURRENCY": "7", "WS_MAX_SOCKETS_PER_WORKER": "5000"}
    ended = gunicorn({**REQUIRED, **chosen}, "--print-config")
    shown = dict(re.findall(r"^(\w+) += (.*)$", ended.stdout, re.MULTILINE))
    expected = {option: chosen[name] for name, option in SERVER_NUMBERS.items()}
    expected["bind"] = f"['127.0.0.2:{chosen['PORT']}']"
    expected["worker_connections"] = str(5000 + int(chosen["GUNICORN_HTTP_CONNECTIONS"]))
    assert {name: shown[name] for name in expected} == expected


@pytest.mark.parametrize("option", ["--worker-class=sync", "--preload", "--max-requests=1000"])
def test_options_that_the_service_depends_on_cannot_be_changed_by_the_environment(option: str) -> None:
    ended = gunicorn({**REQUIRED, "PORT": "1", "GUNICORN_CMD_ARGS": option})
    assert ended.returncode != 0
    assert "GUNICORN_CMD_ARGS: must leave" in ended.stderr.splitlines()[-1]


@pytest.fixture(scope="module")
def logs(database_url_factory: Callable[[], str], tenant: TenantProcess) -> dict[str, str]:
    """The whole log of services with these settings, after valid and invalid requests."""
    base = {"DATABASE_URL": database_url_factory(), **tenant.env()}
    changes = {
        "debug": {"LOG_JSON": "true", "LOG_LEVEL": "debug"},
        "error": {"LOG_JSON": "true", "LOG_LEVEL": "error"},
        "plain": {"LOG_JSON": "false"},
    }
    services = {name: ServiceProcess(base | change, workers=1) for name, change in changes.items()}
    with side_by_side(services):
        for service in services.values():
            service.request("GET", "/nowhere")
            service.request("GET", "/api/v1/auth/me", headers={"Authorization": "Bearer no"})
            with socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection:
                connection.sendall(b"\x16\x03\x01 not HTTP\r\n\r\n")  # gunicorn itself answers and logs this
                while connection.recv(4096):
                    pass
        for service in services.values():
            service.stop()
        return {name: service.log() for name, service in services.items()}


def test_every_line_of_the_log_is_json_from_the_start_to_the_end(logs: dict[str, str]) -> None:
    entries = [json.loads(line) for line in logs["debug"].splitlines()]
    assert all(entry.keys() >= {"event", "level", "logger", "timestamp"} for entry in entries)
    assert {"app.request", "gunicorn.error"} <= {entry["logger"] for entry in entries}
    assert any("Invalid request" in entry["event"] for entry in entries)


def test_the_log_is_plain_text_if_the_setting_says_so(logs: dict[str, str]) -> None:
    assert "Starting gunicorn" in logs["plain"]
    assert "/nowhere" in logs["plain"]
    assert not [line for line in logs["plain"].splitlines() if line.startswith("{")]


def test_a_higher_level_silences_what_is_below(logs: dict[str, str]) -> None:
    assert logs["error"] == ""

"""Settings: a wrong one stops the start with one line that names it, each is documented, and each is used."""

import json
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import pytest

from app.settings import AppEnv, InvalidSettings, OwnerSignup, Settings, SocketLimits, database_url
from tests.support import ROOT
from tests.support.processes.service import ServiceProcess
from tests.support.processes.tenant import TenantProcess
from tests.support.waiting import side_by_side

SECRET = "hunter2-very-secret"  # noqa: S105 - stands in every wrong value, to show that none is repeated
REQUIRED = {
    "DATABASE_URL": "postgresql://gearyard:password@db.example.com:5432/gearyard",
    "AUTH0_DOMAIN": "tenant.eu.auth0.com",
    "AUTH0_AUDIENCE": "https://api.example.com",
    "AUTH0_CLIENT_ID": "client",
    "AUTH0_CLIENT_SECRET": "client-secret",
}
BLANK = ["", "  ", "\t"]
WORDS = [SECRET, "", "yes please"]
COUNTS = [SECRET, "", "1.5", "1e3", "-1", "9" * 5000]
NO_LIMITS = [SECRET, "", "ten/minute", "10", "10/fortnight", "-1/minute", "0/minute", "10/minute;"]
WRONG: dict[str, list[str]] = {
    "APP_ENV": [SECRET, "", "prod", "PRODUCTION"],
    "DATABASE_URL": [
        "",
        SECRET,
        f"mysql://u:{SECRET}@host/db",
        f"postgresql://u:{SECRET}@host:port/db",
        f"postgresql://u:{SECRET}@host/",
        f"sqlite:///{SECRET}",
        f"postgresql://u:{SECRET}@/db?host=a:1&host=b:2&port=3",
        f"postgresql://u:{SECRET}@/db?host=a:1&host=b:two",
    ],
    "AUTH0_ISSUER": [
        SECRET,
        f"ftp://{SECRET}/",
        f"https://host/?{SECRET}",
        f"https://host/#{SECRET}",
        f"https://[{SECRET}/",
        "https://",
        "//host/",
    ],
    "AUTH0_DOMAIN": [
        *BLANK,
        f"https://{SECRET}",
        f"{SECRET}/",
        f"host/{SECRET}",
        f"host?{SECRET}",
        f"[{SECRET}",
        f"a {SECRET}",
        f"a\\{SECRET}",
    ],
    "AUTH0_AUDIENCE": BLANK,
    "AUTH0_CLIENT_ID": BLANK,
    "AUTH0_CLIENT_SECRET": BLANK,
    "AUTH0_CONNECTION": BLANK,
    "JWKS_CACHE_TTL_SECONDS": [*COUNTS, "0", "86401"],
    "CORS_ALLOWED_ORIGINS": [
        "*",
        "null",
        SECRET,
        f"https://{SECRET}/",
        f"https://{SECRET}/path",
        f"https://[{SECRET}",
        f"https://good.example.com,{SECRET}",
        f"ws://{SECRET}",
    ],
    "TRUSTED_PROXY_COUNT": [*COUNTS, "11"],
    "OWNER_SIGNUP": [*WORDS, "OPEN"],
    "DEMO_ACCOUNTS": [
        SECRET,
        "renter@example.com",
        "renter@example.com:",
        f"renter@example.com:{SECRET} {SECRET}",
        f"renter:{SECRET}",
        f"renter@example.com:{SECRET},owner",
        ",".join(f"demo{number}@example.com:{SECRET}" for number in range(11)),
    ],
    "DB_POOL_SIZE": [*COUNTS, "0", "101"],
    "DB_MAX_OVERFLOW": [*COUNTS, "101"],
    "DB_POOL_TIMEOUT_SECONDS": [*COUNTS, "0", "61"],
    "DB_POOL_RECYCLE_SECONDS": [*COUNTS, "0", "86401"],
    "DB_POOL_PRE_PING": WORDS,
    "DB_STATEMENT_TIMEOUT_MS": [*COUNTS, "0", "600001"],
    "DB_PREPARE_STATEMENTS": WORDS,
    "REDIS_URL": [
        SECRET,
        f"http://{SECRET}/",
        f"redis://host/{SECRET}",
        "redis://",
        "redis://host/0?db=1",
        "redis://a..b:6379/0",
        f"redis://{'a' * 64}/0",
        "redis://host:65536",
    ],
    "WS_MESSAGES_PER_SECOND": [*COUNTS, "0", "10001"],
    "WS_MESSAGE_BURST": [*COUNTS, "0", "10001"],
    "WS_FRAMES_PER_SECOND": [*COUNTS, "0", "10001"],
    "WS_MAX_SOCKETS_PER_USER": [*COUNTS, "0", "100001"],
    "WS_MAX_SOCKETS_PER_WORKER": [*COUNTS, "0", "100001"],
    "WS_OUTBOX_FRAMES": [*COUNTS, "7", "100001"],
    "WS_OUTBOX_BYTES": [*COUNTS, "524287"],
    "WS_WRITE_TIMEOUT_SECONDS": [*COUNTS, "0", "601"],
    "WS_PING_INTERVAL_SECONDS": [*COUNTS, "0", "601"],
    "WS_SILENCE_SECONDS": [*COUNTS, "1", "3601"],
    "WS_AUTH_TIMEOUT_SECONDS": [*COUNTS, "0", "601"],
    "WS_TOKEN_WARNING_SECONDS": [*COUNTS, "3601"],
    "RATE_LIMIT_ENABLED": WORDS,
    "RATE_LIMIT_PUBLIC_SEARCH": NO_LIMITS,
    "RATE_LIMIT_ANONYMOUS": NO_LIMITS,
    "RATE_LIMIT_AUTHENTICATED": NO_LIMITS,
    "RATE_LIMIT_AUTH": NO_LIMITS,
    "LOGIN_MAX_FAILURES": [*COUNTS, "0", "1001"],
    "LOGIN_LOCKOUT_SECONDS": [*COUNTS, "0", "86401"],
    "LOGIN_BACKOFF_BASE_MS": [*COUNTS, "60001"],
    "METRICS_ALLOW_PRIVATE_ONLY": WORDS,
    "METRICS_ADMIN_TOKEN": ["short", f"{SECRET} with blanks", f"{SECRET}\n", f"{SECRET}é"],
    "SENTRY_DSN": [
        SECRET,
        f"https://{SECRET}@host/",
        f"https://host/{SECRET}",
        f"ftp://{SECRET}@host/1",
        "https://@host/1",
    ],
    "LOG_LEVEL": [*WORDS, "verbose"],
    "LOG_JSON": WORDS,
}

# Those of the server itself, all numbers, by what gunicorn calls what becomes of them.
NUMBERS_OF_THE_SERVER = {
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

Read = Callable[..., Settings]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Read:
    """Settings of an environment that holds the required ones and these changes, and nothing else."""

    def from_env(**changes: str | None) -> Settings:
        for name in names_read():
            monkeypatch.delenv(name, raising=False)
        for name, value in {**REQUIRED, **changes}.items():
            if value is not None:
                monkeypatch.setenv(name, value)
        return Settings.from_env()

    return from_env


def names_read() -> set[str]:
    """The variables that `app/settings.py` reads."""
    return set(re.findall(r"env\.\w+\(\s*\"([A-Z][A-Z0-9_]+)\"", (ROOT / "app/settings.py").read_text()))


def server_settings() -> set[str]:
    """The variables that `deploy/gunicorn.conf.py` reads itself."""
    source = (ROOT / "deploy/gunicorn.conf.py").read_text()
    return set(re.findall(r"_(?:number|env\.\w+)\(\"?'?([A-Z][A-Z0-9_]+)", source))


def refusal(read: Read, **changes: str | None) -> str:
    """The one line that the process would end with."""
    with pytest.raises(InvalidSettings) as refused:
        read(**changes)
    assert isinstance(refused.value, SystemExit)
    line = str(refused.value.code)
    assert len(line.splitlines()) == 1
    return line


class TestRefusal:
    @pytest.mark.parametrize("name", REQUIRED)
    def test_a_missing_setting_is_named(self, read: Read, name: str) -> None:
        line = refusal(read, **{name: None})
        assert name in line
        assert not [other for other in names_read() - {name} if re.search(rf"\b{other}\b", line)]

    @pytest.mark.parametrize(
        ("name", "value"), [(name, value) for name, values in WRONG.items() for value in values], ids=lambda v: v[:30]
    )
    def test_a_wrong_setting_is_named_and_its_value_is_not(self, read: Read, name: str, value: str) -> None:
        line = refusal(read, **{name: value})
        assert re.search(rf"\b{name}: \w", line)
        assert SECRET not in line
        assert len(value) < 100 or value not in line

    def test_every_setting_is_in_the_table_of_wrong_ones(self) -> None:
        assert WRONG.keys() == names_read()

    def test_all_that_is_wrong_is_named_at_once(self, read: Read) -> None:
        line = refusal(read, DATABASE_URL=None, AUTH0_CLIENT_SECRET=None, DB_POOL_SIZE=SECRET, LOG_JSON=SECRET)
        for name in ("DATABASE_URL", "AUTH0_CLIENT_SECRET", "DB_POOL_SIZE", "LOG_JSON"):
            assert name in line
        assert SECRET not in line

    def test_a_wrong_issuer_is_not_blamed_on_the_domain_it_replaces(self, read: Read) -> None:
        assert "AUTH0_DOMAIN" not in refusal(read, AUTH0_ISSUER="wrong", AUTH0_DOMAIN=None)

    def test_an_audience_that_is_the_client_is_refused(self, read: Read) -> None:
        # Else an ID token, whose audience is the client, would pass as an access token.
        assert "AUTH0_AUDIENCE" in refusal(read, AUTH0_AUDIENCE=SECRET, AUTH0_CLIENT_ID=SECRET)

    def test_a_silence_shorter_than_the_time_between_two_pings_is_refused(self, read: Read) -> None:
        assert "WS_SILENCE_SECONDS" in refusal(read, WS_SILENCE_SECONDS="25", WS_PING_INTERVAL_SECONDS="25")

    @pytest.mark.parametrize("app_env", [None, "production"])
    def test_production_refuses_metrics_that_are_open_to_everyone(self, read: Read, app_env: str | None) -> None:
        assert "METRICS_ADMIN_TOKEN" in refusal(read, APP_ENV=app_env, METRICS_ALLOW_PRIVATE_ONLY="false")

    @pytest.mark.parametrize("app_env", [None, "production", "test"])
    def test_passwords_to_show_are_refused_outside_development(self, read: Read, app_env: str | None) -> None:
        line = refusal(read, APP_ENV=app_env, DEMO_ACCOUNTS=f"renter@example.com:{SECRET}")
        assert "DEMO_ACCOUNTS" in line
        assert SECRET not in line

    @pytest.mark.parametrize("app_env", [None, "production"])
    def test_production_refuses_a_tenant_without_tls(self, read: Read, app_env: str | None) -> None:
        assert "AUTH0_ISSUER" in refusal(read, APP_ENV=app_env, AUTH0_ISSUER="http://127.0.0.1:8081/")

    @pytest.mark.parametrize("app_env", ["development", "test"])
    def test_elsewhere_a_tenant_on_loopback_will_do(self, read: Read, app_env: str) -> None:
        assert read(APP_ENV=app_env, AUTH0_ISSUER="http://127.0.0.1:8081/").auth0_issuer == "http://127.0.0.1:8081/"


class TestReading:
    @pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
    def test_each_way_to_write_a_postgresql_url_means_the_driver_in_use(self, read: Read, scheme: str) -> None:
        url = f"{scheme}://user:p%40ss@host:5432/db?sslmode=require"
        expected = "postgresql+psycopg2://user:p%40ss@host:5432/db?sslmode=require"
        assert read(DATABASE_URL=url).database_url == expected
        assert database_url() == expected

    def test_the_database_url_alone_can_be_read_for_migrations(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in names_read():
            monkeypatch.delenv(name, raising=False)
        with pytest.raises(InvalidSettings, match="DATABASE_URL"):
            database_url()
        monkeypatch.setenv("DATABASE_URL", "postgres:///db")
        assert database_url() == "postgresql+psycopg2:///db"

    def test_the_issuer_is_the_domain_s(self, read: Read) -> None:
        assert read(AUTH0_DOMAIN="tenant.eu.auth0.com").auth0_issuer == "https://tenant.eu.auth0.com/"
        assert read(AUTH0_DOMAIN="tenant.example:8443").auth0_issuer == "https://tenant.example:8443/"

    @pytest.mark.parametrize("issuer", ["https://login.example.com", "https://login.example.com/"])
    def test_an_issuer_replaces_the_domain_and_ends_in_one_slash(self, read: Read, issuer: str) -> None:
        assert read(AUTH0_ISSUER=issuer, AUTH0_DOMAIN=None).auth0_issuer == "https://login.example.com/"

    def test_a_blank_issuer_counts_as_none(self, read: Read) -> None:
        assert read(AUTH0_ISSUER="").auth0_issuer == "https://tenant.eu.auth0.com/"

    @pytest.mark.parametrize(
        ("app_env", "as_json"), [(None, True), ("production", True), ("development", False), ("test", False)]
    )
    def test_logs_are_json_in_production_unless_told_otherwise(
        self, read: Read, app_env: str | None, as_json: bool
    ) -> None:
        assert read(APP_ENV=app_env).log_json is as_json
        assert read(APP_ENV=app_env, LOG_JSON=str(not as_json).lower()).log_json is not as_json

    def test_without_a_word_it_is_production(self, read: Read) -> None:
        assert read().app_env is AppEnv.PRODUCTION

    @pytest.mark.parametrize(
        ("name", "value", "field", "meaning"),
        [
            ("CORS_ALLOWED_ORIGINS", "https://a.example, http://localhost:5173,", "cors_allowed_origins",
             ("https://a.example", "http://localhost:5173")),
            ("OWNER_SIGNUP", "approval", "owner_signup", OwnerSignup.APPROVAL),
            ("DB_POOL_PRE_PING", "false", "db_pool_pre_ping", False),
            ("DB_POOL_SIZE", "100", "db_pool_size", 100),
            ("TRUSTED_PROXY_COUNT", "2", "trusted_proxy_count", 2),
            ("JWKS_CACHE_TTL_SECONDS", "1", "jwks_cache_ttl_seconds", 1),
            ("AUTH0_CONNECTION", "people", "auth0_connection", "people"),
            ("DEMO_ACCOUNTS", " , ", "demo_accounts", ()),
        ],
    )  # fmt: skip
    def test_a_setting_is_read_as_what_it_means(
        self, read: Read, name: str, value: str, field: str, meaning: object
    ) -> None:
        assert getattr(read(**{name: value}), field) == meaning

    def test_demo_accounts_are_read_in_their_order(self, read: Read) -> None:
        given = "renter@example.com:a:b@c, owner@example.com:d"
        first, second = read(APP_ENV="development", DEMO_ACCOUNTS=given).demo_accounts
        assert (first.name, first.email, first.password) == ("renter", "renter@example.com", "a:b@c")
        assert (second.name, second.password) == ("owner", "d")

    def test_secrets_do_not_show_when_settings_are_printed(self, read: Read) -> None:
        urls = {"DATABASE_URL": f"postgresql://u:{SECRET}@h/db", "REDIS_URL": f"redis://:{SECRET}@h/0"}
        demo = {"APP_ENV": "development", "DEMO_ACCOUNTS": f"renter@example.com:{SECRET}"}
        shown = repr(read(AUTH0_CLIENT_SECRET=SECRET, **urls, **demo))
        assert SECRET not in shown
        assert "AUTH0_CLIENT_SECRET" not in shown

    def test_settings_cannot_be_changed_afterwards(self, read: Read) -> None:
        with pytest.raises(AttributeError):
            read().log_json = True  # type: ignore[misc]


class TestNothingIsForShow:
    """A setting that nothing reads is a promise that nothing keeps."""

    def test_every_setting_is_documented_and_nothing_else_is(self) -> None:
        documented = re.findall(r"^(?:# )?([A-Z][A-Z0-9_]+)=", (ROOT / "deploy/env.example").read_text(), re.MULTILINE)
        assert len(documented) == len(set(documented))
        assert set(documented) - server_settings() == names_read()

    @pytest.mark.parametrize("field", [field.name for field in (*fields(Settings), *fields(SocketLimits))])
    def test_every_setting_is_used(self, field: str) -> None:
        sources = [path for path in (ROOT / "app").rglob("*.py") if path.name != "settings.py"]
        # `app_env` shows itself through its property.
        names = rf"\.({field}|is_development)\b" if field == "app_env" else rf"\.{field}\b"
        assert any(re.search(names, path.read_text()) for path in sources)


def gunicorn(environment: Mapping[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gunicorn", "-c", "deploy/gunicorn.conf.py", *options, "wsgi:app"],
        cwd=ROOT,
        env=dict(environment),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class TestTheServer:
    @pytest.mark.parametrize(
        "change", [{"AUTH0_CLIENT_SECRET": None}, {"DB_POOL_SIZE": SECRET}], ids=["missing", "wrong"]
    )
    def test_it_does_not_start_and_says_why_in_one_line(self, change: dict[str, Any]) -> None:
        environment = {name: value for name, value in {**REQUIRED, **change}.items() if value is not None}
        ended = gunicorn(environment)
        assert ended.returncode != 0
        assert ended.stdout == ""
        assert [next(iter(change)) in line for line in ended.stderr.splitlines()] == [True]
        assert SECRET not in ended.stderr

    @pytest.mark.parametrize("wrong", [SECRET, "0", "99999999"], ids=["no number", "too small", "too large"])
    def test_each_of_its_own_settings_that_is_wrong_is_named(self, wrong: str) -> None:
        # Of what is no number here, gunicorn complains before it reads its configuration.
        names = set(NUMBERS_OF_THE_SERVER) - ({"WEB_CONCURRENCY"} if wrong == SECRET else set())
        ended = gunicorn({**REQUIRED, **dict.fromkeys(names, wrong)})
        assert ended.returncode != 0
        (line,) = ended.stderr.splitlines()
        assert set(re.findall(r"([A-Z][A-Z_]+): \w", line)) == names
        assert SECRET not in line

    def test_each_of_its_own_settings_is_what_gunicorn_runs_with(self) -> None:
        assert server_settings() == {"HOST", *NUMBERS_OF_THE_SERVER}
        chosen = {name: str(1001 + number) for number, name in enumerate(NUMBERS_OF_THE_SERVER)}
        chosen |= {"HOST": "127.0.0.2", "WEB_CONCURRENCY": "7", "WS_MAX_SOCKETS_PER_WORKER": "5000"}
        ended = gunicorn({**REQUIRED, **chosen}, "--print-config")
        shown = dict(re.findall(r"^(\w+) += (.*)$", ended.stdout, re.MULTILINE))
        expected = {of_gunicorn: chosen[name] for name, of_gunicorn in NUMBERS_OF_THE_SERVER.items()}
        expected["bind"] = f"['127.0.0.2:{chosen['PORT']}']"
        expected["worker_connections"] = str(5000 + int(chosen["GUNICORN_HTTP_CONNECTIONS"]))
        assert {name: shown[name] for name in expected} == expected

    @pytest.mark.parametrize("option", ["--worker-class=sync", "--preload", "--max-requests=1000"])
    def test_what_the_service_is_built_on_is_not_for_an_environment_to_change(self, option: str) -> None:
        ended = gunicorn({**REQUIRED, "PORT": "1", "GUNICORN_CMD_ARGS": option})
        assert ended.returncode != 0
        assert "GUNICORN_CMD_ARGS: must leave" in ended.stderr.splitlines()[-1]

    def test_every_line_of_its_log_is_json_from_the_start_to_the_end(self, logs: dict[str, str]) -> None:
        entries = [json.loads(line) for line in logs["debug"].splitlines()]
        assert all(entry.keys() >= {"event", "level", "logger", "timestamp"} for entry in entries)
        assert {"app.request", "gunicorn.error"} <= {entry["logger"] for entry in entries}
        assert any("Invalid request" in entry["event"] for entry in entries)

    def test_it_is_json_only_if_told_so(self, logs: dict[str, str]) -> None:
        # Not JSON whatever the setting says.
        assert "Starting gunicorn" in logs["plain"]
        assert "/nowhere" in logs["plain"]
        assert not [line for line in logs["plain"].splitlines() if line.startswith("{")]

    def test_a_higher_level_silences_what_is_below(self, logs: dict[str, str]) -> None:
        assert logs["error"] == ""


@pytest.fixture(scope="module")
def logs(database_url_factory: Callable[[], str], tenant: TenantProcess) -> dict[str, str]:
    """What services with these settings write from their start to their end, with good and bad requests between."""
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
            speak_nonsense(service.port)
        for service in services.values():
            service.stop()
        return {name: service.log() for name, service in services.items()}


def speak_nonsense(port: int) -> None:
    """Something that is not HTTP, which gunicorn itself answers and logs."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"\x16\x03\x01 nonsense\r\n\r\n")
        while connection.recv(4096):
            pass

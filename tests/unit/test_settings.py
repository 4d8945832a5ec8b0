"""Settings: a wrong one stops the start with one line that names it, each is documented, and each is used."""

import re
from collections.abc import Callable
from dataclasses import fields

import pytest

from app.settings import AppEnv, InvalidSettings, OwnerSignup, Settings, SocketLimits, database_url
from tests.support import ROOT

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
        *("", SECRET, f"mysql://u:{SECRET}@host/db", f"sqlite:///{SECRET}"),
        *(f"postgresql://u:{SECRET}@host:port/db", f"postgresql://u:{SECRET}@host/"),
        f"postgresql://u:{SECRET}@/db?host=a:1&host=b:2&port=3",
        f"postgresql://u:{SECRET}@/db?host=a:1&host=b:two",
    ],
    "AUTH0_ISSUER": [
        *(SECRET, f"ftp://{SECRET}/", f"https://host/?{SECRET}", f"https://host/#{SECRET}", f"https://[{SECRET}/"),
        *("https://", "//host/"),
    ],
    "AUTH0_DOMAIN": [
        *(*BLANK, f"https://{SECRET}", f"{SECRET}/", f"host/{SECRET}", f"host?{SECRET}", f"[{SECRET}", f"a {SECRET}"),
        f"a\\{SECRET}",
    ],
    "AUTH0_AUDIENCE": BLANK,
    "AUTH0_CLIENT_ID": BLANK,
    "AUTH0_CLIENT_SECRET": BLANK,
    "AUTH0_CONNECTION": BLANK,
    "JWKS_CACHE_TTL_SECONDS": [*COUNTS, "0", "86401"],
    "CORS_ALLOWED_ORIGINS": [
        *("*", "null", SECRET, f"https://{SECRET}/", f"https://{SECRET}/path", f"https://[{SECRET}", f"ws://{SECRET}"),
        f"https://good.example.com,{SECRET}",
    ],
    "TRUSTED_PROXY_COUNT": [*COUNTS, "11"],
    "OWNER_SIGNUP": [*WORDS, "OPEN"],
    "DEMO_ACCOUNTS": [
        *(SECRET, "renter@example.com", "renter@example.com:", f"renter:{SECRET}"),
        *(f"renter@example.com:{SECRET} {SECRET}", f"renter@example.com:{SECRET},owner"),
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
        *(
            SECRET,
            f"http://{SECRET}/",
            f"redis://host/{SECRET}",
            "redis://",
            "redis://host/0?db=1",
            "redis://host:65536",
        ),
        *("redis://a..b:6379/0", f"redis://{'a' * 64}/0"),
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
        *(SECRET, f"https://{SECRET}@host/", f"https://host/{SECRET}", f"ftp://{SECRET}@host/1", "https://@host/1"),
    ],
    "LOG_LEVEL": [*WORDS, "verbose"],
    "LOG_JSON": WORDS,
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
    source = (ROOT / "app/settings.py").read_text()
    return set(re.findall(r"\b(?:env\.\w+|_integer|_text|_optional_text|_flag|_choice)\(\"([A-Z][A-Z0-9_]+)\"", source))


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

    def test_a_wrong_issuer_is_not_blamed_on_the_domain_it_replaces(self, read: Read) -> None:
        assert "AUTH0_DOMAIN" not in refusal(read, AUTH0_ISSUER="wrong", AUTH0_DOMAIN=None)

    @pytest.mark.parametrize(
        ("name", "changes"),
        [
            # An ID token, whose audience is the client, would pass as an access token.
            ("AUTH0_AUDIENCE", {"AUTH0_AUDIENCE": SECRET, "AUTH0_CLIENT_ID": SECRET}),
            ("WS_SILENCE_SECONDS", {"WS_SILENCE_SECONDS": "25", "WS_PING_INTERVAL_SECONDS": "25"}),
            *(
                (name, {"APP_ENV": app_env, name: value})
                for app_env in (None, "production")
                for name, value in (
                    ("METRICS_ALLOW_PRIVATE_ONLY", "false"),
                    ("AUTH0_ISSUER", "http://127.0.0.1:8081/"),
                    ("DEMO_ACCOUNTS", f"renter@example.com:{SECRET}"),
                )
            ),
            ("DEMO_ACCOUNTS", {"APP_ENV": "test", "DEMO_ACCOUNTS": f"renter@example.com:{SECRET}"}),
        ],
    )
    def test_settings_that_are_unsafe_together_are_refused(
        self, read: Read, name: str, changes: dict[str, str | None]
    ) -> None:
        line = refusal(read, **changes)
        assert ("METRICS_ADMIN_TOKEN" if name == "METRICS_ALLOW_PRIVATE_ONLY" else name) in line
        assert SECRET not in line


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

    @pytest.mark.parametrize(
        ("app_env", "as_json"), [(None, True), ("production", True), ("development", False), ("test", False)]
    )
    def test_logs_are_json_in_production_unless_told_otherwise(
        self, read: Read, app_env: str | None, as_json: bool
    ) -> None:
        assert read(APP_ENV=app_env).log_json is as_json
        assert read(APP_ENV=app_env, LOG_JSON=str(not as_json).lower()).log_json is not as_json

    @pytest.mark.parametrize(
        ("changes", "field", "meaning"),
        [
            ({}, "app_env", AppEnv.PRODUCTION),
            ({"CORS_ALLOWED_ORIGINS": "https://a.example, http://localhost:5173,"}, "cors_allowed_origins",
             ("https://a.example", "http://localhost:5173")),
            ({"OWNER_SIGNUP": "approval"}, "owner_signup", OwnerSignup.APPROVAL),
            ({"DB_POOL_PRE_PING": "false"}, "db_pool_pre_ping", False),
            ({"DB_POOL_SIZE": "100"}, "db_pool_size", 100),
            ({"TRUSTED_PROXY_COUNT": "2"}, "trusted_proxy_count", 2),
            ({"JWKS_CACHE_TTL_SECONDS": "1"}, "jwks_cache_ttl_seconds", 1),
            ({"AUTH0_CONNECTION": "people"}, "auth0_connection", "people"),
            ({"DEMO_ACCOUNTS": " , "}, "demo_accounts", ()),
            ({"AUTH0_DOMAIN": "tenant.example:8443"}, "auth0_issuer", "https://tenant.example:8443/"),
            ({"AUTH0_ISSUER": ""}, "auth0_issuer", "https://tenant.eu.auth0.com/"),
            ({"AUTH0_ISSUER": "https://i.example", "AUTH0_DOMAIN": None}, "auth0_issuer", "https://i.example/"),
            ({"AUTH0_ISSUER": "https://i.example/", "AUTH0_DOMAIN": None}, "auth0_issuer", "https://i.example/"),
            *(({"APP_ENV": app_env, "AUTH0_ISSUER": "http://127.0.0.1:8081/"}, "auth0_issuer", "http://127.0.0.1:8081/")
              for app_env in ("development", "test")),
        ],
    )  # fmt: skip
    def test_a_setting_is_read_as_what_it_means(
        self, read: Read, changes: dict[str, str | None], field: str, meaning: object
    ) -> None:
        assert getattr(read(**changes), field) == meaning

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

"""The service's settings: read from the environment once, checked, frozen.

`Settings.from_env()` is the only place that reads an environment variable for the service itself
(`deploy/gunicorn.conf.py` reads those of the server). `deploy/env.example` documents each of them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from environs import Env, EnvValidationError
from marshmallow import ValidationError, validate
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

REALM = "gearyard"
# A scheme, a host in lower case or an IPv6 address, perhaps a port, perhaps a final slash: nothing else.
_URL = re.compile(
    r"https?://([a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*|\[[0-9a-f:]+\])(:[1-9][0-9]{0,4})?/?"
)
# redis:// or, over TLS, rediss://; perhaps with credentials, a port, the number of a database.
_REDIS_URL = re.compile(r"rediss?://([^\s/?#@]*@)?[A-Za-z0-9.-]+(:[1-9][0-9]{0,4})?(/[0-9]{1,3})?")


class AppEnv(StrEnum):
    """Where the service runs; only production has stricter rules."""

    DEVELOPMENT = "development"
    TEST = "test"
    PRODUCTION = "production"


class OwnerSignup(StrEnum):
    """How a renter becomes an owner: by the first owner profile, or by an admin's approval."""

    OPEN = "open"
    APPROVAL = "approval"


@dataclass(frozen=True, kw_only=True)
class SocketLimits:
    """What one socket, one user and one worker may take up; times in seconds, sizes in bytes."""

    messages_per_second: int
    message_burst: int
    frames_per_second: int
    max_sockets_per_user: int
    max_sockets_per_worker: int
    outbox_frames: int
    outbox_bytes: int
    write_timeout_seconds: int
    ping_interval_seconds: int
    silence_seconds: int
    auth_timeout_seconds: int
    token_warning_seconds: int


class InvalidSettings(SystemExit):
    """A setting is missing or wrong: ends the process with one line that names it, and no traceback."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Every setting, typed. Secrets, and URLs that may hold one, are left out of the repr."""

    app_env: AppEnv
    database_url: str = field(repr=False)
    redis_url: str | None = field(repr=False)
    auth0_issuer: str
    auth0_audience: str
    auth0_client_id: str
    auth0_client_secret: str = field(repr=False)
    auth0_connection: str
    jwks_cache_ttl_seconds: int
    cors_allowed_origins: tuple[str, ...]
    trusted_proxy_count: int
    owner_signup: OwnerSignup
    db_pool_size: int
    db_max_overflow: int
    db_pool_timeout_seconds: int
    db_pool_recycle_seconds: int
    db_pool_pre_ping: bool
    db_statement_timeout_ms: int
    log_level: str
    log_json: bool
    sockets: SocketLimits

    @classmethod
    def from_env(cls) -> Self:
        """Read and check every setting.

        Raises:
            InvalidSettings: with one line naming each missing or wrong variable, never its value.
        """
        env = Env(eager=False)
        values = _read(env)
        refuse_wrong(env)
        settings = cls(**values)
        settings._check_together()
        return settings

    def _check_together(self) -> None:
        """The rules that span more than one setting."""
        if self.app_env is AppEnv.PRODUCTION and not self.auth0_issuer.startswith("https://"):
            raise InvalidSettings("Invalid settings: AUTH0_ISSUER: must be an https URL in production.")
        if self.auth0_audience == self.auth0_client_id:
            # An ID token's audience is the client: were they one, an ID token would pass as an access token.
            raise InvalidSettings("Invalid settings: AUTH0_AUDIENCE: must differ from AUTH0_CLIENT_ID.")
        if self.sockets.silence_seconds <= self.sockets.ping_interval_seconds:
            raise InvalidSettings("Invalid settings: WS_SILENCE_SECONDS: must be above WS_PING_INTERVAL_SECONDS.")


def database_url() -> str:
    """`DATABASE_URL` alone, as SQLAlchemy wants it: migrations need a database and nothing else.

    Raises:
        InvalidSettings: when it is missing or no PostgreSQL URL.
    """
    env = Env(eager=False)
    url = _database_url(env)
    refuse_wrong(env)
    return url


def refuse_wrong(env: Env) -> None:
    """Raise InvalidSettings, in one line, for all that was found wrong with what was read by `env`."""
    try:
        env.seal()
    except EnvValidationError as error:
        found = error.error_messages if isinstance(error.error_messages, Mapping) else {}
        problems = (f"{name}: {' '.join(map(str, messages))}" for name, messages in found.items())
        raise InvalidSettings(f"Invalid settings (see deploy/env.example): {'; '.join(problems)}") from None


def _range(least: int, most: int) -> validate.Range:
    return validate.Range(min=least, max=most)


def _read(env: Env) -> dict[str, Any]:
    app_env = env.enum("APP_ENV", enum=AppEnv, by_value=True, default=AppEnv.PRODUCTION)
    return {
        "app_env": app_env,
        "database_url": _database_url(env),
        "redis_url": env.str("REDIS_URL", "", validate=_blank_or_redis_url) or None,
        "auth0_issuer": _issuer(env),
        "auth0_audience": env.str("AUTH0_AUDIENCE", validate=_not_blank),
        "auth0_client_id": env.str("AUTH0_CLIENT_ID", validate=_not_blank),
        "auth0_client_secret": env.str("AUTH0_CLIENT_SECRET", validate=_not_blank),
        "auth0_connection": env.str("AUTH0_CONNECTION", "Username-Password-Authentication", validate=_not_blank),
        "jwks_cache_ttl_seconds": env.int("JWKS_CACHE_TTL_SECONDS", 3600, validate=_range(1, 86_400)),
        "cors_allowed_origins": tuple(_origins(env)),
        "trusted_proxy_count": env.int("TRUSTED_PROXY_COUNT", 0, validate=_range(0, 10)),
        "owner_signup": env.enum("OWNER_SIGNUP", enum=OwnerSignup, by_value=True, default=OwnerSignup.OPEN),
        "db_pool_size": env.int("DB_POOL_SIZE", 5, validate=_range(1, 100)),
        "db_max_overflow": env.int("DB_MAX_OVERFLOW", 5, validate=_range(0, 100)),
        "db_pool_timeout_seconds": env.int("DB_POOL_TIMEOUT_SECONDS", 3, validate=_range(1, 60)),
        "db_pool_recycle_seconds": env.int("DB_POOL_RECYCLE_SECONDS", 1800, validate=_range(1, 86_400)),
        "db_pool_pre_ping": env.bool("DB_POOL_PRE_PING", True),
        "db_statement_timeout_ms": env.int("DB_STATEMENT_TIMEOUT_MS", 5000, validate=_range(1, 600_000)),
        "log_level": env.str("LOG_LEVEL", "info", validate=_log_level),
        "log_json": env.bool("LOG_JSON", app_env is AppEnv.PRODUCTION),
        "sockets": SocketLimits(**_read_socket_limits(env)),
    }


def _read_socket_limits(env: Env) -> dict[str, Any]:
    return {
        "messages_per_second": env.int("WS_MESSAGES_PER_SECOND", 5, validate=_range(1, 10_000)),
        "message_burst": env.int("WS_MESSAGE_BURST", 10, validate=_range(1, 10_000)),
        "frames_per_second": env.int("WS_FRAMES_PER_SECOND", 30, validate=_range(1, 10_000)),
        "max_sockets_per_user": env.int("WS_MAX_SOCKETS_PER_USER", 10, validate=_range(1, 100_000)),
        "max_sockets_per_worker": env.int("WS_MAX_SOCKETS_PER_WORKER", 4000, validate=_range(1, 100_000)),
        "outbox_frames": env.int("WS_OUTBOX_FRAMES", 256, validate=_range(8, 100_000)),
        "outbox_bytes": env.int("WS_OUTBOX_BYTES", 1_048_576, validate=_range(524_288, 1_073_741_824)),
        "write_timeout_seconds": env.int("WS_WRITE_TIMEOUT_SECONDS", 10, validate=_range(1, 600)),
        "ping_interval_seconds": env.int("WS_PING_INTERVAL_SECONDS", 25, validate=_range(1, 600)),
        "silence_seconds": env.int("WS_SILENCE_SECONDS", 90, validate=_range(2, 3600)),
        "auth_timeout_seconds": env.int("WS_AUTH_TIMEOUT_SECONDS", 10, validate=_range(1, 600)),
        "token_warning_seconds": env.int("WS_TOKEN_WARNING_SECONDS", 60, validate=_range(0, 3600)),
    }


def _database_url(env: Env) -> str:
    url: str = env.str("DATABASE_URL", validate=_postgresql_url) or ""
    # SQLAlchemy 2.1 reads a bare postgresql:// as psycopg 3; `postgres://` is what many hosts hand out.
    return "postgresql+psycopg2://" + url.partition("://")[2]


def _issuer(env: Env) -> str:
    """`AUTH0_ISSUER`, or `https://{AUTH0_DOMAIN}/`. Auth0's issuers end in a slash, and `iss` must match exactly."""
    issuer: str | None = env.str("AUTH0_ISSUER", "", validate=_blank_or_http_url)
    if issuer is None or issuer:  # wrong, or given: the domain does not matter
        return (issuer or "").rstrip("/") + "/"
    domain: str = env.str("AUTH0_DOMAIN", validate=_host_name)
    return f"https://{domain}/"


def _origins(env: Env) -> list[str]:
    values = env.list("CORS_ALLOWED_ORIGINS", [], subcast=str, validate=_exact_origins)
    return [value.strip() for value in values or [] if value.strip()]


def _not_blank(value: str) -> None:
    if not value.strip():
        raise ValidationError("Must not be blank.")


def _log_level(value: str) -> None:
    if value.lower() not in ("debug", "info", "warning", "error", "critical"):
        raise ValidationError("Must be one of debug, info, warning, error, critical.")


def _postgresql_url(value: str) -> None:
    try:
        url = make_url(value)
    except (ArgumentError, ValueError):
        url = None
    if url is None or url.drivername.partition("+")[0] not in ("postgresql", "postgres") or not url.database:
        raise ValidationError("Must be a URL like postgresql://user:password@host:5432/database.")


def _blank_or_redis_url(value: str) -> None:
    if value and _REDIS_URL.fullmatch(value) is None:
        raise ValidationError("Must be a URL like redis://:password@host:6379/0.")


def _blank_or_http_url(value: str) -> None:
    if value and _URL.fullmatch(value) is None:
        raise ValidationError("Must be a URL like https://tenant.eu.auth0.com/.")


def _host_name(value: str) -> None:
    if _URL.fullmatch(f"https://{value}") is None or "/" in value:
        raise ValidationError("Must be a host name like tenant.eu.auth0.com, without https://.")


def _exact_origins(values: list[str]) -> None:
    for value in filter(None, (value.strip() for value in values)):
        # Exact origins only (RFC 6454 §6.2): a pattern or `null` lets in more than it says.
        if _URL.fullmatch(value) is None or value.endswith("/"):
            raise ValidationError("Must be origins like https://app.example.com, separated by commas.")

"""The service's settings: read from the environment once, validated, frozen.

`Settings.from_env()` is the only code that reads environment variables of the service; `deploy/gunicorn.conf.py` reads
those of the server. `deploy/env.example` documents each of them. No error repeats a value, which may be a secret.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Self

from environs import Env, EnvValidationError, ValidationError
from limits import parse_many
from marshmallow.validate import Range, Regexp
from sentry_sdk.utils import BadDsn, Dsn
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

MAX_DEMO_ACCOUNTS = 10
MAX_PORT = 65_535
# A host in lower case or an IPv6 address, and an optional port.
_HOST = r"([a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*|\[[0-9a-f:]+\])(:[1-9][0-9]{0,4})?"
_ORIGIN = re.compile(rf"https?://{_HOST}")
_REDIS_URL = re.compile(
    r"rediss?://([^\s/?#@]*@)?[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*(:(?P<port>[1-9][0-9]{0,4}))?(/[0-9]{1,3})?"
)
_DEMO_ACCOUNT = re.compile(r"[^\s@:,]+@[^\s@:,]+:\S+")


class AppEnv(StrEnum):
    """Where the service runs. Production has stricter rules."""

    DEVELOPMENT = "development"
    TEST = "test"
    PRODUCTION = "production"


class OwnerSignup(StrEnum):
    """How a renter becomes an owner: by saving an owner profile, or by an admin's approval."""

    OPEN = "open"
    APPROVAL = "approval"


@dataclass(frozen=True, kw_only=True)
class DemoAccount:
    """An account that the pages of a development service show, with its password."""

    email: str
    password: str = field(repr=False)

    @property
    def name(self) -> str:
        """The label of the account's button."""
        return self.email.partition("@")[0]


class InvalidSettings(SystemExit):
    """A setting is missing or invalid. Ends the process with one line that names it, and no traceback."""

    def __init__(self, problems: str) -> None:
        super().__init__(f"Invalid settings (see deploy/env.example): {problems}")


# Validators raise ValidationError with a sentence that does not repeat the value.
_not_blank = Regexp(r"\s*\S", error="Must not be blank.")
_http_url = Regexp(rf"(https?://{_HOST}/?)?\Z", error="Must be a URL like https://tenant.eu.auth0.com/.")
_host_name = Regexp(rf"{_HOST}\Z", error="Must be a host name like tenant.eu.auth0.com, without https://.")
# RFC 6750 §2.1: the characters of a bearer token.
_metrics_token = Regexp(
    r"((?=.{16})[A-Za-z0-9._~+/-]+=*)?\Z", error="Must be at least 16 letters, digits and any of -._~+/=."
)
_log_level = Regexp(
    r"(?ai)(debug|info|warning|error|critical)\Z", error="Must be one of debug, info, warning, error, critical."
)


def _rate_limit(value: str) -> None:
    try:
        found = parse_many(value)
    except ValueError:
        found = []
    if not found or any(limit.amount < 1 or limit.multiples < 1 for limit in found):
        raise ValidationError("Must be a limit like 10/minute, or several like 10/minute;100/day.")


def _postgresql_url(value: str) -> None:
    try:
        url = make_url(value)
        PGDialect_psycopg2().create_connect_args(url)  # type: ignore[no-untyped-call]  # parses several hosts as well
    except (ArgumentError, ValueError):
        url = None
    if url is None or url.drivername.partition("+")[0] not in ("postgresql", "postgres") or not url.database:
        raise ValidationError("Must be a URL like postgresql://user:password@host:5432/database.")


def _redis_url(value: str) -> None:
    found = _REDIS_URL.fullmatch(value)
    if value and (found is None or int(found["port"] or 0) > MAX_PORT):
        raise ValidationError("Must be a URL like redis://:password@host:6379/0.")


def _sentry_dsn(value: str) -> None:
    try:
        if value:
            Dsn(value)
    except (BadDsn, ValueError):
        raise ValidationError("Must be a DSN like https://key@errors.example.com/1.") from None


def _origins(values: list[str]) -> None:
    # Exact origins only (RFC 6454 §6.2): a pattern or `null` lets in more than it says.
    if not all(map(_ORIGIN.fullmatch, _items(values))):
        raise ValidationError("Must be origins like https://app.example.com, separated by commas.")


def _demo_account_list(values: list[str]) -> None:
    accounts = _items(values)
    if len(accounts) > MAX_DEMO_ACCOUNTS or not all(map(_DEMO_ACCOUNT.fullmatch, accounts)):
        raise ValidationError(f"Must be at most {MAX_DEMO_ACCOUNTS} like email:password, separated by commas.")


def _items(values: list[str] | None) -> tuple[str, ...]:
    return tuple(value.strip() for value in values or () if value.strip())


def _database_url(env: Env) -> str:
    url: str = env.str("DATABASE_URL", validate=_postgresql_url) or ""
    # SQLAlchemy 2.1 reads a bare postgresql:// as psycopg 3; many hosts provide `postgres://`.
    return "postgresql+psycopg2://" + url.partition("://")[2]


def _issuer(env: Env) -> str:
    """`AUTH0_ISSUER`, or `https://{AUTH0_DOMAIN}/`. Auth0's issuers end in a slash, and `iss` must match exactly."""
    issuer: str | None = env.str("AUTH0_ISSUER", "", validate=_http_url)
    if issuer is None or issuer:  # invalid, or given: the domain does not matter
        return (issuer or "").rstrip("/") + "/"
    domain: str = env.str("AUTH0_DOMAIN", validate=_host_name)
    return f"https://{domain}/"


def _demo_accounts(env: Env) -> tuple[DemoAccount, ...]:
    accounts = _items(env.list("DEMO_ACCOUNTS", [], subcast=str, validate=_demo_account_list))
    pairs = (account.partition(":") for account in accounts)
    return tuple(DemoAccount(email=email, password=password) for email, _, password in pairs)


def _setting(read: Callable[[Env], Any], *, secret: bool = False) -> Any:
    """A field that `read` takes from the environment. A secret is not in the repr."""
    return field(metadata={"read": read}, repr=not secret)


def _integer(name: str, default: int, minimum: int, maximum: int) -> Any:
    return _setting(lambda env: env.int(name, default, validate=Range(minimum, maximum)))


def _text(name: str, *default: str, validate: Callable[[str], object], secret: bool = False) -> Any:
    return _setting(lambda env: env.str(name, *default, validate=validate), secret=secret)


def _optional_text(name: str, validate: Callable[[str], object]) -> Any:
    return _setting(lambda env: env.str(name, "", validate=validate) or None, secret=True)


def _flag(name: str, default: bool) -> Any:
    return _setting(lambda env: env.bool(name, default))


def _choice(name: str, default: StrEnum) -> Any:
    return _setting(lambda env: env.enum(name, default, enum=type(default), by_value=True))


@dataclass(frozen=True, kw_only=True)
class _Settings:
    @classmethod
    def read(cls, env: Env) -> Self:
        """Read every field. `env` collects what is missing or invalid, for `refuse_invalid`."""
        return cls(**{each.name: each.metadata["read"](env) for each in fields(cls)})


@dataclass(frozen=True, kw_only=True)
class SocketLimits(_Settings):
    """Limits of one socket, one user and one worker; times in seconds, sizes in bytes."""

    messages_per_second: int = _integer("WS_MESSAGES_PER_SECOND", 5, 1, 10_000)
    message_burst: int = _integer("WS_MESSAGE_BURST", 10, 1, 10_000)
    frames_per_second: int = _integer("WS_FRAMES_PER_SECOND", 30, 1, 10_000)
    max_sockets_per_user: int = _integer("WS_MAX_SOCKETS_PER_USER", 10, 1, 100_000)
    max_sockets_per_worker: int = _integer("WS_MAX_SOCKETS_PER_WORKER", 4000, 1, 100_000)
    outbox_frames: int = _integer("WS_OUTBOX_FRAMES", 256, 8, 100_000)
    outbox_bytes: int = _integer("WS_OUTBOX_BYTES", 1_048_576, 524_288, 1_073_741_824)
    write_timeout_seconds: int = _integer("WS_WRITE_TIMEOUT_SECONDS", 10, 1, 600)
    ping_interval_seconds: int = _integer("WS_PING_INTERVAL_SECONDS", 25, 1, 600)
    silence_seconds: int = _integer("WS_SILENCE_SECONDS", 90, 2, 3600)
    auth_timeout_seconds: int = _integer("WS_AUTH_TIMEOUT_SECONDS", 10, 1, 600)
    token_warning_seconds: int = _integer("WS_TOKEN_WARNING_SECONDS", 60, 0, 3600)


@dataclass(frozen=True, kw_only=True)
class RateLimits(_Settings):
    """Rate limits in the notation of the `limits` library (`10/minute;100/day`).

    `public_search`, `anonymous` and `auth` count by client address, `authenticated` counts by user.
    """

    enabled: bool = _flag("RATE_LIMIT_ENABLED", True)
    public_search: str = _text("RATE_LIMIT_PUBLIC_SEARCH", "120/minute", validate=_rate_limit)
    anonymous: str = _text("RATE_LIMIT_ANONYMOUS", "300/minute", validate=_rate_limit)
    authenticated: str = _text("RATE_LIMIT_AUTHENTICATED", "1000/minute", validate=_rate_limit)
    auth: str = _text("RATE_LIMIT_AUTH", "10/minute", validate=_rate_limit)


@dataclass(frozen=True, kw_only=True)
class LoginLimits(_Settings):
    """How many failures an account may have from one address, and how long the address is then locked out of it."""

    max_failures: int = _integer("LOGIN_MAX_FAILURES", 5, 1, 1000)
    lockout_seconds: int = _integer("LOGIN_LOCKOUT_SECONDS", 300, 1, 86_400)
    backoff_base_ms: int = _integer("LOGIN_BACKOFF_BASE_MS", 200, 0, 60_000)


@dataclass(frozen=True, kw_only=True)
class MetricsAccess(_Settings):
    """Access to `/metrics`: by private addresses, by the bearer token, or, with neither setting, by every client."""

    allow_private_only: bool = _flag("METRICS_ALLOW_PRIVATE_ONLY", True)
    admin_token: str | None = _optional_text("METRICS_ADMIN_TOKEN", _metrics_token)


@dataclass(frozen=True, kw_only=True)
class Settings(_Settings):
    """Every setting, typed. The repr leaves out secrets, and URLs that may hold one."""

    app_env: AppEnv = _choice("APP_ENV", AppEnv.PRODUCTION)
    database_url: str = _setting(_database_url, secret=True)
    redis_url: str | None = _optional_text("REDIS_URL", _redis_url)
    auth0_issuer: str = _setting(_issuer)
    auth0_audience: str = _text("AUTH0_AUDIENCE", validate=_not_blank)
    auth0_client_id: str = _text("AUTH0_CLIENT_ID", validate=_not_blank)
    auth0_client_secret: str = _text("AUTH0_CLIENT_SECRET", validate=_not_blank, secret=True)
    auth0_connection: str = _text("AUTH0_CONNECTION", "Username-Password-Authentication", validate=_not_blank)
    jwks_cache_ttl_seconds: int = _integer("JWKS_CACHE_TTL_SECONDS", 3600, 1, 86_400)
    cors_allowed_origins: tuple[str, ...] = _setting(
        lambda env: _items(env.list("CORS_ALLOWED_ORIGINS", [], subcast=str, validate=_origins))
    )
    trusted_proxy_count: int = _integer("TRUSTED_PROXY_COUNT", 0, 0, 10)
    owner_signup: OwnerSignup = _choice("OWNER_SIGNUP", OwnerSignup.OPEN)
    db_pool_size: int = _integer("DB_POOL_SIZE", 5, 1, 100)
    db_max_overflow: int = _integer("DB_MAX_OVERFLOW", 5, 0, 100)
    db_pool_timeout_seconds: int = _integer("DB_POOL_TIMEOUT_SECONDS", 3, 1, 60)
    db_pool_recycle_seconds: int = _integer("DB_POOL_RECYCLE_SECONDS", 1800, 1, 86_400)
    db_pool_pre_ping: bool = _flag("DB_POOL_PRE_PING", True)
    db_statement_timeout_ms: int = _integer("DB_STATEMENT_TIMEOUT_MS", 5000, 1, 600_000)
    db_prepare_statements: bool = _flag("DB_PREPARE_STATEMENTS", True)
    log_level: str = _text("LOG_LEVEL", "info", validate=_log_level)
    log_json: bool = _setting(
        lambda env: env.bool("LOG_JSON", env.str("APP_ENV", AppEnv.PRODUCTION) == AppEnv.PRODUCTION)
    )
    sentry_dsn: str | None = _optional_text("SENTRY_DSN", _sentry_dsn)
    sockets: SocketLimits = _setting(SocketLimits.read)
    rate_limits: RateLimits = _setting(RateLimits.read)
    logins: LoginLimits = _setting(LoginLimits.read)
    metrics: MetricsAccess = _setting(MetricsAccess.read)
    demo_accounts: tuple[DemoAccount, ...] = _setting(_demo_accounts)

    @classmethod
    def from_env(cls) -> Self:
        """Read and validate every setting. Raises InvalidSettings, which names each missing or invalid variable."""
        env = Env(eager=False)
        settings = cls.read(env)
        refuse_invalid(env)
        settings._check_together()
        return settings

    def _check_together(self) -> None:
        is_production = self.app_env is AppEnv.PRODUCTION
        if is_production and not self.auth0_issuer.startswith("https://"):
            raise InvalidSettings("AUTH0_ISSUER: must be an https URL in production.")
        if self.demo_accounts and self.app_env is not AppEnv.DEVELOPMENT:
            raise InvalidSettings("DEMO_ACCOUNTS: shown to every client, so allowed in development only.")
        if self.auth0_audience == self.auth0_client_id:
            # The audience of an ID token is the client: it would pass as an access token.
            raise InvalidSettings("AUTH0_AUDIENCE: must differ from AUTH0_CLIENT_ID.")
        if is_production and not self.metrics.allow_private_only and not self.metrics.admin_token:
            raise InvalidSettings("METRICS_ADMIN_TOKEN: required where any address may read metrics.")
        if self.sockets.silence_seconds <= self.sockets.ping_interval_seconds:
            raise InvalidSettings("WS_SILENCE_SECONDS: must be above WS_PING_INTERVAL_SECONDS.")


def database_url() -> str:
    """`DATABASE_URL` alone, as SQLAlchemy takes it, for migrations. Raises InvalidSettings."""
    env = Env(eager=False)
    url = _database_url(env)
    refuse_invalid(env)
    return url


def refuse_invalid(env: Env) -> None:
    """Raise InvalidSettings, in one line, for all that is missing or invalid among what was read by `env`."""
    try:
        env.seal()
    except EnvValidationError as error:
        found = error.error_messages if isinstance(error.error_messages, Mapping) else {}
        problems = (f"{name}: {' '.join(map(str, messages))}" for name, messages in found.items())
        raise InvalidSettings("; ".join(problems)) from None

"""The service's settings: read from the environment once, checked, frozen.

`Settings.from_env()` is the only place that reads an environment variable for the service itself
(`deploy/gunicorn.conf.py` reads those of the server). `deploy/env.example` documents each of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from environs import Env, EnvValidationError

from app import setting_rules as rules

REALM = "gearyard"


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


@dataclass(frozen=True, kw_only=True)
class RateLimits:
    """How often one caller may ask, in the notation of the `limits` library (`10/minute`); by whom it is counted:

    `public_search`, `anonymous` and `auth` by client address, `authenticated` by user.
    """

    enabled: bool
    public_search: str
    anonymous: str
    authenticated: str
    auth: str


@dataclass(frozen=True, kw_only=True)
class LoginLimits:
    """How many failures one account may have from one address, and what follows them."""

    max_failures: int
    lockout_seconds: int
    backoff_base_ms: int


@dataclass(frozen=True, kw_only=True)
class MetricsAccess:
    """Who may read `/metrics`: private addresses, whoever has the token, or, with neither, everyone."""

    allow_private_only: bool
    admin_token: str | None = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class DemoAccount:
    """An account that development's pages offer to everybody, password included."""

    email: str
    password: str = field(repr=False)

    @property
    def name(self) -> str:
        """What the account is called on a button."""
        return self.email.partition("@")[0]


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
    db_prepare_statements: bool
    log_level: str
    log_json: bool
    sentry_dsn: str | None = field(repr=False)
    sockets: SocketLimits
    rate_limits: RateLimits
    logins: LoginLimits
    metrics: MetricsAccess
    demo_accounts: tuple[DemoAccount, ...]

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
        if self.demo_accounts and self.app_env is not AppEnv.DEVELOPMENT:
            raise InvalidSettings("Invalid settings: DEMO_ACCOUNTS: shown to everybody, so only in development.")
        if self.auth0_audience == self.auth0_client_id:
            # An ID token's audience is the client: were they one, an ID token would pass as an access token.
            raise InvalidSettings("Invalid settings: AUTH0_AUDIENCE: must differ from AUTH0_CLIENT_ID.")
        if self.app_env is AppEnv.PRODUCTION and not self.metrics.allow_private_only and not self.metrics.admin_token:
            raise InvalidSettings(
                "Invalid settings: METRICS_ADMIN_TOKEN: needed where any address may ask for metrics."
            )
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


def _read(env: Env) -> dict[str, Any]:
    app_env = env.enum("APP_ENV", enum=AppEnv, by_value=True, default=AppEnv.PRODUCTION)
    return {
        "app_env": app_env,
        "database_url": _database_url(env),
        "redis_url": env.str("REDIS_URL", "", validate=rules.blank_or_redis_url) or None,
        "auth0_issuer": _issuer(env),
        "auth0_audience": env.str("AUTH0_AUDIENCE", validate=rules.not_blank),
        "auth0_client_id": env.str("AUTH0_CLIENT_ID", validate=rules.not_blank),
        "auth0_client_secret": env.str("AUTH0_CLIENT_SECRET", validate=rules.not_blank),
        "auth0_connection": env.str("AUTH0_CONNECTION", "Username-Password-Authentication", validate=rules.not_blank),
        "jwks_cache_ttl_seconds": env.int("JWKS_CACHE_TTL_SECONDS", 3600, validate=rules.between(1, 86_400)),
        "cors_allowed_origins": tuple(_origins(env)),
        "trusted_proxy_count": env.int("TRUSTED_PROXY_COUNT", 0, validate=rules.between(0, 10)),
        "owner_signup": env.enum("OWNER_SIGNUP", enum=OwnerSignup, by_value=True, default=OwnerSignup.OPEN),
        "db_pool_size": env.int("DB_POOL_SIZE", 5, validate=rules.between(1, 100)),
        "db_max_overflow": env.int("DB_MAX_OVERFLOW", 5, validate=rules.between(0, 100)),
        "db_pool_timeout_seconds": env.int("DB_POOL_TIMEOUT_SECONDS", 3, validate=rules.between(1, 60)),
        "db_pool_recycle_seconds": env.int("DB_POOL_RECYCLE_SECONDS", 1800, validate=rules.between(1, 86_400)),
        "db_pool_pre_ping": env.bool("DB_POOL_PRE_PING", True),
        "db_statement_timeout_ms": env.int("DB_STATEMENT_TIMEOUT_MS", 5000, validate=rules.between(1, 600_000)),
        "db_prepare_statements": env.bool("DB_PREPARE_STATEMENTS", True),
        "log_level": env.str("LOG_LEVEL", "info", validate=rules.log_level),
        "log_json": env.bool("LOG_JSON", app_env is AppEnv.PRODUCTION),
        "sentry_dsn": env.str("SENTRY_DSN", "", validate=rules.blank_or_sentry_dsn) or None,
        "sockets": SocketLimits(**_read_socket_limits(env)),
        "rate_limits": RateLimits(**_read_rate_limits(env)),
        "logins": LoginLimits(**_read_login_limits(env)),
        "metrics": MetricsAccess(
            allow_private_only=env.bool("METRICS_ALLOW_PRIVATE_ONLY", True),
            admin_token=env.str("METRICS_ADMIN_TOKEN", "", validate=rules.blank_or_long_token) or None,
        ),
        "demo_accounts": tuple(_demo_accounts(env)),
    }


def _read_rate_limits(env: Env) -> dict[str, Any]:
    return {
        "enabled": env.bool("RATE_LIMIT_ENABLED", True),
        "public_search": env.str("RATE_LIMIT_PUBLIC_SEARCH", "120/minute", validate=rules.rate_limit),
        "anonymous": env.str("RATE_LIMIT_ANONYMOUS", "300/minute", validate=rules.rate_limit),
        "authenticated": env.str("RATE_LIMIT_AUTHENTICATED", "1000/minute", validate=rules.rate_limit),
        "auth": env.str("RATE_LIMIT_AUTH", "10/minute", validate=rules.rate_limit),
    }


def _read_login_limits(env: Env) -> dict[str, Any]:
    return {
        "max_failures": env.int("LOGIN_MAX_FAILURES", 5, validate=rules.between(1, 1000)),
        "lockout_seconds": env.int("LOGIN_LOCKOUT_SECONDS", 300, validate=rules.between(1, 86_400)),
        "backoff_base_ms": env.int("LOGIN_BACKOFF_BASE_MS", 200, validate=rules.between(0, 60_000)),
    }


def _read_socket_limits(env: Env) -> dict[str, Any]:
    return {
        "messages_per_second": env.int("WS_MESSAGES_PER_SECOND", 5, validate=rules.between(1, 10_000)),
        "message_burst": env.int("WS_MESSAGE_BURST", 10, validate=rules.between(1, 10_000)),
        "frames_per_second": env.int("WS_FRAMES_PER_SECOND", 30, validate=rules.between(1, 10_000)),
        "max_sockets_per_user": env.int("WS_MAX_SOCKETS_PER_USER", 10, validate=rules.between(1, 100_000)),
        "max_sockets_per_worker": env.int("WS_MAX_SOCKETS_PER_WORKER", 4000, validate=rules.between(1, 100_000)),
        "outbox_frames": env.int("WS_OUTBOX_FRAMES", 256, validate=rules.between(8, 100_000)),
        "outbox_bytes": env.int("WS_OUTBOX_BYTES", 1_048_576, validate=rules.between(524_288, 1_073_741_824)),
        "write_timeout_seconds": env.int("WS_WRITE_TIMEOUT_SECONDS", 10, validate=rules.between(1, 600)),
        "ping_interval_seconds": env.int("WS_PING_INTERVAL_SECONDS", 25, validate=rules.between(1, 600)),
        "silence_seconds": env.int("WS_SILENCE_SECONDS", 90, validate=rules.between(2, 3600)),
        "auth_timeout_seconds": env.int("WS_AUTH_TIMEOUT_SECONDS", 10, validate=rules.between(1, 600)),
        "token_warning_seconds": env.int("WS_TOKEN_WARNING_SECONDS", 60, validate=rules.between(0, 3600)),
    }


def _database_url(env: Env) -> str:
    url: str = env.str("DATABASE_URL", validate=rules.postgresql_url) or ""
    # SQLAlchemy 2.1 reads a bare postgresql:// as psycopg 3; `postgres://` is what many hosts hand out.
    return "postgresql+psycopg2://" + url.partition("://")[2]


def _issuer(env: Env) -> str:
    """`AUTH0_ISSUER`, or `https://{AUTH0_DOMAIN}/`. Auth0's issuers end in a slash, and `iss` must match exactly."""
    issuer: str | None = env.str("AUTH0_ISSUER", "", validate=rules.blank_or_http_url)
    if issuer is None or issuer:  # wrong, or given: the domain does not matter
        return (issuer or "").rstrip("/") + "/"
    domain: str = env.str("AUTH0_DOMAIN", validate=rules.host_name)
    return f"https://{domain}/"


def _origins(env: Env) -> list[str]:
    values = env.list("CORS_ALLOWED_ORIGINS", [], subcast=str, validate=rules.exact_origins)
    return [value.strip() for value in values or [] if value.strip()]


def _demo_accounts(env: Env) -> list[DemoAccount]:
    values = env.list("DEMO_ACCOUNTS", [], subcast=str, validate=rules.demo_accounts)
    pairs = (value.strip().partition(":") for value in values or [] if value.strip())
    return [DemoAccount(email=email, password=password) for email, _, password in pairs]

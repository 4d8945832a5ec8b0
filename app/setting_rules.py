"""What a setting's value must look like. Used by `app/settings.py` alone.

Each rule raises ValidationError with a sentence that does not repeat the value.
"""

import re

from limits import parse_many
from marshmallow import ValidationError, validate
from sentry_sdk.utils import BadDsn, Dsn
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

SHORTEST_METRICS_TOKEN = 16
MAX_DEMO_ACCOUNTS = 10
_DEMO_ACCOUNT = re.compile(r"[^\s@:,]+@[^\s@:,]+:\S+")
# A scheme, a host in lower case or an IPv6 address, perhaps a port, perhaps a final slash: nothing else.
_URL = re.compile(
    r"https?://([a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*|\[[0-9a-f:]+\])(:[1-9][0-9]{0,4})?/?"
)
# redis:// or, over TLS, rediss://; perhaps with credentials, a port, the number of a database.
_REDIS_URL = re.compile(
    r"rediss?://([^\s/?#@]*@)?[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*(:(?P<port>[1-9][0-9]{0,4}))?(/[0-9]{1,3})?"
)
MAX_PORT = 65_535
_BEARER_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*", re.ASCII)


def between(least: int, most: int) -> validate.Range:
    """A number within these, both included."""
    return validate.Range(min=least, max=most)


def rate_limit(value: str) -> None:
    """Refuse what is no limit of the `limits` library: 10/minute, or several, separated by semicolons."""
    try:
        found = parse_many(value)
    except ValueError:
        found = []
    if not found or any(limit.amount < 1 or limit.multiples < 1 for limit in found):
        raise ValidationError("Must be a limit like 10/minute, or several like 10/minute;100/day.")


def blank_or_long_token(value: str) -> None:
    """Refuse a token that could be guessed, or that an Authorization header could not carry (RFC 6750 §2.1)."""
    if value and (len(value) < SHORTEST_METRICS_TOKEN or _BEARER_TOKEN.fullmatch(value) is None):
        raise ValidationError(f"Must be at least {SHORTEST_METRICS_TOKEN} letters, digits and any of -._~+/=.")


def not_blank(value: str) -> None:
    """Refuse what is empty or blank."""
    if not value.strip():
        raise ValidationError("Must not be blank.")


def log_level(value: str) -> None:
    """Refuse what is no level of the standard library's logging."""
    if value.lower() not in ("debug", "info", "warning", "error", "critical"):
        raise ValidationError("Must be one of debug, info, warning, error, critical.")


def postgresql_url(value: str) -> None:
    """Refuse what is no URL of a PostgreSQL database."""
    try:
        url = make_url(value)
        PGDialect_psycopg2().create_connect_args(url)  # type: ignore[no-untyped-call]  # of several hosts, too
    except (ArgumentError, ValueError):
        url = None
    if url is None or url.drivername.partition("+")[0] not in ("postgresql", "postgres") or not url.database:
        raise ValidationError("Must be a URL like postgresql://user:password@host:5432/database.")


def blank_or_redis_url(value: str) -> None:
    """Refuse what is neither empty nor a URL of Redis."""
    match = _REDIS_URL.fullmatch(value)
    if value and (match is None or int(match["port"] or 1) > MAX_PORT):
        raise ValidationError("Must be a URL like redis://:password@host:6379/0.")


def blank_or_sentry_dsn(value: str) -> None:
    """Refuse what is neither empty nor what Sentry calls a DSN: where errors go, and the key to send them with."""
    try:
        if value:
            Dsn(value)
    except (BadDsn, ValueError):
        raise ValidationError("Must be a DSN like https://key@errors.example.com/1.") from None


def blank_or_http_url(value: str) -> None:
    """Refuse what is neither empty nor a plain http or https _URL."""
    if value and _URL.fullmatch(value) is None:
        raise ValidationError("Must be a URL like https://tenant.eu.auth0.com/.")


def host_name(value: str) -> None:
    """Refuse what is no host name."""
    if _URL.fullmatch(f"https://{value}") is None or "/" in value:
        raise ValidationError("Must be a host name like tenant.eu.auth0.com, without https://.")


def exact_origins(values: list[str]) -> None:
    """Refuse lists that hold anything but exact origins."""
    for value in filter(None, (value.strip() for value in values)):
        # Exact origins only (RFC 6454 §6.2): a pattern or `null` lets in more than it says.
        if _URL.fullmatch(value) is None or value.endswith("/"):
            raise ValidationError("Must be origins like https://app.example.com, separated by commas.")


def demo_accounts(values: list[str]) -> None:
    """Refuse lists that hold anything but an e-mail address and a password each, or too many of them."""
    found = [value.strip() for value in values if value.strip()]
    if len(found) > MAX_DEMO_ACCOUNTS or not all(map(_DEMO_ACCOUNT.fullmatch, found)):
        raise ValidationError(f"Must be at most {MAX_DEMO_ACCOUNTS} like email:password, separated by commas.")

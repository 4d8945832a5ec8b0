"""Wrong guesses at the login throttle of the app in this process, and the rows that it keeps of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from itertools import count
from uuid import uuid4

from sqlalchemy import text

from app.auth import login_throttle
from app.db.session import transaction
from app.errors import InvalidCredentials, TooManyRequests
from app.settings import LoginLimits
from tests.support.logins import count_rows

__all__ = ["LIMITS", "count_rows", "emptied_table", "flood", "guess"]

LIMITS = LoginLimits(max_failures=5, lockout_seconds=300, backoff_base_ms=200)
_number = count(1)


@contextmanager
def emptied_table() -> Iterator[None]:
    """The app's own table, which other tests roll back, is emptied afterwards."""
    try:
        yield
    finally:
        with transaction() as session:
            session.execute(text("TRUNCATE login_attempts"))


def guess(_: int = 0, email: str | None = None) -> bool:
    """One wrong guess, at an account of its own unless told otherwise; tells whether it was let through."""
    email = email or f"{uuid4().hex}@example.com"
    address = str(IPv4Address("10.0.0.0") + next(_number))
    try:
        with login_throttle.attempt(LIMITS, email=email, client_address=address):
            raise InvalidCredentials("wrong")
    except InvalidCredentials:
        return True
    except TooManyRequests:
        return False


def flood(rows: int, *, seconds_left: int) -> None:
    """Insert rows of failing attempts, each of another account."""
    with transaction() as session:
        session.execute(
            text("""
            INSERT INTO login_attempts (account, address, attempts, failures, counted_until, expires_at)
            SELECT sha256(gen_random_uuid()::text::bytea), '192.0.2.1', 1, 1, until, until
            FROM generate_series(1, :rows), (SELECT clock_timestamp() + :left * interval '1 second' AS until) AS u
            """),
            {"rows": rows, "left": seconds_left},
        )

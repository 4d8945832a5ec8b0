"""Login attempts in tests of the throttle. Time passes by moving the times in the table, without sleeping."""

from datetime import timedelta
from typing import Any

from flask.testing import FlaskClient
from sqlalchemy import select, text, update
from werkzeug.test import TestResponse

from app.auth import login_throttle
from app.db.session import transaction
from app.models import LoginAttempts
from tests.support.assertions import assert_error
from tests.support.processes.tenant import PASSWORD, TenantProcess

LOGIN = "/api/v1/auth/auth0/login"
WRONG = "Wrong-horse-8"
HOME = "192.0.2.1"
MAX_FAILURES, LOCKOUT_SECONDS = 5, 300  # the settings' defaults


class Logins:
    """Login attempts, and the number of them that the tenant has judged."""

    def __init__(self, client: FlaskClient, tenant: TenantProcess) -> None:
        self._client = client
        self._tenant = tenant

    def attempt(self, email: str, password: str = PASSWORD, address: str = HOME, **headers: str) -> TestResponse:
        body = {"email": email, "password": password}
        return self._client.post(LOGIN, json=body, environ_base={"REMOTE_ADDR": address}, headers=headers)

    def fail(self, times: int, email: str, address: str = HOME) -> None:
        """Send wrong passwords, each after the back-off of the one before."""
        for _ in range(times):
            assert_error(self.attempt(email, WRONG, address), 401, "INVALID_CREDENTIALS")
            time_passes(10)

    def judged(self) -> int:
        """The number of attempts in this test that reached the tenant."""
        return int(self._tenant.counters()["endpoints"]["token"])


def time_passes(seconds: float) -> None:
    """Make every row this much older."""
    ago = timedelta(seconds=seconds)
    times = ("counted_until", "blocked_until", "succeeded_at", "expires_at")
    with transaction() as session:
        session.execute(update(LoginAttempts).values({name: getattr(LoginAttempts, name) - ago for name in times}))


def row_of(email: str, address: str = "") -> LoginAttempts:
    """The row of an account for one address, or for all addresses."""
    with transaction() as session:
        key = {"account": login_throttle.account_of(email), "address": address}
        return session.scalars(select(LoginAttempts).filter_by(**key)).one()


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


def assert_refused(answer: TestResponse, seconds: int = LOCKOUT_SECONDS) -> dict[str, Any]:
    """Check for a 429 with at most this `Retry-After`, and return its body without the request id."""
    body = assert_error(answer, 429, "RATE_LIMITED")
    assert int(answer.headers["Retry-After"]) <= seconds
    return body | {"request_id": ""}

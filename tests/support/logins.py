"""Who logs in, in tests of the throttle; and time, which passes by moving what is in the table: nobody sleeps."""

from datetime import timedelta
from typing import Any

from flask.testing import FlaskClient
from sqlalchemy import func, select, update
from werkzeug.test import TestResponse

from app.auth import throttle
from app.database import transaction
from app.models import LoginAttempts
from tests.support.processes.tenant import PASSWORD, TenantProcess

LOGIN = "/api/v1/auth/auth0/login"
WRONG = "Wrong-horse-8"
HOME, ELSEWHERE = "192.0.2.1", "198.51.100.7"
MAX_FAILURES, LOCKOUT_SECONDS = 5, 300  # the settings' defaults


class Logins:
    """Attempts to log in, and how many of them the tenant has judged."""

    def __init__(self, client: FlaskClient, tenant: TenantProcess) -> None:
        self._client = client
        self._tenant = tenant

    def attempt(self, email: str, password: str = PASSWORD, address: str = HOME, **headers: str) -> TestResponse:
        """One attempt, from an address."""
        body = {"email": email, "password": password}
        return self._client.post(LOGIN, json=body, environ_base={"REMOTE_ADDR": address}, headers=headers)

    def fail(self, times: int, email: str, address: str = HOME) -> None:
        """Guess wrongly, each time as soon as there is no need to wait any more."""
        for _ in range(times):
            answer = self.attempt(email, WRONG, address)
            assert answer.status_code == 401, answer.text
            time_passes(10)

    def judged(self) -> int:
        """How many the tenant has been asked about in this test."""
        return int(self._tenant.counters()["endpoints"]["token"])


def time_passes(seconds: float) -> None:
    """Let everything that is counted be so much older."""
    ago = timedelta(seconds=seconds)
    times = ("counted_until", "blocked_until", "succeeded_at", "expires_at")
    with transaction() as session:
        session.execute(update(LoginAttempts).values({name: getattr(LoginAttempts, name) - ago for name in times}))


def row_of(email: str, address: str = "") -> LoginAttempts:
    """What is counted of an account from one address, or from everywhere."""
    with transaction() as session:
        key = {"account": throttle.account_of(email), "address": address}
        return session.scalars(select(LoginAttempts).filter_by(**key)).one()


def count_rows(*conditions: Any) -> int:
    """How many rows there are."""
    with transaction() as session:
        return session.scalars(select(func.count()).select_from(LoginAttempts).where(*conditions)).one()


def assert_refused(answer: TestResponse, seconds: int = LOCKOUT_SECONDS) -> dict[str, Any]:
    """It is a refusal that says to wait, at most so many seconds; its body without what differs each time."""
    assert answer.status_code == 429, answer.text
    assert 0 < int(answer.headers["Retry-After"]) <= seconds
    body = dict(answer.json or {})
    assert body["code"] == "RATE_LIMITED"
    return body | {"request_id": ""}

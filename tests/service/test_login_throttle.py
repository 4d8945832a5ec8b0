"""What the login throttle promises of many attempts at once: two real workers, and a table that stays small."""

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address
from itertools import count
from threading import Barrier
from uuid import uuid4

import psycopg2
import pytest
import requests
from flask import Flask
from sqlalchemy import Engine, func, select, text

from app.auth import login_attempts, throttle
from app.database import transaction
from app.errors import InvalidCredentials, TooManyRequests
from app.models import LoginAttempts
from app.settings import LoginLimits, Settings
from tests.support.processes.service import ServiceProcess
from tests.support.processes.tenant import PASSWORD, TenantProcess
from tests.support.waiting import until

LOGIN = "/api/v1/auth/auth0/login"
AT_ONCE = 100
MAX_FAILURES = 5
WORKERS = 8
LIMITS = LoginLimits(max_failures=MAX_FAILURES, lockout_seconds=300, backoff_base_ms=200)
_number = count(1)


@pytest.fixture(scope="module")
def database_url(database_url_factory: Callable[[], str]) -> str:
    return database_url_factory()


@pytest.fixture(scope="module")
def service(database_url: str, tenant: TenantProcess) -> Iterator[ServiceProcess]:
    """Two workers that know no back-off, so that exactly as many guesses pass as may fail."""
    limits = {"LOGIN_MAX_FAILURES": str(MAX_FAILURES), "LOGIN_BACKOFF_BASE_MS": "0"}
    with ServiceProcess({"DATABASE_URL": database_url, **tenant.env(), **limits}) as running:
        yield running


@pytest.fixture
def email(tenant: TenantProcess) -> Iterator[str]:
    """An account whose password is PASSWORD, at a tenant that counts from zero, and works for others afterwards."""
    address = f"{uuid4().hex[:12]}@example.com"
    tenant.reset()
    tenant.add_user(address)
    yield address
    tenant.reset()


def log_in(service: ServiceProcess, email: str, password: str) -> requests.Response:
    headers = {"Connection": "close"}  # a connection for each, so that they reach either worker
    return service.request("POST", LOGIN, json={"email": email, "password": password}, headers=headers)


def guess_at_once(service: ServiceProcess, email: str) -> Counter[int]:
    with ThreadPoolExecutor(AT_ONCE) as threads:
        answers = threads.map(lambda number: log_in(service, email, f"Wrong-horse-{number}"), range(AT_ONCE))
        return Counter(answer.status_code for answer in answers)


def counted(database_url: str, email: str) -> list[tuple[int, int]]:
    """Attempts and failures of the account: from everywhere, then from each address."""
    connection = psycopg2.connect(database_url.replace("+psycopg2", ""))
    try:
        with connection.cursor() as cursor:
            query = "SELECT attempts, failures FROM login_attempts WHERE account = %s ORDER BY address"
            cursor.execute(query, [throttle.account_of(email)])
            return list(cursor.fetchall())
    finally:
        connection.close()


class TestWorkers:
    @pytest.mark.attack("logins")
    def test_of_a_hundred_guesses_at_once_all_are_counted_and_five_are_judged(
        self, service: ServiceProcess, tenant: TenantProcess, database_url: str, email: str
    ) -> None:
        assert guess_at_once(service, email) == {401: MAX_FAILURES, 429: AT_ONCE - MAX_FAILURES}
        assert counted(database_url, email) == [(AT_ONCE, MAX_FAILURES)] * 2
        assert tenant.counters()["endpoints"]["token"] == MAX_FAILURES

    @pytest.mark.attack("logins")
    def test_a_lockout_survives_a_restart(
        self, service: ServiceProcess, tenant: TenantProcess, database_url: str, email: str
    ) -> None:
        guess_at_once(service, email)
        service.stop()
        service.start()
        for _ in range(10):  # so that either worker is asked
            assert log_in(service, email, PASSWORD).status_code == 429
        assert tenant.counters()["endpoints"]["token"] == MAX_FAILURES

    @pytest.mark.attack("logins")
    def test_a_worker_that_dies_while_the_tenant_is_asked_leaves_the_guess_counted(
        self, service: ServiceProcess, tenant: TenantProcess, database_url: str, email: str
    ) -> None:
        tenant.fault("token", "slow", seconds=60)
        with ThreadPoolExecutor() as threads:
            guessed = threads.submit(log_in, service, email, "Wrong-horse-9")
            until(lambda: tenant.counters()["endpoints"]["token"] == 1)
            for pid in service.worker_pids():
                os.kill(pid, signal.SIGKILL)
            assert isinstance(guessed.exception(), requests.ConnectionError)
        assert counted(database_url, email) == [(1, 1)] * 2

    def test_nothing_of_all_this_was_unexpected(self, service: ServiceProcess) -> None:
        assert "unexpected_error" not in service.log()


@pytest.fixture
def table(app: Flask, engine: Engine) -> Iterator[None]:
    """The app's own table, which others roll back: emptied afterwards."""
    yield
    with transaction() as session:
        session.execute(text("TRUNCATE login_attempts"))


def guess(_: int = 0, email: str | None = None) -> bool:
    """One wrong guess, at an account of its own unless told otherwise; tells whether it was let through."""
    email = email or f"{uuid4().hex}@example.com"
    address = str(IPv4Address("10.0.0.0") + next(_number))
    try:
        with throttle.attempt(LIMITS, email=email, client_address=address):
            raise InvalidCredentials("wrong")
    except InvalidCredentials:
        return True
    except TooManyRequests:
        return False


def count_rows() -> int:
    with transaction() as session:
        return session.scalars(select(func.count()).select_from(LoginAttempts)).one()


def flood(rows: int, *, seconds_left: int) -> None:
    """So many failing pairs, put there by hand."""
    with transaction() as session:
        session.execute(
            text("""
            INSERT INTO login_attempts (account, address, attempts, failures, counted_until, expires_at)
            SELECT sha256(n::text::bytea), '192.0.2.1', 1, 1, until, until
            FROM generate_series(1, :rows) AS n, LATERAL (SELECT now() + :left * interval '1 second' AS until) AS u
            """),
            {"rows": rows, "left": seconds_left},
        )


@pytest.mark.usefixtures("table")
class TestTable:
    def test_no_connection_is_held_while_the_tenant_is_asked(self, settings: Settings) -> None:
        at_once = 2 * (settings.db_pool_size + settings.db_max_overflow)
        all_are_asking = Barrier(at_once, timeout=30)

        def ask(number: int) -> None:
            with throttle.attempt(LIMITS, email=f"{number}@example.com", client_address="192.0.2.1"):
                all_are_asking.wait()

        with ThreadPoolExecutor(at_once) as threads:
            list(threads.map(ask, range(at_once)))

    @pytest.mark.attack("logins")
    def test_a_flood_of_failing_pairs_leaves_it_bounded(self) -> None:
        flood(100_000, seconds_left=250)
        # Each new row trims its slot, so that many trim every one.
        with ThreadPoolExecutor(WORKERS) as threads:
            assert all(threads.map(guess, range(2_000)))
        assert count_rows() <= login_attempts.MAX_FAILING_ROWS + WORKERS

    def test_what_expired_is_removed_faster_than_rows_are_added(self) -> None:
        flood(20_000, seconds_left=-1)
        with ThreadPoolExecutor(WORKERS) as threads:
            assert all(threads.map(guess, range(500)))
        # Who cleans at once may look at the same rows; then one leaves them to the other.
        removed = 500 * login_attempts.EXPIRED_REMOVED_AT_ONCE // WORKERS
        assert count_rows() <= 20_000 + 2 * 500 - removed

    def test_cleaning_neither_waits_for_nor_removes_what_somebody_else_holds(self, engine: Engine) -> None:
        flood(100, seconds_left=-1)
        with engine.connect() as connection, connection.begin():
            connection.execute(select(LoginAttempts.account).with_for_update())
            assert guess()
            assert count_rows() == 100 + 2
        assert guess()
        assert count_rows() == 100 + 4 - login_attempts.EXPIRED_REMOVED_AT_ONCE

    @pytest.mark.attack("logins")
    def test_one_account_from_many_addresses_at_once_is_counted_without_a_gap(self) -> None:
        email = f"{uuid4().hex}@example.com"
        with ThreadPoolExecutor(WORKERS) as threads:
            assert all(threads.map(lambda _: guess(email=email), range(300)))
        with transaction() as session:
            of_account = LoginAttempts.account == throttle.account_of(email)
            rows = session.scalars(select(LoginAttempts).where(of_account).order_by(LoginAttempts.address)).all()
        assert (rows[0].attempts, rows[0].failures) == (300, 300)
        assert [(row.attempts, row.failures) for row in rows[1:]] == [(1, 1)] * 300

"""The login throttle with many attempts at once, over two workers."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from uuid import uuid4

import pytest
import requests
from flask import Flask
from sqlalchemy import Engine, select, text

from app.auth import login_attempts, login_throttle
from app.db.session import transaction
from app.errors import InvalidCredentials, TooManyRequests
from app.models import LoginAttempts
from app.settings import LoginLimits, Settings
from tests.support.databases import query
from tests.support.logins import LOGIN, flood
from tests.support.processes.service import ServiceProcess
from tests.support.processes.tenant import PASSWORD, TenantProcess
from tests.support.rows import count_rows
from tests.support.waiting import in_parallel, statuses, until

AT_ONCE = 100
MAX_FAILURES = 5
LIMITS = LoginLimits(max_failures=MAX_FAILURES, lockout_seconds=300, backoff_base_ms=200)


@pytest.fixture(scope="module")
def service_settings() -> dict[str, str]:
    """No back-off, so that exactly as many guesses pass as may fail."""
    return {"LOGIN_MAX_FAILURES": str(MAX_FAILURES), "LOGIN_BACKOFF_BASE_MS": "0"}


@pytest.fixture(scope="module", autouse=True)
def nothing_unexpected(service: ServiceProcess) -> Iterator[None]:
    yield
    assert "unexpected_error" not in service.log()


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


def guess_at_once(service: ServiceProcess, email: str) -> dict[int, int]:
    guesses = in_parallel(lambda number: log_in(service, email, f"Wrong-horse-{number}"), AT_ONCE, abreast=AT_ONCE)
    return statuses(guesses)


def counted(database_url: str, email: str) -> list[tuple[int, int]]:
    """Attempts and failures of the account: from everywhere, then from each address."""
    rows = "SELECT attempts, failures FROM login_attempts WHERE account = %s ORDER BY address"
    return query(database_url, rows, login_throttle.account_of(email))


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


@pytest.fixture
def table(app: Flask, engine: Engine) -> Iterator[None]:
    """The app's own table, which other tests roll back, is emptied afterwards."""
    yield
    with transaction() as session:
        session.execute(text("TRUNCATE login_attempts"))


def guess(address: str, email: str | None = None) -> bool:
    """One wrong guess, at an account of its own unless told otherwise; tells whether it was let through."""
    email = email or f"{uuid4().hex}@example.com"
    try:
        with login_throttle.attempt(LIMITS, email=email, client_address=address):
            raise InvalidCredentials("wrong")
    except InvalidCredentials:
        return True
    except TooManyRequests:
        return False


@pytest.mark.usefixtures("table")
class TestTable:
    def test_no_connection_is_held_while_the_tenant_is_asked(self, settings: Settings) -> None:
        at_once = 2 * (settings.db_pool_size + settings.db_max_overflow)
        all_are_asking = Barrier(at_once, timeout=30)

        def ask(number: int) -> None:
            with login_throttle.attempt(LIMITS, email=f"{number}@example.com", client_address="192.0.2.1"):
                all_are_asking.wait()

        with ThreadPoolExecutor(at_once) as threads:
            list(threads.map(ask, range(at_once)))

    def test_cleaning_neither_waits_for_nor_removes_what_somebody_else_holds(self, engine: Engine) -> None:
        flood(100, seconds_left=-1)
        with engine.connect() as connection, connection.begin():
            connection.execute(select(LoginAttempts.account).with_for_update())
            assert guess("10.0.0.1")
            assert count_rows(LoginAttempts) == 100 + 2
        assert guess("10.0.0.1")
        assert count_rows(LoginAttempts) == 100 + 4 - login_attempts.EXPIRED_BATCH_ROWS

    @pytest.mark.attack("logins")
    def test_one_account_from_many_addresses_at_once_is_counted_without_a_gap(self) -> None:
        email = f"{uuid4().hex}@example.com"
        addresses = [f"10.0.{number // 256}.{number % 256}" for number in range(300)]
        guesses = in_parallel(lambda number: guess(addresses[number], email), 300, abreast=8)  # fewer than connections
        assert all(guesses)
        with transaction() as session:
            of_account = LoginAttempts.account == login_throttle.account_of(email)
            rows = session.scalars(select(LoginAttempts).where(of_account).order_by(LoginAttempts.address)).all()
        assert (rows[0].attempts, rows[0].failures) == (300, 300)
        assert [(row.attempts, row.failures) for row in rows[1:]] == [(1, 1)] * 300

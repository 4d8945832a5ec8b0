"""The service's connections to PostgreSQL: their limits, the choice among hosts, an exhausted pool."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from urllib.parse import parse_qs, urlsplit

import psycopg2
from sqlalchemy import Engine, text

from app.db.engine import IDLE_IN_TRANSACTION_TIMEOUT_MS, LOCK_TIMEOUT_MS
from app.settings import Settings
from tests.support.assertions import assert_error
from tests.support.databases import LOCK_WAITS, scalar
from tests.support.processes.service import ServiceProcess
from tests.support.waiting import until


def test_every_limit_of_pool_and_server_is_set(engine: Engine, settings: Settings) -> None:
    pool = engine.pool
    assert pool.size() == settings.db_pool_size + settings.db_max_overflow  # type: ignore[attr-defined]
    assert pool._max_overflow == 0  # type: ignore[attr-defined]
    assert pool.timeout() == settings.db_pool_timeout_seconds  # type: ignore[attr-defined]
    assert pool._recycle == settings.db_pool_recycle_seconds
    with engine.connect() as connection:
        shown = {
            name: connection.scalar(text(f"SELECT setting::int FROM pg_settings WHERE name = '{name}'"))  # noqa: S608
            for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
        }
        assert connection.scalar(text("SHOW timezone")) == "UTC"
    assert shown == {
        "statement_timeout": settings.db_statement_timeout_ms,
        "lock_timeout": LOCK_TIMEOUT_MS,
        "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_TIMEOUT_MS,
    }


def test_of_several_hosts_the_one_that_takes_writes_is_found_for_requests_and_for_wake_ups(
    environment: dict[str, str],
) -> None:
    url = urlsplit(environment["DATABASE_URL"])
    where = parse_qs(url.query)
    hosts = f"host=/nowhere:1&host={where['host'][0]}:{where['port'][0]}&target_session_attrs=read-write"
    with ServiceProcess({**environment, "DATABASE_URL": url._replace(query=hosts).geturl()}, workers=1) as service:
        assert service.request("GET", "/api/v1/categories").status_code == 200
        until(lambda: "\ngearyard_bus_connected 1.0\n" in service.request("GET", "/metrics").text)


def test_a_request_that_finds_the_pool_exhausted_is_told_to_come_again(
    environment: dict[str, str], database_url: str
) -> None:
    small = {"DB_POOL_SIZE": "1", "DB_MAX_OVERFLOW": "0", "DB_POOL_TIMEOUT_SECONDS": "1"}
    with (
        ServiceProcess({**environment, **small}, workers=1) as service,
        ThreadPoolExecutor() as threads,
        closing(psycopg2.connect(database_url)) as holder,
    ):
        holder.cursor().execute("LOCK TABLE equipment IN ACCESS EXCLUSIVE MODE")
        first = threads.submit(service.request, "GET", "/api/v1/equipment")
        until(lambda: scalar(database_url, LOCK_WAITS) == 1)
        assert_error(service.request("GET", "/api/v1/categories"), 503, "SERVICE_UNAVAILABLE")
        assert service.request("GET", "/ready").text == "ready"  # it is busy, not broken
        holder.rollback()
        assert first.result().ok

"""The database as the service meets it in life: behind, away, restarted, locked; and its migrations."""

import json
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg2
import pytest
import requests
from sqlalchemy import Engine, text

from app.database import IDLE_IN_TRANSACTION_TIMEOUT_MS, LOCK_TIMEOUT_MS
from app.settings import Settings
from deploy.local.cluster import PostgresCluster
from tests.support.databases import alembic
from tests.support.processes.service import ServiceProcess
from tests.support.processes.tenant import TenantProcess
from tests.support.waiting import until


@pytest.fixture(scope="module")
def fragile(own_cluster: PostgresCluster, tenant: TenantProcess) -> Iterator[ServiceProcess]:
    """A service of one worker on that cluster."""
    environment = {"DATABASE_URL": own_cluster.url("gearyard"), **tenant.env(), "LOG_JSON": "true"}
    with ServiceProcess(environment, workers=1) as service:
        yield service


def test_migrations_go_up_down_and_up_again(database_url_factory: Callable[[], str]) -> None:
    url = database_url_factory()
    alembic(url, "downgrade", "base")
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'spatial_ref_sys'")
        assert cursor.fetchone() == (1,)  # alembic's own
    alembic(url, "upgrade", "head")
    alembic(url, "check")


def test_every_limit_of_pool_and_server_is_set(engine: Engine, settings: Settings) -> None:
    pool = engine.pool
    assert pool.kept == settings.db_pool_size  # type: ignore[attr-defined]
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


def test_a_schema_that_is_behind_is_not_ready_and_a_later_one_is(
    cluster: PostgresCluster, database_url_factory: Callable[[], str], tenant: TenantProcess
) -> None:
    url = database_url_factory()
    with ServiceProcess({"DATABASE_URL": url, **tenant.env()}, workers=1) as service:
        alembic(url, "downgrade", "0001")
        answer = service.request("GET", "/ready")
        assert answer.status_code == 503
        assert answer.json()["message"] == "The database schema is behind this code."
        assert "schema 0001" in service.log()
        assert service.request("GET", "/health").text == "ok"
        alembic(url, "upgrade", "head")
        assert service.request("GET", "/ready").text == "ready"
        # The next release has migrated, and this one has not been replaced yet.
        with psycopg2.connect(url) as connection:
            connection.cursor().execute("UPDATE alembic_version SET version_num = 'later'")
        service.stop()
        service.start()
        assert service.request("GET", "/ready").text == "ready"


def test_of_several_hosts_the_one_that_takes_writes_is_found_for_requests_and_for_wake_ups(
    database_url_factory: Callable[[], str], tenant: TenantProcess
) -> None:
    url = urlsplit(database_url_factory())
    where = parse_qs(url.query)
    hosts = f"host=/nowhere:1&host={where['host'][0]}:{where['port'][0]}&target_session_attrs=read-write"
    environment = {"DATABASE_URL": url._replace(query=hosts).geturl(), **tenant.env()}
    with ServiceProcess(environment, workers=1) as service:
        assert service.request("GET", "/api/v1/categories").status_code == 200
        until(lambda: "\ngearyard_bus_connected 1.0\n" in service.request("GET", "/metrics").text)


def test_a_query_that_waits_does_not_stop_the_worker(own_cluster: PostgresCluster, fragile: ServiceProcess) -> None:
    with psycopg2.connect(own_cluster.url("gearyard")) as holder, ThreadPoolExecutor() as threads:
        holder.cursor().execute("LOCK TABLE equipment IN ACCESS EXCLUSIVE MODE")
        # Different ones, as those who ask for the same at once share one search.
        lists = [f"/api/v1/equipment?limit={number}" for number in range(1, 6)]
        waiting = [threads.submit(fragile.request, "GET", path) for path in lists]
        until(lambda: _waiting_backends(own_cluster) == len(waiting))
        assert fragile.request("GET", "/health").text == "ok"
        assert fragile.request("GET", "/api/v1/categories").status_code == 200
        assert not any(answer.done() for answer in waiting)
        answers = [answer.result() for answer in waiting]
    # Nobody waits for a lock for ever: the limit ends it, and the client is told to come again.
    assert {answer.status_code for answer in answers} == {503}
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in answers)
    # The log tells which of the requests that ran at the same time waited for the database.
    lines = [json.loads(line) for line in fragile.log().splitlines()]
    waits = {line["route"]: (line["queries"], line["query_ms"]) for line in lines if line["event"] == "request"}
    assert waits["/health"] == (0, 0)
    assert waits["/api/v1/equipment"][0] == waits["/api/v1/categories"][0] == 1
    assert waits["/api/v1/equipment"][1] >= LOCK_TIMEOUT_MS > waits["/api/v1/categories"][1]


def _waiting_backends(cluster: PostgresCluster) -> int:
    return int(
        cluster.psql("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'equipment'::regclass", "gearyard")
    )


def test_a_request_that_finds_the_pool_exhausted_is_told_to_come_again(
    own_cluster: PostgresCluster, tenant: TenantProcess
) -> None:
    small = {"DB_POOL_SIZE": "1", "DB_MAX_OVERFLOW": "0", "DB_POOL_TIMEOUT_SECONDS": "1"}
    environment = {"DATABASE_URL": own_cluster.url("gearyard"), **tenant.env(), **small}
    with (
        ServiceProcess(environment, workers=1) as service,
        psycopg2.connect(own_cluster.url("gearyard")) as holder,
        ThreadPoolExecutor() as threads,
    ):
        holder.cursor().execute("LOCK TABLE equipment IN ACCESS EXCLUSIVE MODE")
        first = threads.submit(service.request, "GET", "/api/v1/equipment")
        until(lambda: _waiting_backends(own_cluster) == 1)
        answer = service.request("GET", "/api/v1/categories")
        assert answer.status_code == 503
        assert answer.json()["code"] == "SERVICE_UNAVAILABLE"
        assert service.request("GET", "/ready").text == "ready"  # it is busy, not broken
        first.result()


def test_a_server_that_freezes_is_given_up_on(own_cluster: PostgresCluster, fragile: ServiceProcess) -> None:
    assert own_cluster.process is not None
    server_pids = _pids_of(own_cluster)
    _signal(server_pids, "STOP")
    try:
        assert fragile.request("GET", "/ready").status_code == 503
        assert fragile.request("GET", "/api/v1/equipment").status_code == 503
        assert fragile.request("GET", "/health").text == "ok"
    finally:
        _signal(server_pids, "CONT")
    until(lambda: fragile.request("GET", "/api/v1/equipment").status_code == 200)


def test_after_a_crash_of_the_server_requests_succeed_again(
    own_cluster: PostgresCluster, fragile: ServiceProcess
) -> None:
    assert fragile.request("GET", "/api/v1/equipment").status_code == 200
    own_cluster.kill()
    away = fragile.request("GET", "/api/v1/equipment")
    assert away.status_code == 503
    assert away.json()["code"] == "SERVICE_UNAVAILABLE"
    assert int(away.headers["Retry-After"]) > 0
    assert fragile.request("GET", "/ready").status_code == 503
    own_cluster.start()
    # The pooled connections are all dead; the first request notices, and succeeds.
    assert fragile.request("GET", "/api/v1/equipment").status_code == 200
    assert fragile.request("GET", "/ready").text == "ready"
    assert "Traceback" not in fragile.log()


def test_a_chunked_body_has_the_same_bound(fragile: ServiceProcess) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(3 * 1024):
            yield b" " * 1024

    try:
        answer = fragile.request(
            "POST", "/api/v1/auth/auth0/login", data=endless(), headers={"Content-Type": "application/json"}
        )
    except requests.ConnectionError:
        return  # refused before all of it was read, which is as good
    assert answer.status_code == 413


def _pids_of(cluster: PostgresCluster) -> list[str]:
    assert cluster.process is not None
    leader = int((cluster.data / "postmaster.pid").read_text().splitlines()[0])
    children = Path(f"/proc/{leader}/task/{leader}/children").read_text().split()
    return [str(leader), *children]


def _signal(pids: list[str], name: str) -> None:
    subprocess.run(["kill", f"-{name}", *pids], check=False)

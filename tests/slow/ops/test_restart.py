"""A restart behind a socket that systemd holds open: connections wait, and none is refused."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest
import requests
from sqlalchemy.engine import make_url

from deploy.local.cluster import PostgresCluster
from deploy.local.processes import wait_until
from tests.support.processes.activated_service import ActivatedService
from tests.support.processes.service import ServiceProcess
from tests.support.processes.tenant import TenantProcess
from tests.support.waiting import until

RESTARTS = 3
CLIENTS = 4
HELD_SECONDS = 2  # below the service's own limit of 3 s for a lock


@pytest.fixture
def activated(
    database_url_factory: Callable[[], str], tenant: TenantProcess, tmp_path: Path
) -> Iterator[ActivatedService]:
    with ActivatedService({"DATABASE_URL": database_url_factory(), **tenant.env()}, tmp_path) as service:
        yield service


def ask_until(stop: Event, service: ActivatedService) -> list[int | str]:
    """The statuses of requests, each on a connection of its own, one after the other."""
    answers: list[int | str] = []
    while not stop.is_set():
        try:
            answers.append(service.request("GET", "/api/v1/categories").status_code)
        except requests.RequestException as error:
            answers.append(repr(error))
    return answers


def test_no_request_fails_while_the_service_restarts(activated: ActivatedService) -> None:
    stop = Event()
    with ThreadPoolExecutor(CLIENTS) as pool:
        asking: list[Future[list[int | str]]] = [pool.submit(ask_until, stop, activated) for _ in range(CLIENTS)]
        try:
            for _ in range(RESTARTS):
                activated.restart()
        finally:
            stop.set()
        answers = [answer for each in asking for answer in each.result()]
    assert set(answers) == {200}
    assert len(answers) > RESTARTS * CLIENTS


def test_a_request_that_is_under_way_is_answered_before_the_service_stops(
    cluster: PostgresCluster, database_url_factory: Callable[[], str], tenant: TenantProcess
) -> None:
    url = database_url_factory()
    database = make_url(url).database or ""
    with ServiceProcess({"DATABASE_URL": url, **tenant.env()}) as service, ThreadPoolExecutor() as threads:
        held = threads.submit(cluster.psql, f"BEGIN; LOCK TABLE categories; SELECT pg_sleep({HELD_SECONDS})", database)
        until(lambda: waiting(cluster, database, "PgSleep"))
        asked = threads.submit(service.request, "GET", "/api/v1/categories")
        until(lambda: waiting(cluster, database, "relation"))
        assert service.stop() == 0
        assert asked.result().status_code == requests.codes.ok
        held.result()


def waiting(cluster: PostgresCluster, database: str, event: str) -> bool:
    """Whether somebody in this database waits for such a thing."""
    found = f"SELECT 1 FROM pg_stat_activity WHERE datname = '{database}' AND wait_event = '{event}'"  # noqa: S608
    return bool(cluster.psql(found))


def test_systemd_is_told_when_it_is_ready(activated: ActivatedService) -> None:
    assert wait_until(lambda: b"READY=1" in activated.notice(), 30)

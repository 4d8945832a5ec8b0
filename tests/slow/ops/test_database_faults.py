"""The database stalls, freezes and crashes: the worker goes on, clients are told to come again, then all is well."""

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg2
import pytest

from app.db.engine import LOCK_TIMEOUT_MS
from deploy.local.cluster import PostgresCluster
from tests.support.assertions import assert_error
from tests.support.databases import LOCK_WAITS, scalar
from tests.support.processes import child_pids
from tests.support.processes.service import ServiceProcess
from tests.support.processes.tenant import TenantProcess
from tests.support.waiting import until


@pytest.fixture(scope="module")
def fragile(own_cluster: PostgresCluster, tenant: TenantProcess) -> Iterator[ServiceProcess]:
    environment = {"DATABASE_URL": own_cluster.url("gearyard"), **tenant.env(), "LOG_JSON": "true"}
    with ServiceProcess(environment, workers=1) as service:
        yield service


def test_a_query_that_waits_does_not_stop_the_worker(own_cluster: PostgresCluster, fragile: ServiceProcess) -> None:
    url = own_cluster.url("gearyard")
    with closing(psycopg2.connect(url)) as holder, ThreadPoolExecutor() as threads:
        holder.cursor().execute("LOCK TABLE equipment IN ACCESS EXCLUSIVE MODE")
        lists = [f"/api/v1/equipment?limit={number}" for number in range(1, 6)]
        waiting = [threads.submit(fragile.request, "GET", path) for path in lists]
        until(lambda: scalar(url, LOCK_WAITS) == len(waiting))
        assert fragile.request("GET", "/health").text == "ok"
        assert fragile.request("GET", "/api/v1/categories").status_code == 200
        assert not any(answer.done() for answer in waiting)
        answers = [answer.result() for answer in waiting]
    # Nobody waits for a lock for ever: the limit ends it, and the client is told to come again.
    for answer in answers:
        assert_error(answer, 503, "SERVICE_UNAVAILABLE")
    # The log tells which of the requests that ran at the same time waited for the database.
    lines = [json.loads(line) for line in fragile.log().splitlines()]
    waits = {line["route"]: (line["queries"], line["query_ms"]) for line in lines if line["event"] == "request"}
    assert waits["/health"] == (0, 0)
    assert waits["/api/v1/equipment"][0] == waits["/api/v1/categories"][0] == 1
    assert waits["/api/v1/equipment"][1] >= LOCK_TIMEOUT_MS > waits["/api/v1/categories"][1]


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
    assert_error(fragile.request("GET", "/api/v1/equipment"), 503, "SERVICE_UNAVAILABLE")
    assert fragile.request("GET", "/ready").status_code == 503
    own_cluster.start()
    # The pooled connections are all dead; the first request notices, and succeeds.
    assert fragile.request("GET", "/api/v1/equipment").status_code == 200
    assert fragile.request("GET", "/ready").text == "ready"
    assert "Traceback" not in fragile.log()


def _pids_of(cluster: PostgresCluster) -> list[int]:
    assert cluster.process is not None
    leader = int((cluster.data / "postmaster.pid").read_text().splitlines()[0])
    return [leader, *child_pids(leader)]


def _signal(pids: list[int], name: str) -> None:
    subprocess.run(["kill", f"-{name}", *map(str, pids)], check=False)

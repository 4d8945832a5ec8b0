"""Idempotency-Key while workers and the database die in the middle: no request has no effect, and none has two."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from uuid import uuid4

import pytest
import requests

from deploy.local.cluster import PostgresCluster
from tests.support.assertions import assert_error
from tests.support.databases import query
from tests.support.keyed_client import KeyedClient, held, listings
from tests.support.processes.service import ServiceProcess
from tests.support.processes.tenant import TenantProcess
from tests.support.users import new_user
from tests.support.waiting import until

KEYS = 80
TABLES = pytest.mark.parametrize("table", ["equipment", "idempotency_keys"])


@pytest.fixture(scope="module")
def database_url(own_cluster: PostgresCluster) -> str:
    return own_cluster.url("gearyard")


@pytest.fixture(scope="module")
def workers(environment: dict[str, str]) -> Iterator[ServiceProcess]:
    with ServiceProcess(environment, workers=3) as running:
        yield running


@pytest.fixture
def client(workers: ServiceProcess, tenant: TenantProcess) -> KeyedClient:
    return KeyedClient(new_user(workers, tenant))


@TABLES
def test_a_worker_that_dies_in_the_middle_leaves_nothing_and_the_next_creates_one_listing(
    database_url: str, workers: ServiceProcess, client: KeyedClient, table: str
) -> None:
    """While the listing is inserted, and while the answer is to be kept."""
    with held(database_url, client, table=table) as first:
        kill_workers(workers)
        with pytest.raises(requests.ConnectionError):
            first.result()
    made = client.send_until_answered()
    assert client.send().content == made.content
    assert listings(database_url, client.title) == 1


@TABLES
def test_a_database_that_dies_in_the_middle_leaves_nothing_and_the_next_creates_one_listing(
    own_cluster: PostgresCluster, database_url: str, workers: ServiceProcess, client: KeyedClient, table: str
) -> None:
    with held(database_url, client, table=table) as first:
        own_cluster.kill()
        assert_error(first.result(), 503, "SERVICE_UNAVAILABLE")
    own_cluster.start()
    assert "Idempotent-Replayed" not in client.send_until_answered().headers
    assert listings(database_url, client.title) == 1
    assert "Traceback" not in workers.log()


def test_after_the_lock_timeout_the_key_can_be_used_again(database_url: str, client: KeyedClient) -> None:
    with held(database_url, client) as first:
        assert first.result().status_code == requests.codes.unavailable
    made = client.send()
    assert made.status_code == requests.codes.created
    assert "Idempotent-Replayed" not in made.headers


def test_workers_that_die_again_and_again_lose_and_double_nothing(
    database_url: str, workers: ServiceProcess, client: KeyedClient
) -> None:
    keys = [uuid4().hex for _ in range(KEYS)]

    def create(key: str) -> requests.Response:
        return client.send_until_answered({**client.body, "title": key}, key)

    with ThreadPoolExecutor(8) as threads:
        answers = [threads.submit(create, key) for key in keys]
        for enough in (10, 30, 50):
            until(partial(are_done, answers, enough))
            kill_workers(workers)
        made = [(key, answer.result().json()["id"]) for key, answer in zip(keys, answers, strict=True)]
    found = query(database_url, "SELECT title, id::text FROM equipment WHERE title = ANY(%s)", keys)
    assert sorted(found) == sorted(made)


def kill_workers(workers: ServiceProcess) -> None:
    """Kill all workers; returns once others are in their place."""
    before = set(workers.worker_pids())
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    until(lambda: len(set(workers.worker_pids()) - before) >= len(before))


def are_done(answers: list[Future[requests.Response]], enough: int) -> bool:
    return sum(answer.done() for answer in answers) >= enough

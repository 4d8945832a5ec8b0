"""Idempotency-Key over real workers: sent at once, and with whatever dies in the middle, it is one thing."""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any
from uuid import uuid4

import psycopg2
import pytest
import requests

from deploy.local.cluster import PostgresCluster
from tests.support.processes.service import ServiceProcess
from tests.support.processes.tenant import TenantProcess
from tests.support.waiting import until

AT_ONCE = 20
DATABASE = "gearyard"
EQUIPMENT = "/api/v1/equipment"
TOO_MANY_ROUNDS = 500


@pytest.fixture(scope="module")
def workers(own_cluster: PostgresCluster, tenant: TenantProcess) -> Iterator[ServiceProcess]:
    """The service on that cluster, with three workers."""
    environment = {"DATABASE_URL": own_cluster.url(DATABASE), **tenant.env()}
    with ServiceProcess(environment, workers=3) as running:
        yield running


class Client:
    """An owner, and what the owner's client sends again and again."""

    def __init__(self, service: ServiceProcess, tenant: TenantProcess) -> None:
        self._service = service
        self.headers = {
            "Authorization": f"Bearer {tenant.token(sub=f'auth0|{uuid4().hex}')}",
            "Idempotency-Key": uuid4().hex,
        }
        self.title = f"Cordless drill {uuid4().hex}"
        service.request("PUT", "/api/v1/users/me/owner-profile", json={"business_info": {}}, headers=self.headers)
        self.body = {
            "category_id": service.request("GET", "/api/v1/categories").json()[0]["id"],
            "title": self.title,
            "description": "18 V with two batteries.",
            "daily_rate": 25,
            "condition": "good",
            "location": "Bern",
        }

    def send(self, path: str = EQUIPMENT, body: Any = None, **headers: str) -> requests.Response:
        """One request, on a connection of its own."""
        sent = {**self.headers, **headers}
        return self._service.request("POST", path, json=self.body if body is None else body, headers=sent)

    def send_until_answered(self, path: str = EQUIPMENT, body: Any = None) -> requests.Response:
        """As a client does that was not answered, or was told to come again."""
        for _ in range(TOO_MANY_ROUNDS):
            try:
                answer = self.send(path, body)
            except requests.ConnectionError:
                continue
            if answer.status_code in (requests.codes.created, requests.codes.ok):
                return answer
            assert answer.status_code in (requests.codes.conflict, requests.codes.unavailable), answer.text
            assert int(answer.headers["Retry-After"]) > 0
        raise AssertionError("it was never answered")


@pytest.fixture
def client(workers: ServiceProcess, tenant: TenantProcess) -> Client:
    return Client(workers, tenant)


def at_once(send: Any) -> list[requests.Response]:
    with ThreadPoolExecutor(AT_ONCE) as threads:
        return list(threads.map(lambda _: send(), range(AT_ONCE)))


def listings(cluster: PostgresCluster, title: str) -> int:
    return int(cluster.psql(f"SELECT count(*) FROM equipment WHERE title = '{title}'", DATABASE))  # noqa: S608


def test_a_post_sent_20_times_at_once_with_one_key_creates_one_thing(
    own_cluster: PostgresCluster, client: Client
) -> None:
    for _ in range(5):
        client.headers["Idempotency-Key"] = uuid4().hex
        client.body["title"] = uuid4().hex
        answers = at_once(client.send)

        assert listings(own_cluster, client.body["title"]) == 1
        assert {answer.status_code for answer in answers} <= {201, 409}
        created = [answer for answer in answers if answer.status_code == requests.codes.created]
        assert sum("Idempotent-Replayed" not in answer.headers for answer in created) == 1
        for answer in answers:
            if answer.status_code == requests.codes.conflict:
                assert answer.json()["code"] == "CONFLICT"
                assert int(answer.headers["Retry-After"]) > 0
        again = at_once(client.send_until_answered)
        assert all(answer.headers["Idempotent-Replayed"] == "true" for answer in again)
        assert {(answer.status_code, answer.content, answer.headers["Location"]) for answer in [*created, *again]} == {
            (201, created[0].content, created[0].headers["Location"])
        }
        assert listings(own_cluster, client.body["title"]) == 1


def test_a_message_sent_20_times_at_once_with_one_key_is_one_message(
    workers: ServiceProcess, tenant: TenantProcess, client: Client
) -> None:
    other = Client(workers, tenant)
    listing = other.send().headers["Location"].rpartition("/")[2]
    begun = client.send("/api/v1/conversations", {"equipment_id": listing})
    path = f"{begun.headers['Location']}/messages"
    client.headers["Idempotency-Key"] = uuid4().hex

    for body in ({"content": "Is it free?"}, {"content": "And now?", "client_msg_id": uuid4().hex}):
        client.headers["Idempotency-Key"] = uuid4().hex
        answers = at_once(partial(client.send, path, body))
        assert {answer.status_code for answer in answers} <= {201, 409}
    messages = workers.request("GET", path, headers=client.headers).json()
    assert [(message["seq"], message["content"]) for message in messages] == [(2, "And now?"), (1, "Is it free?")]


def test_many_keys_at_once_are_many_things(own_cluster: PostgresCluster, client: Client) -> None:
    answers = at_once(lambda: client.send(**{"Idempotency-Key": uuid4().hex}))
    assert Counter(answer.status_code for answer in answers) == {201: AT_ONCE}
    assert listings(own_cluster, client.title) == AT_ONCE


def test_another_body_is_refused_while_and_after_the_first_is_answered(
    own_cluster: PostgresCluster, client: Client
) -> None:
    with in_the_middle(own_cluster, client) as first:
        other = client.send(body={**client.body, "title": "Other drill"})
        assert (other.status_code, other.json()["code"]) == (409, "CONFLICT")
    assert first.result().status_code == requests.codes.created
    other = client.send(body={**client.body, "title": "Other drill"})
    assert (other.status_code, other.json()["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")


def test_nobody_waits_for_the_request_that_is_being_answered(own_cluster: PostgresCluster, client: Client) -> None:
    with in_the_middle(own_cluster, client) as first:
        answers = at_once(client.send)
        assert {answer.status_code for answer in answers} == {409}
        assert not first.done()
    assert first.result().status_code == requests.codes.created
    assert client.send().content == first.result().content
    assert listings(own_cluster, client.title) == 1


def test_a_worker_that_dies_in_the_middle_leaves_nothing_and_the_next_creates_one_thing(
    own_cluster: PostgresCluster, workers: ServiceProcess, client: Client
) -> None:
    with in_the_middle(own_cluster, client) as first:
        kill_workers(workers)
        with pytest.raises(requests.ConnectionError):
            first.result()
    made = client.send_until_answered()
    assert listings(own_cluster, client.title) == 1
    assert client.send().content == made.content
    assert listings(own_cluster, client.title) == 1


def test_a_worker_that_dies_before_it_commits_leaves_nothing(
    own_cluster: PostgresCluster, workers: ServiceProcess, client: Client
) -> None:
    """The listing is made, and the answer is about to be kept."""
    with in_the_middle(own_cluster, client, table="idempotency_keys", mode="SHARE") as first:
        kill_workers(workers)
        with pytest.raises(requests.ConnectionError):
            first.result()
    client.send_until_answered()
    assert listings(own_cluster, client.title) == 1


@pytest.mark.parametrize("table", ["equipment", "idempotency_keys"])
def test_a_database_that_dies_in_the_middle_leaves_nothing_and_the_next_creates_one_thing(
    own_cluster: PostgresCluster, workers: ServiceProcess, client: Client, table: str
) -> None:
    with in_the_middle(own_cluster, client, table=table, mode="SHARE") as first:
        own_cluster.kill()
        answer = first.result()
    assert (answer.status_code, answer.json()["code"]) == (503, "SERVICE_UNAVAILABLE")
    assert int(answer.headers["Retry-After"]) > 0
    own_cluster.start()
    made = client.send_until_answered()
    assert "Idempotent-Replayed" not in made.headers
    assert listings(own_cluster, client.title) == 1
    assert "Traceback" not in workers.log()


def test_a_lock_that_does_not_come_is_given_up_and_asked_for_again(
    own_cluster: PostgresCluster, client: Client
) -> None:
    with in_the_middle(own_cluster, client) as first:
        assert first.result().status_code == requests.codes.unavailable
    made = client.send()
    assert made.status_code == requests.codes.created
    assert "Idempotent-Replayed" not in made.headers


def test_workers_that_die_again_and_again_lose_and_double_nothing(
    own_cluster: PostgresCluster, workers: ServiceProcess, client: Client
) -> None:
    keys = [uuid4().hex for _ in range(4 * AT_ONCE)]

    def create(key: str) -> requests.Response:
        mine = dict(client.body, title=key)
        for _ in range(TOO_MANY_ROUNDS):
            try:
                answer = client.send(body=mine, **{"Idempotency-Key": key})
            except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
                continue
            if answer.status_code == requests.codes.created:
                return answer
        raise AssertionError("it was never answered")

    with ThreadPoolExecutor(8) as threads:
        answers = [threads.submit(create, key) for key in keys]
        for enough in (10, 30, 50):
            until(partial(_are_done, answers, enough))
            kill_workers(workers)
        ids = {key: answer.result().json()["id"] for key, answer in zip(keys, answers, strict=True)}
    for key in keys:
        assert own_cluster.psql(f"SELECT id FROM equipment WHERE title = '{key}'", DATABASE).split() == [ids[key]]  # noqa: S608


def kill_workers(workers: ServiceProcess) -> None:
    """Each dies in the middle of what it does; returns once there are others in their place."""
    before = set(workers.worker_pids())
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    until(lambda: len(set(workers.worker_pids()) - before) >= len(before))


def _are_done(answers: list[Future[requests.Response]], enough: int) -> bool:
    return sum(answer.done() for answer in answers) >= enough


@contextmanager
def in_the_middle(
    cluster: PostgresCluster, client: Client, *, table: str = "equipment", mode: str = "SHARE"
) -> Iterator[Future[requests.Response]]:
    """The client's request has begun, and waits for this table until the block ends."""
    holder = psycopg2.connect(cluster.url(DATABASE))
    try:
        holder.cursor().execute(f"LOCK TABLE {table} IN {mode} MODE")
        with ThreadPoolExecutor() as threads:
            sent = threads.submit(client.send)
            until(lambda: _waits_for(cluster, table))
            yield sent
            if not holder.closed:
                holder.close()
    finally:
        holder.close()


def _waits_for(cluster: PostgresCluster, table: str) -> bool:
    waiting = f"SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = '{table}'::regclass"  # noqa: S608
    return int(cluster.psql(waiting, DATABASE)) > 0

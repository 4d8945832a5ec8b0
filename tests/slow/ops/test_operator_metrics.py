"""What an operator reads at `/metrics` of sockets, the bus, the tenant and the database, over real workers."""

import math
import os
import signal
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from uuid import uuid4

import psycopg2
import pytest
from prometheus_client.multiprocess import MultiProcessCollector
from websockets.exceptions import ConnectionClosed

from tests.support.metrics import directory_of, read
from tests.support.processes.redis import RedisProcess
from tests.support.processes.service import GENEROUS_CHAT, ServiceProcess
from tests.support.processes.tenant import PASSWORD, TenantProcess
from tests.support.users import ChatUser, new_user
from tests.support.waiting import until
from tests.support.ws_client import ChatClient
from tests.support.ws_raw import open_socket

OPEN = "gearyard_open_sockets"
LIMIT = "gearyard_socket_limit"
SOCKETS_A_WORKER = 500
RECEIVED = "gearyard_socket_frames_received_total"
SENT = "gearyard_socket_frames_sent_total"
ENDS = "gearyard_socket_ends_total"
SLOW_CLOSES = "gearyard_socket_slow_closes_total"
STORED = "gearyard_messages_stored_total"
BUS_LAG = "gearyard_bus_lag_seconds_count"
BUS_CONNECTED = "gearyard_bus_connected"
KEY_AGE = "gearyard_jwks_age_seconds"
KEY_FETCHES = "gearyard_jwks_fetches_total"
TENANT_CALLS = "gearyard_tenant_call_duration_seconds_count"
POOL_IN_USE = "gearyard_db_pool_connections_in_use"
POOL_WAITING = "gearyard_db_pool_waiting"
SOCKETS = 6
WAITING = 3
MESSAGES_AT_ONCE = 20


@pytest.fixture(scope="module")
def service_settings() -> dict[str, str]:
    impatient = {"WS_WRITE_TIMEOUT_SECONDS": "3", "WS_OUTBOX_FRAMES": "16"}
    return {**GENEROUS_CHAT, **impatient, "WS_MAX_SOCKETS_PER_WORKER": str(SOCKETS_A_WORKER)}


@pytest.fixture(scope="module")
def service(environment: dict[str, str], parent: Path) -> Iterator[ServiceProcess]:
    with ServiceProcess({**environment, "PROMETHEUS_MULTIPROC_DIR": str(parent)}) as running:
        until(lambda: value(running, BUS_CONNECTED) == 1 and running.log().count("bus_connected") == 2)
        yield running


def value(service: ServiceProcess, name: str, **labels: str) -> float:
    """One series; NaN where there is none."""
    return read(service).get(f"{name} {sorted(labels.items())}", math.nan)


class Growth:
    """What has been added to the counts since this was made."""

    def __init__(self, service: ServiceProcess) -> None:
        self._service = service
        self._before = read(service)

    def of(self, name: str, **labels: str) -> float:
        """By how much one series has grown; from 0, if it is new."""
        key = f"{name} {sorted(labels.items())}"
        return read(self._service).get(key, 0) - self._before.get(key, 0)

    def by(self, name: str, label: str) -> dict[str, float]:
        """By how much the series of this name have grown that have, by a label's value."""
        after = read(self._service)
        growth = {key: after[key] - self._before.get(key, 0) for key in after if key.startswith(f"{name} ")}
        return {key.split(f"('{label}', '")[1].split("'")[0]: grown for key, grown in growth.items() if grown}


def test_open_sockets_rise_and_fall_over_all_workers(service: ServiceProcess, ada: ChatUser) -> None:
    before = Growth(service)
    with ExitStack() as stack:
        for number in range(1, SOCKETS + 1):
            stack.enter_context(ChatClient(ada))
            until(lambda number=number: value(service, OPEN) == number)  # type: ignore[misc]
    until(lambda: value(service, OPEN) == 0)
    until(lambda: before.by(ENDS, "code") == {"1000": SOCKETS})


def test_frames_count_by_type_and_what_is_none_as_other(service: ServiceProcess, ada: ChatUser, talk: str) -> None:
    before = Growth(service)
    with ChatClient(ada) as client:
        client.say("message", conversation_id=talk, content="Hello", client_msg_id="1")
        client.say("message", conversation_id=talk, content="Hello", client_msg_id="1")
        client.say("sync", conversation_id=talk, after_seq=0)
        client.say("read", conversation_id=talk)
        client.find("sync")
        for made_up in ("nothing", "nothing-else"):
            client.say(made_up)
            client.find("error")
        for broken in ("{", "[]", '{"type": 1}', b"binary"):
            client.ws.send(broken)
            client.find("error")
        client.say("ping")
        client.find("pong")
    received = {"auth": 1, "message": 2, "sync": 1, "read": 1, "ping": 1, "other": 6}
    until(lambda: before.by(RECEIVED, "type") == received)
    until(lambda: before.by(SENT, "type").items() >= {"ready": 1, "ack": 2, "sync": 1, "error": 6, "pong": 1}.items())
    assert before.of(STORED) == 1  # once for its client_msg_id


def test_messages_of_both_ways_count_and_each_wake_up_that_was_acted_upon(
    service: ServiceProcess, ada: ChatUser, ben: ChatUser, talk: str
) -> None:
    before = Growth(service)
    with ChatClient(ben) as listener:
        ada.send(talk, "Over REST")
        assert listener.expect("message")["content"] == "Over REST"
        until(lambda: before.of(BUS_LAG) == 1)
        until(lambda: before.of(SENT, type="message") == 1)
    with ChatClient(ada) as writer:
        writer.say("message", conversation_id=talk, content="Over a socket", client_msg_id="1")
        writer.find("ack")
    until(lambda: before.of(STORED) == 2)


def test_only_who_brings_cursors_resumes(service: ServiceProcess, ada: ChatUser, talk: str) -> None:
    before = Growth(service)
    with ChatClient(ada), ChatClient(ada, version=1), ChatClient(ada, cursors={talk: 0}):
        until(lambda: before.of("gearyard_socket_resumes_total") == 1)


def test_an_end_counts_by_its_code_and_a_code_that_a_client_made_up_as_other(
    service: ServiceProcess, ada: ChatUser
) -> None:
    before = Growth(service)
    for code in (1001, 4002, 4500, 3999):
        ChatClient(ada).ws.close(code)
    with ChatClient(ada) as refused:
        refused.say("auth", token="made-up", v=2)  # noqa: S106
        assert refused.close_code() == 4500
    until(lambda: before.by(ENDS, "code") == {"1001": 1, "4500": 1, "other": 3})
    assert before.of(SLOW_CLOSES) == 0


def test_typing_that_is_left_out_counts_and_so_does_a_socket_that_is_too_slow(
    service: ServiceProcess, ada: ChatUser, ben: ChatUser, talk: str
) -> None:
    before = Growth(service)
    with open_socket(ben, is_narrow=True), ChatClient(ada) as writer, ThreadPoolExecutor(1) as threads:
        hearing = threads.submit(hear_all, writer)
        while not before.of("gearyard_socket_outbox_drops_total"):
            for _ in range(MESSAGES_AT_ONCE):
                writer.say("message", conversation_id=talk, content="y" * 5000, client_msg_id=uuid4().hex)
            writer.say("typing", conversation_id=talk, is_typing=True)
        until(lambda: before.of(SLOW_CLOSES) == 1)
        until(lambda: before.of(ENDS, code="4002") == 1)
        writer.close()
        hearing.result()


def hear_all(client: ChatClient) -> None:
    with suppress(ConnectionClosed):
        while True:
            client.ws.recv()


def sockets_of(parent: Path, pid: int) -> float:
    files = [str(directory_of(parent) / f"gauge_livesum_{pid}.db")]
    metrics = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]
    return float(sum(sample.value for metric in metrics for sample in metric.samples if sample.name == OPEN))


def test_a_worker_that_is_killed_leaves_no_gauge(service: ServiceProcess, parent: Path, ada: ChatUser) -> None:
    with ExitStack() as stack:
        for _ in range(SOCKETS):
            stack.enter_context(ChatClient(ada))
        until(lambda: value(service, OPEN) == SOCKETS)
        victim = max(service.worker_pids(), key=lambda pid: sockets_of(parent, pid))
        lost = sockets_of(parent, victim)
        assert value(service, LIMIT) == 2 * SOCKETS_A_WORKER
        assert lost > 0
        os.kill(victim, signal.SIGKILL)
        until(lambda: len(service.worker_pids()) == 2 and victim not in service.worker_pids())
        until(lambda: value(service, OPEN) == SOCKETS - lost)
        assert not list(directory_of(parent).glob(f"gauge_live*_{victim}.db"))
    until(lambda: value(service, OPEN) == 0)
    until(lambda: value(service, BUS_CONNECTED) == 1)
    until(lambda: value(service, LIMIT) == 2 * SOCKETS_A_WORKER)
    until(lambda: value(service, POOL_IN_USE) == value(service, POOL_WAITING) == 0)


def test_a_bus_that_is_away_shows_and_so_does_what_was_found_without_it(
    environment: dict[str, str], tenant: TenantProcess
) -> None:
    with RedisProcess() as redis, ServiceProcess({**environment, "REDIS_URL": redis.url}) as service:
        ada, ben = new_user(service, tenant), new_user(service, tenant)
        talk = ada.begin(ben)
        until(lambda: service.log().count("bus_connected") == 2)
        until(lambda: value(service, BUS_CONNECTED) == 1)
        with ChatClient(ben) as listener:
            redis.kill()
            until(lambda: value(service, BUS_CONNECTED) == 0)
            ada.send(talk, "Nobody was told")
            assert listener.expect("message")["seq"] == 1
            until(lambda: value(service, "gearyard_bus_wake_ups_reconciled_total") == 1)
            assert value(service, BUS_LAG) == 0  # no wake-up came
            redis.start()
            until(lambda: value(service, BUS_CONNECTED) == 1)
            ada.send(talk, "Back again")
            assert listener.expect("message")["seq"] == 2
            until(lambda: value(service, BUS_LAG) == 1)


def test_keys_and_calls_of_the_tenant(environment: dict[str, str]) -> None:
    with TenantProcess() as tenant, ServiceProcess({**environment, **tenant.env()}) as service:
        assert math.isnan(value(service, KEY_AGE))
        assert value(service, KEY_FETCHES, outcome="ok") == 0
        new_user(service, tenant)
        fetched = value(service, KEY_FETCHES, outcome="ok")
        assert 1 <= fetched <= 2
        assert value(service, TENANT_CALLS, endpoint="jwks", outcome="ok") == fetched
        age = value(service, KEY_AGE)
        assert age >= 0
        until(lambda: value(service, KEY_AGE) > age)

        log_in(service, tenant)

        for _ in range(2):  # the next key is published before it is used
            tenant.control("POST", "keys/rotate", {"mode": "normal"})
        tenant.fault("jwks", "down")
        answer = service.request("GET", "/api/v1/auth/me", headers={"Authorization": f"Bearer {tenant.token()}"})
        assert answer.status_code == 503
        assert value(service, KEY_FETCHES, outcome="failed") == 1
        assert value(service, TENANT_CALLS, endpoint="jwks", outcome="failed") == 1


def log_in(service: ServiceProcess, tenant: TenantProcess) -> None:
    """Sign up, log in, fail to, and fail to because of the tenant: each counts."""
    account = {"email": f"{uuid4().hex}@example.com", "password": PASSWORD}
    assert service.request("POST", "/api/v1/auth/auth0/signup", json=account).ok
    assert service.request("POST", "/api/v1/auth/auth0/login", json=account).ok
    wrong = {**account, "password": "wrong"}
    assert service.request("POST", "/api/v1/auth/auth0/login", json=wrong).status_code == 401
    tenant.fault("token", "error", times=1)
    refresh = {"refresh_token": "made-up"}
    assert service.request("POST", "/api/v1/auth/auth0/refresh", json=refresh).status_code == 503
    assert value(service, TENANT_CALLS, endpoint="signup", outcome="ok") == 1
    for outcome in ("ok", "refused", "failed"):
        assert value(service, TENANT_CALLS, endpoint="token", outcome=outcome) == 1


def test_connections_in_use_and_those_who_wait_for_one(environment: dict[str, str], tenant: TenantProcess) -> None:
    narrow = {"DB_POOL_SIZE": "1", "DB_MAX_OVERFLOW": "0", "DB_POOL_TIMEOUT_SECONDS": "30"}
    with ServiceProcess({**environment, **narrow}) as service:
        until(lambda: value(service, POOL_IN_USE) == value(service, POOL_WAITING) == 0)
        before = Growth(service)
        with (
            closing(psycopg2.connect(environment["DATABASE_URL"])) as holder,
            ThreadPoolExecutor(2 * WAITING) as threads,
        ):
            holder.cursor().execute("LOCK TABLE equipment")
            lists = [f"/api/v1/equipment?limit={number}" for number in range(1, 2 * WAITING + 1)]
            asking = [threads.submit(service.request, "GET", path) for path in lists]
            # Whichever workers got them, one connection each is in use, and all others wait.
            until(lambda: value(service, POOL_IN_USE) + value(service, POOL_WAITING) == 2 * WAITING)
            assert 1 <= value(service, POOL_IN_USE) <= 2
            holder.rollback()
            # The statements that hold a connection may meet the lock timeout; no other request fails.
            statuses = [one.result().status_code for one in asking]
            assert set(statuses) <= {200, 503}
            assert statuses.count(503) <= 2
        until(lambda: value(service, POOL_IN_USE) == value(service, POOL_WAITING) == 0)
        assert before.of("gearyard_db_pool_wait_seconds_count") >= 2 * WAITING


def test_the_counts_are_in_a_private_directory_that_ends_with_the_service(
    environment: dict[str, str], tmp_path: Path
) -> None:
    parent = tmp_path / "metrics"
    with ServiceProcess({**environment, "PROMETHEUS_MULTIPROC_DIR": str(parent)}) as service:
        assert stat.S_IMODE(directory_of(parent).stat().st_mode) == 0o700
        assert service.process is not None
        children = service.worker_pids()
        service.process.kill()
        service.process.wait()
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children))
        left = directory_of(parent)  # nobody was there to remove it
        service.start()
        assert directory_of(parent) != left
    assert list(parent.iterdir()) == []

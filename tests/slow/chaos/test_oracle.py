"""Chat loses nothing, whatever breaks: clients write and read while workers, database and bus are broken under them.

`FAULTS` says how many faults; `make faults` asks for many, `make test` for a handful.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import combinations
from random import Random

import pytest

from app.db.engine import LISTENER_NAME
from deploy.local.cluster import PostgresCluster
from tests.slow.chaos.assertions import judge, settle
from tests.slow.chaos.chat_client import ResumingClient
from tests.support.databases import breakable_cluster
from tests.support.processes.redis import RedisProcess
from tests.support.processes.service import GENEROUS_CHAT, ServiceProcess
from tests.support.processes.tenant import TenantProcess
from tests.support.users import new_user
from tests.support.waiting import until

FAULTS = int(os.environ.get("FAULTS", "8"))
SEED = int(os.environ.get("FAULT_SEED", "2026"))
PEOPLE = 4
SOCKETS_EACH = 2
MESSAGES_PER_SECOND = 10.0
# How soon after a fault every client must have been served again: the promise is 10 s, the machine may be busy.
RECOVERY_SECONDS = 60
ACKS_BETWEEN_FAULTS = 5

Fault = Callable[[], None]


@dataclass
class Scene:
    cluster: PostgresCluster
    service: ServiceProcess
    redis: RedisProcess | None
    random: Random

    def faults(self) -> dict[str, Fault]:
        return {
            "a worker is killed": self.kill_worker,
            "the workers are reloaded": self.service.reload,
            "PostgreSQL restarts": self.cluster.restart,
            "PostgreSQL is killed": self.crash_database,
            "the bus is cut": self.cut_bus,
        }

    def kill_worker(self) -> None:
        """As the kernel does when memory runs out."""
        os.kill(self.random.choice(self.service.worker_pids()), signal.SIGKILL)

    def crash_database(self) -> None:
        """Kill it and start it again: it recovers from its log."""
        self.cluster.kill()
        self.cluster.start()

    def cut_bus(self) -> None:
        """End what the workers listen on."""
        if self.redis is not None:
            self.redis.kill()
            self.redis.start()
        else:
            listeners = (
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{LISTENER_NAME}'"  # noqa: S608
            )
            self.cluster.psql(listeners)


@pytest.fixture(params=["postgresql", "redis"])
def scene(request: pytest.FixtureRequest, tenant: TenantProcess) -> Iterator[Scene]:
    """A service of two workers on a cluster, and perhaps a Redis, of its own."""
    with breakable_cluster() as cluster:
        environment = {"DATABASE_URL": cluster.url("gearyard"), **tenant.env(), **GENEROUS_CHAT}
        with RedisProcess() if request.param == "redis" else nullcontext() as redis:
            bus = {"REDIS_URL": redis.url} if redis else {}
            with ServiceProcess({**environment, **bus}) as service:
                yield Scene(cluster, service, redis, Random(SEED))


def conversing(scene: Scene, tenant: TenantProcess) -> list[ResumingClient]:
    """People with two sockets each, each pair in a conversation of its own, and all of them in one."""
    people = [new_user(scene.service, tenant) for _ in range(PEOPLE)]
    circles = [list(pair) for pair in combinations(people, 2)] + [people]
    talks = [(circle, circle[0].begin(*circle[1:])) for circle in circles]
    return [
        ResumingClient(
            person,
            [talk for circle, talk in talks if person in circle],
            seed=number,
            messages_per_second=MESSAGES_PER_SECOND,
        )
        for number, person in enumerate(people * SOCKETS_EACH)
    ]


def test_nothing_acknowledged_is_lost_doubled_or_out_of_order(scene: Scene, tenant: TenantProcess) -> None:
    chat_clients = conversing(scene, tenant)
    for client in chat_clients:
        client.start()
    try:
        break_things(scene, chat_clients)
        for client in chat_clients:
            client.fall_silent()
        settle(scene.cluster, chat_clients, RECOVERY_SECONDS)
    finally:
        for client in chat_clients:
            client.leave()
        for client in chat_clients:
            client.join(RECOVERY_SECONDS)
    judge(scene.cluster, chat_clients)
    assert "Traceback" not in scene.service.log()
    assert "unexpected" not in scene.service.log()


def break_things(scene: Scene, chat_clients: list[ResumingClient]) -> None:
    """One fault after the other, in random order, each once everybody has been served again since the last."""
    faults = scene.faults()
    names = (list(faults) * (FAULTS // len(faults) + 1))[: max(FAULTS, len(faults))]
    scene.random.shuffle(names)
    for name in names:
        wait_for_acks(chat_clients, "before " + name)
        faults[name]()
    wait_for_acks(chat_clients, "after the last fault")


def wait_for_acks(chat_clients: list[ResumingClient], when: str) -> None:
    """Wait until each client has some messages more acknowledged than now."""
    before = [client.acknowledged for client in chat_clients]

    def all_served() -> bool:
        pairs = zip(chat_clients, before, strict=True)
        return all(client.acknowledged >= acks + ACKS_BETWEEN_FAULTS for client, acks in pairs)

    print(when)
    until(all_served, RECOVERY_SECONDS)

"""Many clients at once, through nginx: sockets that chat, and REST that reads and writes, all along."""

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

from deploy.local.cluster import PostgresCluster
from deploy.local.processes import wait_until
from tests.slow.chaos.assertions import Ack, judge, settle
from tests.slow.chaos.chat_client import ResumingClient
from tests.slow.ops.rest_load import Failure, Reader, RestClient, Writer
from tests.support.processes.nginx import NginxProcess
from tests.support.processes.service import ServiceProcess
from tests.support.processes.tenant import TenantProcess
from tests.support.users import new_user

PEOPLE = 8
SOCKETS_EACH = 3
READERS = WRITERS = 4
MESSAGES_PER_SECOND = 1.0  # of each socket
READS_PER_SECOND = 30.0  # of each reader
WRITES_PER_SECOND = 4.0  # of each writer
PATIENCE_SECONDS = 60
MORE_MESSAGES = 2


@dataclass(frozen=True)
class ClientPool:
    chat_clients: list[ResumingClient]
    readers: list[Reader]
    writers: list[Writer]

    @property
    def rest(self) -> list[RestClient]:
        return [*self.readers, *self.writers]

    @property
    def failures(self) -> list[Failure]:
        """What any of them was answered but success."""
        return [failure for client in self.rest for failure in client.failures]

    @property
    def longest_absence_seconds(self) -> float:
        """The longest time from the end of a socket until its client was `ready` again."""
        return max((seconds for client in self.chat_clients for seconds in client.record.absences), default=0.0)

    def start(self) -> None:
        """Let them begin; returns when all of them are being served."""
        for one in (*self.chat_clients, *self.rest):
            one.start()
        self.wait_until_served()

    def wait_until_served(self) -> None:
        """Wait until each of them has got on since now."""
        chatted = [client.acknowledged for client in self.chat_clients]
        answered = [client.answered - len(client.failures) for client in self.rest]

        def have_got_on() -> bool:
            return all(
                one.acknowledged >= before + MORE_MESSAGES
                for one, before in zip(self.chat_clients, chatted, strict=True)
            ) and all(
                one.answered - len(one.failures) > before for one, before in zip(self.rest, answered, strict=True)
            )

        assert wait_until(have_got_on, PATIENCE_SECONDS), "somebody is not served"

    def settle(self, cluster: PostgresCluster) -> None:
        """Let all of them end what they have begun, and see everything."""
        for client in self.rest:
            client.stop()
        for client in self.rest:
            client.join(PATIENCE_SECONDS)
        for chat_client in self.chat_clients:
            chat_client.fall_silent()
        settle(cluster, self.chat_clients, PATIENCE_SECONDS)

    def leave(self) -> None:
        for client in self.rest:
            client.stop()
        for chat_client in self.chat_clients:
            chat_client.leave()
        for one in (*self.chat_clients, *self.rest):
            one.join(PATIENCE_SECONDS)

    def judge(self, cluster: PostgresCluster) -> str:
        """Fail where any of them was told anything else than what is stored. The figures, for whoever measures."""
        acks: dict[str, Ack] = {}
        for writer in self.writers:
            acks |= writer.acks
        messages = judge(cluster, self.chat_clients, acks)
        ends = Counter(code for client in self.chat_clients for code in client.record.closes)
        seen = sum(len(log) for client in self.chat_clients for log in client.record.seen.values())
        return (
            f"{sum(client.answered for client in self.rest)} requests, {len(self.failures)} failed, the longest took "
            f"{max(client.longest_seconds for client in self.rest):.1f} s; {messages} messages ({len(acks)} by REST), "
            f"none lost; seen {seen} times by {len(self.chat_clients)} sockets' clients; "
            f"{sum(len(client.record.absences) for client in self.chat_clients)} times without a socket, for "
            f"{self.longest_absence_seconds:.1f} s at most; ends {dict(sorted(ends.items()))}"
        )


def gather(service: ServiceProcess, nginx: NginxProcess, tenant: TenantProcess) -> ClientPool:
    """People with several sockets each, who talk to their neighbours and in one circle of all."""
    people = [new_user(service, tenant) for _ in range(PEOPLE)]
    circles = [[*pair] for pair in pairwise([*people, people[0]])] + [people]
    talks = [(circle, circle[0].begin(*circle[1:])) for circle in circles]
    of_each = {person.id: [talk for circle, talk in talks if person in circle] for person in people}
    base = f"http://{nginx.bare_address}"
    chat_clients = [
        ResumingClient(
            person,
            of_each[person.id],
            seed=number,
            messages_per_second=MESSAGES_PER_SECOND,
            origin=f"ws://{nginx.bare_address}",
        )
        for number, person in enumerate(people * SOCKETS_EACH)
    ]
    readers = [
        Reader(nginx.session(), base, person, per_second=READS_PER_SECOND, conversations=of_each[person.id])
        for person in people[:READERS]
    ]
    writers = [
        Writer(
            nginx.session(),
            base,
            person,
            per_second=WRITES_PER_SECOND,
            conversations=of_each[person.id],
            name=f"rest-{number}",
        )
        for number, person in enumerate(people[-WRITERS:])
    ]
    return ClientPool(chat_clients, readers, writers)

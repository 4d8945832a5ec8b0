"""What one socket may take: rates, room in the outbox, memory; and that its neighbours notice nothing."""

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from tests.support.processes.service import ServiceProcess
from tests.support.processes.tenant import TenantProcess
from tests.support.users import ChatUser, new_user
from tests.support.ws_client import ChatClient
from tests.support.ws_raw import CLOSE, PING, PONG, RawSocket, frame

SMALL_BUFFER_BYTES = 4096
MOST_GROWTH_KIB = 10 * 1024
# Impatient, so that the test need not wait; what one socket may send is as in production.
IMPATIENT = {"WS_WRITE_TIMEOUT_SECONDS": "3", "WS_MAX_SOCKETS_PER_USER": "100"}


@pytest.fixture(scope="module")
def service(database_url_factory: Callable[[], str], tenant: TenantProcess) -> Iterator[ServiceProcess]:
    """One worker, so that all sockets are neighbours."""
    environment = {"DATABASE_URL": database_url_factory(), **tenant.env(), **IMPATIENT}
    with ServiceProcess(environment, workers=1) as running:
        yield running


def lines_of(service: ServiceProcess, event: str) -> int:
    return service.log().count(f'"event": "{event}"')


class DeafClient(RawSocket):
    """A client that reads nothing once it is ready, with little room for what it does not read."""

    def __init__(self, member: ChatUser) -> None:
        super().__init__(member.service.port)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER_BYTES)
        self.open("/ws?v=2", {"Authorization": f"Bearer {member.token}"})
        assert self.hear().json()["type"] == "ready"


def test_more_messages_than_allowed_are_refused_by_name_and_the_socket_stays(ada: ChatUser, talk: str) -> None:
    with ChatClient(ada) as client:
        for number in range(15):
            client.say("message", conversation_id=talk, content="Again", client_msg_id=f"m-{number}")
        frames = client.all_until_pong()
    acknowledged = [frame["payload"]["client_msg_id"] for frame in frames if frame["type"] == "ack"]
    refused = [frame["payload"] for frame in frames if frame["type"] == "error"]
    assert len(acknowledged) >= 10  # the burst
    assert refused
    assert {one["code"] for one in refused} == {"RATE_LIMITED"}
    assert all(one["retry_after"] >= 1 for one in refused)
    assert sorted(acknowledged + [one["client_msg_id"] for one in refused]) == sorted(f"m-{n}" for n in range(15))
    assert len(ada.messages(talk)) == len(acknowledged)


def test_a_flooder_is_told_and_then_closed_and_costs_no_memory(
    service: ServiceProcess, ada: ChatUser, ben: ChatUser, talk: str
) -> None:
    with ChatClient(ben) as neighbour, DeafClient(ada) as flooder, ThreadPoolExecutor() as threads:
        before = service.rss_kib()
        told = threads.submit(told_until_closed, flooder)
        with suppress(OSError):
            while not told.done():
                flooder.say("message", conversation_id=talk, content="x" * 5000)
        codes, close_code, reason = told.result()
        assert "RATE_LIMITED" in codes
        assert (close_code, reason) == (4004, "slow down, and reconnect after a while")
        assert service.rss_kib() - before < MOST_GROWTH_KIB
        neighbour.say("message", conversation_id=talk, content="Still here", client_msg_id="calm")
        assert neighbour.find("ack")["client_msg_id"] == "calm"


def test_all_sockets_of_a_user_together_may_not_send_as_much_as_each_alone(ada: ChatUser, talk: str) -> None:
    sockets = [ChatClient(ada) for _ in range(10)]
    for number in range(100):
        payload = {"conversation_id": talk, "content": "Again", "client_msg_id": f"m-{number}"}
        sockets[number % 10].say("message", **payload)
    frames = [frame for client in sockets for frame in client.all_until_pong()]
    refused = [frame["payload"]["code"] for frame in frames if frame["type"] == "error"]
    acknowledged = [frame for frame in frames if frame["type"] == "ack"]
    for client in sockets:
        client.close()
    assert set(refused) == {"RATE_LIMITED"}
    assert len(acknowledged) + len(refused) == 100
    assert len(acknowledged) >= 30


def told_until_closed(client: RawSocket) -> tuple[set[str], int, str]:
    """The codes of the error frames that a client hears, and what the close frame says."""
    codes = set()
    while (heard := client.hear()).opcode != CLOSE:
        if (frame := heard.json())["type"] == "error":
            codes.add(frame["payload"]["code"])
    return codes, int.from_bytes(heard.payload[:2]), heard.payload[2:].decode()


def test_a_reader_that_never_reads_loses_its_own_connection_and_nobody_elses_time(
    service: ServiceProcess, tenant: TenantProcess, ada: ChatUser, ben: ChatUser
) -> None:
    sender = new_user(service, tenant)
    crowd = sender.begin(ada, ben)
    with ChatClient(ben) as neighbour, DeafClient(ada):
        ended, before = lines_of(service, "socket_closed"), service.rss_kib()
        sent = 0
        while lines_of(service, "socket_closed") == ended:
            # Everything that is sent while the deaf one is stuck reaches its neighbour before the next is sent.
            message = sender.send(crowd, "y" * 5000)
            assert neighbour.expect("message") == message
            sent += 1
        assert sent > 10
        assert '"code": 4002' in service.log()
        assert service.rss_kib() - before < MOST_GROWTH_KIB
    # What it missed is there for it.
    with ChatClient(ada, cursors={crowd: 0}) as again:
        seen: list[int] = []
        while len(seen) < sent:
            seen += [message["seq"] for message in again.expect("sync")["messages"]]
    assert seen == list(range(1, sent + 1))


def test_one_frame_that_is_not_taken_in_time_ends_a_socket_whatever_its_outbox_holds(
    database_url_factory: Callable[[], str], tenant: TenantProcess
) -> None:
    roomy = {"WS_OUTBOX_FRAMES": "100000", "WS_OUTBOX_BYTES": "1000000000", "WS_WRITE_TIMEOUT_SECONDS": "1"}
    environment = {"DATABASE_URL": database_url_factory(), **tenant.env(), **roomy}
    with ServiceProcess(environment, workers=1) as service:
        ada, ben = new_user(service, tenant), new_user(service, tenant)
        talk = ada.begin(ben)
        with DeafClient(ben):
            while lines_of(service, "socket_closed") == 0:
                ada.send(talk, "\N{CANOE}" * 5000)
            assert '"code": 4002' in service.log()


@pytest.mark.parametrize("answers_pings", [True, False])
def test_a_socket_is_pinged_and_ends_when_it_does_not_answer(
    database_url_factory: Callable[[], str], tenant: TenantProcess, answers_pings: bool
) -> None:
    settings = {"WS_PING_INTERVAL_SECONDS": "1", "WS_SILENCE_SECONDS": "3"}
    environment = {"DATABASE_URL": database_url_factory(), **tenant.env(), **settings}
    with ServiceProcess(environment, workers=1) as service, DeafClient(new_user(service, tenant)) as client:
        pings = 0
        while pings < 5 and (heard := client.hear()).opcode == PING:
            pings += 1
            if answers_pings:
                client.send(frame(PONG, heard.payload))
        if answers_pings:
            assert pings == 5
        else:
            assert pings < 5
            assert heard.opcode == CLOSE
            assert int.from_bytes(heard.payload[:2]) == 1001

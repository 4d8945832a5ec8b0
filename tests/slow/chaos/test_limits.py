"""A socket that floods or does not read ends, costs little memory, and does not delay its neighbours."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from tests.support.processes.service import ServiceProcess
from tests.support.processes.tenant import TenantProcess
from tests.support.users import ChatUser, new_user
from tests.support.ws_client import ChatClient
from tests.support.ws_raw import CLOSE, PING, PONG, RawSocket, frame, open_socket

MOST_GROWTH_KIB = 10 * 1024


@pytest.fixture(scope="module")
def service_settings() -> dict[str, str]:
    """One worker, so that all sockets are neighbours; a short timeout spares the test a long wait."""
    return {"WEB_CONCURRENCY": "1", "WS_WRITE_TIMEOUT_SECONDS": "3", "WS_MAX_SOCKETS_PER_USER": "100"}


def lines_of(service: ServiceProcess, event: str) -> int:
    return service.log().count(f'"event":"{event}"')


def test_a_flooder_is_told_and_then_closed_and_costs_no_memory(
    service: ServiceProcess, ada: ChatUser, ben: ChatUser, talk: str
) -> None:
    with ChatClient(ben) as neighbour, open_socket(ada, is_narrow=True) as flooder, ThreadPoolExecutor() as threads:
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


def told_until_closed(client: RawSocket) -> tuple[set[str], int, str]:
    """The codes of the error frames, and the code and the reason of the close frame."""
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
    with ChatClient(ben) as neighbour, open_socket(ada, is_narrow=True):
        ended, before = lines_of(service, "socket_closed"), service.rss_kib()
        sent = 0
        while lines_of(service, "socket_closed") == ended:
            # Everything that is sent while the deaf one is stuck reaches its neighbour before the next is sent.
            message = sender.send(crowd, "y" * 5000)
            assert neighbour.expect("message") == message
            sent += 1
        assert sent > 10
        assert '"code":4002' in service.log()
        assert service.rss_kib() - before < MOST_GROWTH_KIB
    # What it missed is there for it.
    with ChatClient(ada, cursors={crowd: 0}) as again:
        seen: list[int] = []
        while len(seen) < sent:
            seen += [message["seq"] for message in again.expect("sync")["messages"]]
    assert seen == list(range(1, sent + 1))


def test_one_frame_that_is_not_taken_in_time_ends_a_socket_whatever_its_outbox_holds(
    start_service: Callable[[dict[str, str]], ServiceProcess], tenant: TenantProcess
) -> None:
    roomy = {"WS_OUTBOX_FRAMES": "100000", "WS_OUTBOX_BYTES": "1000000000", "WS_WRITE_TIMEOUT_SECONDS": "1"}
    service = start_service({"WEB_CONCURRENCY": "1", **roomy})
    ada, ben = new_user(service, tenant), new_user(service, tenant)
    talk = ada.begin(ben)
    with open_socket(ben, is_narrow=True):
        while lines_of(service, "socket_closed") == 0:
            ada.send(talk, "\N{CANOE}" * 5000)
        assert '"code":4002' in service.log()


@pytest.mark.parametrize("answers_pings", [True, False])
def test_a_socket_is_pinged_and_ends_when_it_does_not_answer(
    start_service: Callable[[dict[str, str]], ServiceProcess], tenant: TenantProcess, answers_pings: bool
) -> None:
    service = start_service({"WS_PING_INTERVAL_SECONDS": "1", "WS_SILENCE_SECONDS": "3"})
    with open_socket(new_user(service, tenant)) as client:
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

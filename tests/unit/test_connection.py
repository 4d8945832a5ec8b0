"""The outbox of a socket: what fits, what is left out, and what ends it. A fake that blocks stands in for the network.

How a real one blocks, and for how long, is the kernel's to say; tests/slow/chaos/test_limits.py shows it.
"""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from gevent.event import Event
from simple_websocket import ConnectionClosed

from app.realtime.close_codes import CloseCode
from app.realtime.connection import Connection
from app.settings import SocketLimits

LIMITS = SocketLimits(
    messages_per_second=5,
    message_burst=10,
    frames_per_second=30,
    max_sockets_per_user=10,
    max_sockets_per_worker=100,
    outbox_frames=8,
    outbox_bytes=1000,
    write_timeout_seconds=1,
    ping_interval_seconds=25,
    silence_seconds=90,
    auth_timeout_seconds=10,
    token_warning_seconds=60,
)


class BlockedSocket:
    """Takes the first frame and no other, until it is let go."""

    def __init__(self) -> None:
        self.connected = True
        self.close_reason = 1005
        self.sock = SimpleNamespace(was_too_slow=False)
        self.sent: list[str] = []
        self.closed_with: tuple[int, str] | None = None
        self.may_go_on = Event()

    def send(self, text: str) -> None:
        self.sent.append(text)
        self.may_go_on.wait()

    def close(self, code: int, reason: str) -> None:
        self.closed_with, self.connected = (code, reason), False

    def let_go(self) -> None:
        self.may_go_on.set()
        gevent.wait(timeout=1)


@pytest.fixture
def ws() -> BlockedSocket:
    return BlockedSocket()


@pytest.fixture
def connection(ws: BlockedSocket) -> Connection:
    """Its writer is stuck with a first frame, and its outbox empty."""
    blocked: Any = ws
    connection = Connection(blocked, LIMITS)
    connection.send("first")
    gevent.sleep(0)
    assert ws.sent == ["first"]
    return connection


def test_what_fits_is_sent_in_order_when_the_socket_goes_on(ws: BlockedSocket, connection: Connection) -> None:
    for number in range(LIMITS.outbox_frames):
        connection.send(f"{number}")
    ws.let_go()
    assert ws.sent == ["first", *map(str, range(8))]
    assert ws.closed_with is None


def test_one_frame_too_many_ends_a_socket_that_is_too_slow(ws: BlockedSocket, connection: Connection) -> None:
    for number in range(LIMITS.outbox_frames + 1):
        connection.send(f"{number}")
    assert connection.is_closing
    ws.let_go()
    assert ws.sent == ["first"]  # nothing behind a gap
    assert ws.closed_with is not None
    assert ws.closed_with[0] == CloseCode.TOO_SLOW


def test_room_is_measured_in_bytes(ws: BlockedSocket, connection: Connection) -> None:
    connection.send("\N{EURO SIGN}" * 333)
    assert not connection.is_closing
    connection.send("xx")
    assert connection.is_closing


def test_typing_is_left_out_while_the_socket_lags(ws: BlockedSocket, connection: Connection) -> None:
    for number in range(LIMITS.outbox_frames):
        connection.send(f"typing {number}", droppable=True)
    assert connection.frames_dropped == 4  # those that found the outbox half full
    connection.send("message")
    ws.let_go()
    assert ws.sent[-1] == "message"


def test_typing_makes_way_for_messages(ws: BlockedSocket, connection: Connection) -> None:
    for number in range(4):
        connection.send(f"typing {number}", droppable=True)
    for number in range(LIMITS.outbox_frames):
        connection.send(f"message {number}")
    assert not connection.is_closing
    assert connection.frames_dropped == 4
    ws.let_go()
    assert ws.sent == ["first", *(f"message {number}" for number in range(8))]


def test_what_waits_goes_out_before_an_ordinary_end(ws: BlockedSocket, connection: Connection) -> None:
    connection.send("draining")
    connection.close(CloseCode.RESTART, "the service restarts")
    connection.send("too late")
    ws.let_go()
    assert ws.sent == ["first", "draining"]
    assert ws.closed_with == (1012, "the service restarts")
    assert connection.end.code == 1012


def test_who_waits_for_room_gets_it_or_learns_that_there_will_be_none(ws: BlockedSocket) -> None:
    blocked: Any = ws
    connection = Connection(blocked, replace(LIMITS, write_timeout_seconds=0))
    for number in range(LIMITS.outbox_frames):
        connection.send(f"{number}")
    with pytest.raises(ConnectionClosed):
        connection.wait_for_room()
    assert connection.end.code == CloseCode.TOO_SLOW


def test_who_waits_for_room_goes_on_when_the_outbox_is_half_empty(ws: BlockedSocket, connection: Connection) -> None:
    for number in range(LIMITS.outbox_frames):
        connection.send(f"{number}")
    waiting = gevent.spawn(connection.wait_for_room)
    gevent.sleep(0)
    assert not waiting.ready()
    ws.let_go()
    waiting.get(timeout=1)

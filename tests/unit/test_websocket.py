"""How a WebSocket ends on the server side; `tests/realtime/test_socket_log.py` shows the other ways of ending."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

import gevent
import pytest
from gevent import socket
from simple_websocket import ConnectionClosed

from app.realtime.close_codes import CloseCode
from app.realtime.connection import Connection, End
from app.realtime.websocket import WebSocket
from tests.support.ws_raw import TEXT, close, frame, text
from tests.unit.test_connection import LIMITS as SMALL

LIMITS = replace(SMALL, outbox_bytes=100_000)
KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 §1.3


@dataclass(frozen=True)
class Pair:
    server: WebSocket
    connection: Connection
    client: socket.socket

    def see_the_end(self) -> End:
        """Receive until it ends: its code, who ended it, and what the service says of it."""
        with suppress(ConnectionClosed):
            while self.connection.receive(5):
                pass
        self.connection.finish()
        return self.connection.end


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    environ = {"gunicorn.socket": ours, "HTTP_SEC_WEBSOCKET_KEY": KEY}
    server = WebSocket(environ, limits=LIMITS)
    yield Pair(server, Connection(server, LIMITS), theirs)
    ours.close()
    theirs.close()


def test_the_reader_ends_with_a_socket_that_was_too_slow_and_had_said_more_than_was_taken(pair: Pair) -> None:
    pair.client.sendall(b"".join(text("hello") for _ in range(5)))
    assert pair.connection.receive(5) == "hello"
    while not pair.connection.is_ended_here:
        pair.connection.send("x" * 90_000)
        gevent.sleep(0)
    pair.connection.finish()
    assert pair.connection.end.code == CloseCode.TOO_SLOW
    pair.server.thread.join()
    assert pair.server.thread.ready()


def test_a_connection_that_ends_within_a_frame_counts_as_1006(pair: Pair) -> None:
    """RFC 6455 §7.1.5."""
    pair.client.sendall(text("hello")[:4])
    pair.client.shutdown(socket.SHUT_WR)
    assert pair.see_the_end() == (1006, "nobody", None)


def test_a_breach_of_the_protocol_is_ended_by_the_service_in_words_of_its_own(pair: Pair) -> None:
    pair.client.sendall(frame(TEXT, b"my words", masked=False))
    code, ended_by, words = pair.see_the_end()
    assert (code, ended_by) == (1002, "service")
    assert words
    assert "my words" not in words


def test_an_end_begun_here_keeps_its_code_and_words_whatever_is_answered(pair: Pair) -> None:
    pair.connection.close(CloseCode.TOKEN_EXPIRED, "the token has expired")
    pair.client.sendall(close(4999, b"what I think of it"))
    assert pair.see_the_end() == (4001, "service", "the token has expired")

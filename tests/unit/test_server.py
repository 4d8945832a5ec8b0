"""The end of a socket's server side, over a pair of real sockets: whatever was left over, nothing stays behind."""

from dataclasses import replace

import gevent
from gevent import socket

from app.realtime.close_code import CloseCode
from app.realtime.connection import Connection
from app.realtime.server import LIMITS as LIMITS_KEY
from app.realtime.server import REQUEST_ID, Server
from tests.realtime.raw_socket import text
from tests.unit.test_connection import LIMITS as SMALL

LIMITS = replace(SMALL, outbox_bytes=100_000)
KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 §1.3


def test_the_reader_ends_with_a_socket_that_was_too_slow_and_had_said_more_than_was_taken() -> None:
    ours, theirs = socket.socketpair()
    environ = {"gunicorn.socket": ours, LIMITS_KEY: LIMITS, REQUEST_ID: "a-request", "HTTP_SEC_WEBSOCKET_KEY": KEY}
    server = Server(environ)
    connection = Connection(server, LIMITS)
    theirs.sendall(b"".join(text("hello") for _ in range(5)))
    assert connection.receive(5) == "hello"
    while not connection.is_ended_here:
        connection.send("x" * 90_000)
        gevent.sleep(0)
    connection.finish()
    assert connection.close_code == CloseCode.TOO_SLOW
    server.thread.join()
    assert not server.thread.is_running()
    ours.close()
    theirs.close()

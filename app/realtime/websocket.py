"""The server's end of a WebSocket (RFC 6455): simple-websocket's, with deadlines, limits and back-pressure.

It replaces flask-sock's `Server`, as flask-sock has no setting for the class. Measured without it: a slow client
received cut frames and two greenlets interleaved theirs, a client that never read blocked its writer for ever, a
flooding client took 170 MB in 4 s, and permessage-deflate took 129 KB a socket instead of 40.
"""

import socket
import time
from contextlib import suppress
from typing import Any

import gevent
import simple_websocket
from gevent import Timeout
from gevent.event import Event
from gevent.lock import BoundedSemaphore
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import CloseConnection, Ping
from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, Opcode, ParseFailed, RsvBits
from wsproto.utilities import LocalProtocolError, generate_accept_token

from app.common.request_id import current_request_id
from app.realtime.close_codes import CloseCode
from app.realtime.token_bucket import TokenBucket
from app.settings import SocketLimits

SUBPROTOCOL = "bearer"
MAX_MESSAGE_BYTES = 64 * 1024
MAX_FRAGMENTS = 1024  # of a message
# Limits of the frames of the wire: for each text frame that is allowed, ten of any kind, pings and fragments included.
WIRE_FRAMES_PER_FRAME = 10
WIRE_FRAMES_BURST = 2 * MAX_FRAGMENTS
LINGER_SECONDS = 1.0
LINGER_BYTES = 1024 * 1024


class TooSlow(OSError):
    """The peer did not read a frame before the write deadline."""


class DeadlineSocket:
    """A connected socket for several writers: each frame is sent whole within a deadline, or the connection ends."""

    def __init__(self, connection: socket.socket, *, write_timeout_seconds: float) -> None:
        self._connection = connection
        self._write_timeout_seconds = write_timeout_seconds
        self._lock = BoundedSemaphore(1)
        self.received_at = time.monotonic()
        self.was_too_slow = False

    def send(self, data: bytes) -> None:
        """Send all of `data` by the deadline. A failure, which may cut a frame, ends the connection. Raises OSError."""
        try:
            with Timeout(self._write_timeout_seconds, TooSlow("the peer does not read")), self._lock:
                self._connection.sendall(data)
        except BaseException as error:
            self.was_too_slow = self.was_too_slow or isinstance(error, TooSlow)
            self.abort()
            raise

    def recv(self, size: int) -> bytes:
        """Receive up to `size` bytes."""
        data = self._connection.recv(size)
        self.received_at = time.monotonic()
        return data

    def close(self) -> None:
        """Do nothing: simple-websocket's reader would close, and so reset, the connection; `WebSocket.end` ends it."""

    def linger(self) -> None:
        """Shut down the sending side, and read for a moment what still arrives.

        A close with unread data resets the connection, which can lose our close frame (RFC 9112 §9.6).
        """
        with suppress(OSError, Timeout), Timeout(LINGER_SECONDS):
            self._connection.shutdown(socket.SHUT_WR)
            received = 0
            while received < LINGER_BYTES and (data := self._connection.recv(MAX_MESSAGE_BYTES)):
                received += len(data)

    def abort(self) -> None:
        """End the connection at once; every wait for it ends, too."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)


class _FrameLimits(Extension):
    """Limits the size of messages, before a payload is kept, and the rate of frames. Never negotiated."""

    def __init__(self, limits: SocketLimits) -> None:
        self._rate = TokenBucket(limits.frames_per_second * WIRE_FRAMES_PER_FRAME, WIRE_FRAMES_BURST)
        self._message_bytes = self._fragments = 0

    def enabled(self) -> bool:
        return True

    def offer(self) -> bool:
        return False

    def frame_inbound_header(self, proto: Any, opcode: Opcode, rsv: RsvBits, payload_length: int) -> RsvBits:  # noqa: ARG002
        """Refuse a message above `MAX_MESSAGE_BYTES` or `MAX_FRAGMENTS`. Repeated while the header is incomplete."""
        too_large = self._message_bytes + payload_length > MAX_MESSAGE_BYTES or self._fragments >= MAX_FRAGMENTS
        if too_large and not opcode.iscontrol():
            raise ParseFailed("the message is too large", CloseReason.MESSAGE_TOO_BIG)
        return RsvBits(False, False, False)

    def frame_inbound_complete(self, proto: Any, fin: bool) -> None:
        """Count the frame, and refuse one above the rate."""
        if self._rate.take():
            raise ParseFailed("too many frames, pings or fragments", CloseCode.RATE_LIMITED)  # type: ignore[arg-type]
        if not proto.header.opcode.iscontrol():
            self._message_bytes = 0 if fin else self._message_bytes + proto.header.payload_len
            self._fragments = 0 if fin else self._fragments + 1


class WebSocket(simple_websocket.Server):  # type: ignore[misc]
    """One accepted WebSocket. Its reader greenlet stops reading while `receive` has not taken what arrived."""

    ws: Connection
    sock: DeadlineSocket

    def __init__(self, environ: dict[str, Any], *, limits: SocketLimits) -> None:
        self._limits = limits
        self._taken = Event()
        environ["gunicorn.socket"] = DeadlineSocket(
            environ["gunicorn.socket"], write_timeout_seconds=limits.write_timeout_seconds
        )
        super().__init__(environ, thread_class=lambda target: gevent.Greenlet(run=target), event_class=Event)
        # 1006 until a close frame arrives (RFC 6455 §7.1.5); the library starts with 1005.
        self.close_reason: int = CloseReason.ABNORMAL_CLOSURE

    @property
    def was_refused(self) -> bool:
        """Whether the client broke a rule of the protocol, and the library closed with `close_reason`."""
        return self.ws.state is ConnectionState.LOCAL_CLOSING

    def handshake(self) -> None:
        """Send the 101, with the subprotocol if it was offered, and no extension. The request has been checked."""
        self.ws = Connection(ConnectionType.SERVER, [_FrameLimits(self._limits)])
        accept = generate_accept_token(self.environ["HTTP_SEC_WEBSOCKET_KEY"].encode()).decode()
        headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": accept}
        offered = self.environ.get("HTTP_SEC_WEBSOCKET_PROTOCOL", "").split(",")
        if SUBPROTOCOL in map(str.strip, offered):
            headers["Sec-WebSocket-Protocol"] = SUBPROTOCOL
        if request_id := current_request_id.get():
            headers["X-Request-Id"] = request_id
        lines = ["HTTP/1.1 101 Switching Protocols", *(f"{name}: {value}" for name, value in headers.items())]
        # If the client is gone, the reader finds out. An error raised here would be answered as one of HTTP.
        with suppress(OSError):
            self.sock.send("".join(f"{line}\r\n" for line in [*lines, ""]).encode())
        self.connected = True

    def receive(self, timeout: float | None = None) -> str | bytes | None:
        """Return the next message, or None after `timeout` seconds. Raises ConnectionClosed when no more can arrive."""
        message: str | bytes | None = super().receive(timeout)
        if not self.input_buffer:
            self._taken.set()
        return message

    def ping(self) -> None:
        """Send a ping (RFC 6455 §5.5.2). If the connection is gone, the reader finds out."""
        with suppress(LocalProtocolError, OSError):
            self.sock.send(self.ws.send(Ping()))

    def close(self, reason: int | None = None, message: str | None = None) -> None:
        """Send a close frame, unless the socket has ended, and wake `receive`, which the library does not."""
        if self.connected:
            frame = self.ws.send(CloseConnection(reason or CloseReason.NORMAL_CLOSURE, message))
            self.connected = False  # before the write, as no frame may follow a close frame (RFC 6455 §5.5.1)
            self.event.set()
            self.sock.send(frame)

    def end(self, patience_seconds: float) -> None:
        """Wait for the client's close frame, but not longer than `patience_seconds`, and end the connection."""
        self.connected = False
        self._taken.set()
        self.thread.join(patience_seconds)
        if self.thread.ready():
            self.sock.linger()
        self.sock.abort()

    def _handle_events(self) -> bool:
        """Handle what was read; return whether to read on, once `receive` has taken it. Called by the reader."""
        # The library would go on after our close frame, and take what arrives for more messages.
        if not (self.connected and super()._handle_events()):
            return False
        gevent.sleep(0)  # let the other sockets' greenlets run
        while self.connected and self.input_buffer:
            self._taken.clear()
            self._taken.wait()
        return self.connected

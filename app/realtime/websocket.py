"""The server's end of a WebSocket (RFC 6455): simple-websocket's, with deadlines, limits and back-pressure.

It replaces flask-sock's `Server`, as flask-sock has no setting for the class. Measured without it: a slow client
received cut frames and two greenlets interleaved theirs, a client that never read blocked its writer for ever, a
flooding client took 170 MB in 4 s, and permessage-deflate took 129 KB a socket instead of 40.
"""

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import gevent
import simple_websocket
from gevent import Timeout
from gevent.event import Event
from gevent.lock import BoundedSemaphore
from simple_websocket import ConnectionClosed
from wsproto.connection import ConnectionState
from wsproto.events import AcceptConnection, CloseConnection, Ping, Request
from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, FrameDecoder, FrameProtocol, Opcode, ParseFailed, RsvBits
from wsproto.utilities import LocalProtocolError

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
RECEIVE_BYTES = 4096
LINGER_SECONDS = 1.0
LINGER_BYTES = 1024 * 1024
# wsproto accepts a request of its own parsing. The handshake has checked the client's request, so these stand for it.
_UPGRADE = [
    (b"Host", b"-"),
    (b"Connection", b"Upgrade"),
    (b"Upgrade", b"websocket"),
    (b"Sec-WebSocket-Version", b"13"),
]
_HEADERS = {b"Sec-WebSocket-Key": "HTTP_SEC_WEBSOCKET_KEY", b"Sec-WebSocket-Protocol": "HTTP_SEC_WEBSOCKET_PROTOCOL"}


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

    def send(self, data: bytes) -> int:
        """Send all of `data`. On failure the connection ends, as a part of a frame may have been sent.

        Raises:
            TooSlow: the deadline passed, the wait for the lock included. OSError: the connection is gone.
        """
        try:
            with Timeout(self._write_timeout_seconds, TooSlow("the peer does not read")), self._lock:
                self._connection.sendall(data)
        except BaseException as error:
            self.was_too_slow = self.was_too_slow or isinstance(error, TooSlow)
            self.abort()
            raise
        return len(data)

    def recv(self, size: int) -> bytes:
        """Receive up to `size` bytes."""
        data = self._connection.recv(size)
        self.received_at = time.monotonic()
        return data

    def close(self) -> None:
        """Do nothing: simple-websocket's reader would close, and so reset, the connection; `linger` ends it."""

    def linger(self) -> None:
        """Shut down the sending side, read for a moment what still arrives, and end the connection.

        A close with unread data resets the connection, which can lose our close frame (RFC 9112 §9.6).
        """
        with suppress(OSError, Timeout), Timeout(LINGER_SECONDS):
            self._connection.shutdown(socket.SHUT_WR)
            received = 0
            while received < LINGER_BYTES and (data := self._connection.recv(RECEIVE_BYTES)):
                received += len(data)
        self.abort()

    def abort(self) -> None:
        """End the connection at once; every wait for it ends, too."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)


class FrameLimits(Extension):
    """Limits messages by the headers of their frames, before a payload is kept. Never negotiated with the client."""

    name = ""

    def __init__(self) -> None:
        self.frames = 0
        self._is_control = False
        self._frame_bytes = self._message_bytes = self._fragments = 0

    def enabled(self) -> bool:
        """Take part without an offer."""
        return True

    def offer(self) -> bool:
        """Offer nothing to the client."""
        return False

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        """Refuse a message above `MAX_MESSAGE_BYTES` or `MAX_FRAGMENTS`.

        wsproto calls this again for a header that has not arrived whole, so a frame is counted when it is complete.
        """
        self._is_control, self._frame_bytes = opcode.iscontrol(), payload_length
        too_large = self._message_bytes + payload_length > MAX_MESSAGE_BYTES or self._fragments >= MAX_FRAGMENTS
        if too_large and not self._is_control:
            raise ParseFailed("the message is too large", CloseReason.MESSAGE_TOO_BIG)
        return super().frame_inbound_header(proto, opcode, rsv, payload_length)

    def frame_inbound_complete(self, _proto: FrameDecoder | FrameProtocol, fin: bool) -> None:
        """Count the frame."""
        self.frames += 1
        if self._is_control:
            return
        self._message_bytes = 0 if fin else self._message_bytes + self._frame_bytes
        self._fragments = 0 if fin else self._fragments + 1


class WebSocket(simple_websocket.Server):  # type: ignore[misc]
    """One accepted WebSocket. Its reader greenlet stops reading while `receive` has not taken what arrived."""

    sock: DeadlineSocket

    def __init__(self, environ: dict[str, Any], *, limits: SocketLimits) -> None:
        self._frame_limits = FrameLimits()
        self._wire = TokenBucket(limits.frames_per_second * WIRE_FRAMES_PER_FRAME, WIRE_FRAMES_BURST)
        self._taken = Event()
        self.has_closed = False  # whether this side sent the first close frame
        environ["gunicorn.socket"] = DeadlineSocket(
            environ["gunicorn.socket"], write_timeout_seconds=limits.write_timeout_seconds
        )
        super().__init__(
            environ,
            subprotocols=[SUBPROTOCOL],
            receive_bytes=RECEIVE_BYTES,
            thread_class=_reader,
            event_class=Event,
        )
        # 1006 until a close frame arrives (RFC 6455 §7.1.5); the library starts with 1005.
        self.close_reason: int = CloseReason.ABNORMAL_CLOSURE

    def handshake(self) -> None:
        """Send the 101, with the subprotocol, if it was offered, and no extension."""
        headers = [(name, self.environ[key].encode()) for name, key in _HEADERS.items() if key in self.environ]
        self.ws.initiate_upgrade_connection([*_UPGRADE, *headers], "/")
        request = next(event for event in self.ws.events() if isinstance(event, Request))
        self.subprotocol = self.choose_subprotocol(request)
        request_id = current_request_id.get()
        response = AcceptConnection(
            subprotocol=self.subprotocol,
            extensions=[self._frame_limits],
            extra_headers=[(b"X-Request-Id", request_id.encode())] if request_id else [],
        )
        # If the client is gone, the reader finds out. An error raised here would be answered as one of HTTP.
        with suppress(OSError):
            self.sock.send(self.ws.send(response))
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
        """Send a close frame and wake `receive`, which the library does not.

        Raises:
            ConnectionClosed: the socket has ended already. OSError: as `DeadlineSocket.send`.
        """
        if not self.connected:
            raise ConnectionClosed(self.close_reason, self.close_message)
        self.has_closed = True
        self.close_reason = int(reason or CloseReason.NORMAL_CLOSURE)
        self.close_message: str | None = message
        frame = self.ws.send(CloseConnection(self.close_reason, message))
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
        else:
            self.sock.abort()

    def _handle_events(self) -> bool:
        """Handle what was read; return whether to read on, once `receive` has taken it. Called by the reader."""
        # The library would go on after our close frame, and take what arrives for more messages.
        goes_on = self.connected and super()._handle_events() and self.connected
        # On a protocol error the library sends a close frame and reports it as the client's.
        self.has_closed = self.has_closed or self.ws.state is ConnectionState.LOCAL_CLOSING
        if goes_on:
            self._limit_frames()
            self._wait_until_taken()
        return goes_on and self.connected

    def _limit_frames(self) -> None:
        frames, self._frame_limits.frames = self._frame_limits.frames, 0
        if self._wire.take(frames):
            with suppress(ConnectionClosed):
                self.close(CloseCode.RATE_LIMITED, "too many frames, pings or fragments")
            raise OSError("too many frames")

    def _wait_until_taken(self) -> None:
        gevent.sleep(0)  # let the other sockets' greenlets run
        while self.connected and self.input_buffer:
            self._taken.clear()
            self._taken.wait()


def _reader(target: Callable[[], None]) -> gevent.Greenlet:
    """Make what simple-websocket starts as a thread; it has the methods of one that are used."""
    return gevent.Greenlet(target)

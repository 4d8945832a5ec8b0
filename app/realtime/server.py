"""The server's end of a WebSocket (RFC 6455): flask-sock's, with what the bare library lacks.

wsproto judges the frames and simple-websocket reads them in a greenlet of its own. Added here: whole frames out, within
a deadline, whoever writes; no reading ahead of what is being handled; limits on size, fragments and frames, in bytes
and before anything is kept; no compression, which costs three times the memory of a socket.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import flask_sock
import gevent
import simple_websocket
from gevent import Timeout
from gevent.event import Event
from simple_websocket import ConnectionClosed
from wsproto.connection import ConnectionState
from wsproto.events import AcceptConnection, CloseConnection, Ping, Request
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError

from app.realtime.close_code import CloseCode
from app.realtime.guard import RECEIVE_BYTES, GuardedSocket
from app.realtime.limits import TokenBucket
from app.realtime.meter import MAX_FRAGMENTS, FrameMeter
from app.settings import SocketLimits

SUBPROTOCOL = "bearer"
# Frames of any kind, pings and fragments among them, for each that is allowed: no client needs them, and they cost
# a worker little.
WIRE_FRAMES_A_FRAME = 10
WIRE_FRAMES_BURST = 2 * MAX_FRAGMENTS
# Where the handshake leaves, in the WSGI environment, what the socket needs of it.
LIMITS = "gearyard.socket_limits"
REQUEST_ID = "gearyard.request_id"
_HEADERS = ("Sec-WebSocket-Key", "Sec-WebSocket-Protocol")
# What else wsproto wants to see, whose parsers need not be shown what a client wrote: the handshake has judged that.
_UPGRADE = (("Host", "-"), ("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"))


class Server(simple_websocket.Server):  # type: ignore[misc]
    """One accepted socket. `receive` gives what came, in order; what comes faster than it is taken is not read."""

    def __init__(self, environ: dict[str, Any]) -> None:
        self._meter = FrameMeter()
        limits: SocketLimits = environ[LIMITS]
        self._wire = TokenBucket(limits.frames_per_second * WIRE_FRAMES_A_FRAME, WIRE_FRAMES_BURST)
        self._taken = Event()
        self._request_id: str = environ[REQUEST_ID]
        self.has_closed = False
        self.guard = GuardedSocket(environ["gunicorn.socket"], write_timeout_seconds=limits.write_timeout_seconds)
        self.guard.before_reading = self._wait_to_read
        headers = {name: environ[name] for name in map(_environ_name, _HEADERS) if name in environ}
        super().__init__(
            {"gunicorn.socket": self.guard, **headers},
            subprotocols=[SUBPROTOCOL],
            receive_bytes=RECEIVE_BYTES,
            thread_class=_Reader,
            event_class=Event,
        )

    def handshake(self) -> None:
        """Answer 101, with the subprotocol that fits and no extension. The request was judged before."""
        sent = [(name, self.environ.get(_environ_name(name))) for name in _HEADERS]
        headers = [*_UPGRADE, *((name, value) for name, value in sent if value is not None)]
        self.ws.initiate_upgrade_connection([(name.encode(), value.encode()) for name, value in headers], "/")
        request = next(event for event in self.ws.events() if isinstance(event, Request))
        self.subprotocol = self.choose_subprotocol(request)
        answer = AcceptConnection(
            subprotocol=self.subprotocol,
            extensions=[self._meter],
            extra_headers=[(b"X-Request-Id", self._request_id.encode())],
        )
        # Who has gone by now is for the reader to find: an error raised here would be taken for one of an HTTP request.
        with suppress(OSError):
            self.sock.send(self.ws.send(answer))
        self.connected = True
        # Until a close frame comes (RFC 6455 §7.1.5). The library begins with 1005: one came, without a code.
        self.close_reason: int = CloseReason.ABNORMAL_CLOSURE

    def receive(self, timeout: float | None = None) -> str | bytes | None:
        """The next message, or None after `timeout` seconds.

        Raises:
            simple_websocket.ConnectionClosed: nothing more will come.
        """
        message: str | bytes | None = super().receive(timeout)
        if not self.input_buffer:
            self._taken.set()
        return message

    def ping(self) -> None:
        """Send a ping (RFC 6455 §5.5.2); the answer counts as a sign of life."""
        with suppress(LocalProtocolError):
            self.sock.send(self.ws.send(Ping()))

    def close(self, reason: int | None = None, message: str | None = None) -> None:
        """Send a close frame, and let `receive` know, which the library does not.

        Raises:
            simple_websocket.ConnectionClosed: it has ended already. OSError: as `GuardedSocket.send`.
        """
        if not self.connected:
            raise ConnectionClosed(self.close_reason, self.close_message)
        self.has_closed = True
        self.close_reason = int(reason or CloseReason.NORMAL_CLOSURE)
        self.close_message: str | None = message
        goodbye = self.ws.send(CloseConnection(self.close_reason, message))
        self.connected = False  # now, not when the frame is out: nothing may be written after it (RFC 6455 §5.5.1)
        self.event.set()
        self.sock.send(goodbye)

    def end(self, patience_seconds: float) -> None:
        """Let the other side answer a close frame, for a moment, and end the connection."""
        self.connected = False  # so that the reader does not wait for what nobody will take
        self._taken.set()
        with suppress(Timeout), Timeout(patience_seconds):
            self.thread.join()
        if self.thread.is_running():
            self.guard.abort()
        else:
            self.guard.linger()

    def _handle_events(self) -> bool:
        """Whether to read on. Not once a close frame is out: what comes then, the library would take for more."""
        goes_on = self.connected and super()._handle_events() and self.connected
        # A breach of the protocol looks to the library as a close frame of theirs; but it is ours that went out first.
        self.has_closed = self.has_closed or self.ws.state is ConnectionState.LOCAL_CLOSING
        return goes_on

    def _wait_to_read(self) -> None:
        """Give way to the other sockets, and read on only when what came has been taken."""
        gevent.sleep(0)
        frames, self._meter.frames = self._meter.frames, 0
        if self._wire.take(frames):
            with suppress(ConnectionClosed):
                self.close(CloseCode.RATE_LIMITED, "too many frames, pings or fragments")
            raise OSError("too many frames")
        while self.connected and self.input_buffer:
            self._taken.clear()
            self._taken.wait()


class _Reader:
    """What simple-websocket takes for a thread: a greenlet, without the weight of one."""

    def __init__(self, target: Callable[[], None]) -> None:
        self.name = "reader"
        self._greenlet = gevent.Greenlet(target)

    def start(self) -> None:
        self._greenlet.start()

    def join(self) -> None:
        self._greenlet.join()

    def is_running(self) -> bool:
        return not self._greenlet.ready()


def _environ_name(header: str) -> str:
    """The WSGI name of a header (PEP 3333)."""
    return "HTTP_" + header.upper().replace("-", "_")


def install() -> None:
    """Let flask-sock make these; it offers no setting for that."""
    flask_sock.Server = Server

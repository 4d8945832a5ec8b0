"""The sending side of an open socket: a bounded outbox, which one writer empties.

`send` never waits. A socket whose outbox is full is closed, so that a slow client delays no other.
"""

import time
from collections import deque
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import gevent
import orjson
from gevent.event import Event
from simple_websocket import ConnectionClosed
from wsproto.frame_protocol import CloseReason

from app.observability import metrics
from app.realtime.close_codes import CloseCode
from app.realtime.websocket import WebSocket
from app.settings import SocketLimits

CLOSE_PATIENCE_SECONDS = 1.5
TOO_SLOW_REASON = "frames were not read fast enough"
MAX_KIND_END = 40  # characters of a frame up to the end of its type


class End(NamedTuple):
    """How a socket ended. The reason is the service's own: a client's is not kept."""

    code: int
    by: Literal["service", "client", "nobody"]  # nobody: the connection was lost
    reason: str | None


class _Waiting(NamedTuple):
    """A frame in the outbox, and its size in bytes."""

    text: str
    size: int
    is_droppable: bool


def encode(kind: str, payload: Any = None) -> str:
    """Serialise a frame. Its type comes first."""
    return orjson.dumps({"type": kind} if payload is None else {"type": kind, "payload": payload}).decode()


class Connection:
    """The outbox of one socket, and its end."""

    def __init__(self, ws: WebSocket, limits: SocketLimits) -> None:
        self._ws = ws
        self._limits = limits
        self._outbox: deque[_Waiting] = deque()
        self._outbox_bytes = 0
        self._writer: gevent.Greenlet | None = None
        self._has_room = Event()
        self.on_room: Callable[[], None] = lambda: None
        self._closing: tuple[int, str] | None = None
        self.opened_at = time.monotonic()
        self.frames_sent = 0
        self.frames_dropped = 0

    @property
    def is_closing(self) -> bool:
        """Whether the socket is closing, from either side: nothing more is sent."""
        return self._closing is not None or not self._ws.connected

    @property
    def is_ended_here(self) -> bool:
        """Whether this side began to close."""
        return self._closing is not None

    @property
    def is_lagging(self) -> bool:
        """Whether the outbox is half full. What can be sent later waits for `on_room`."""
        return len(self._outbox) * 2 >= self._limits.outbox_frames or self._outbox_bytes * 2 > self._limits.outbox_bytes

    @property
    def end(self) -> End:
        """How the socket ended. Does not change after `finish`."""
        if self._ws.sock.was_too_slow:
            return End(CloseCode.TOO_SLOW, "service", TOO_SLOW_REASON)
        if self._closing is not None:
            return End(self._closing[0], "service", self._closing[1])
        code = int(self._ws.close_reason)
        if self._ws.was_refused:
            return End(code, "service", self._ws.close_message)
        return End(code, "nobody" if code == CloseReason.ABNORMAL_CLOSURE else "client", None)

    @property
    def received_at(self) -> float:
        """When the client last sent anything, on the monotonic clock."""
        return self._ws.sock.received_at

    def receive(self, timeout_seconds: float) -> str | bytes | None:
        """The next message, or None after the timeout. Raises ConnectionClosed."""
        return self._ws.receive(max(0.0, timeout_seconds))

    def send(self, text: str, *, droppable: bool = False) -> None:
        """Put a frame into the outbox, without waiting.

        A droppable frame is dropped while the socket lags. If another does not fit, the socket is closed with 4002.
        """
        if self.is_closing:
            return
        if droppable and self.is_lagging:
            self._count_drops(1)
            return
        size = len(text.encode())
        if self._is_full(size):
            self._drop_droppable()
        if self._is_full(size):
            self.close(CloseCode.TOO_SLOW, TOO_SLOW_REASON)
            return
        self._outbox.append(_Waiting(text, size, droppable))
        self._outbox_bytes += size
        self._start_writing()

    def ping(self) -> None:
        """Send a ping, without waiting."""
        gevent.spawn(self._ws.ping)

    def wait_for_room(self) -> None:
        """Wait until the outbox is half empty. Raises ConnectionClosed if the socket ends or its client is too slow."""
        while not self.is_closing and self.is_lagging:
            self._has_room.clear()
            if not self._has_room.wait(self._limits.write_timeout_seconds):
                self.close(CloseCode.TOO_SLOW, TOO_SLOW_REASON)
        if self.is_closing:
            raise ConnectionClosed(self.end.code)

    def close(self, code: CloseCode, reason: str) -> None:
        """Send a close frame after the outbox, or, if the socket is too slow, in its place. Does not wait."""
        if self.is_closing:
            return
        self._closing = (code, reason)
        if code is CloseCode.TOO_SLOW:
            self._empty_outbox()
        self._start_writing()

    def abort(self) -> None:
        """End the connection at once; nothing more is written."""
        self._ws.sock.abort()

    def finish(self) -> None:
        """Wait for the end that `close` or the client began, within a deadline."""
        if self._writer is not None:
            self._writer.join(self._limits.write_timeout_seconds + CLOSE_PATIENCE_SECONDS)
        self._ws.end(CLOSE_PATIENCE_SECONDS)
        self._empty_outbox()

    def _is_full(self, size: int) -> bool:
        return len(self._outbox) >= self._limits.outbox_frames or self._outbox_bytes + size > self._limits.outbox_bytes

    def _drop_droppable(self) -> None:
        kept = [waiting for waiting in self._outbox if not waiting.is_droppable]
        self._count_drops(len(self._outbox) - len(kept))
        self._outbox = deque(kept)
        self._outbox_bytes = sum(waiting.size for waiting in kept)

    def _count_drops(self, frames: int) -> None:
        self.frames_dropped += frames
        metrics.OUTBOX_DROPS.inc(frames)

    def _empty_outbox(self) -> None:
        self._outbox.clear()
        self._outbox_bytes = 0
        self._has_room.set()

    def _start_writing(self) -> None:
        # The writer lives only while the outbox has frames: a waiting greenlet costs 16 KiB.
        if self._writer is None:
            self._writer = gevent.spawn(self._write)

    def _write(self) -> None:
        try:
            while self._outbox:
                waiting = self._outbox.popleft()
                self._outbox_bytes -= waiting.size
                self._ws.send(waiting.text)
                self.frames_sent += 1
                metrics.count_frame_sent(waiting.text[len('{"type":"') : MAX_KIND_END].partition('"')[0])
                if not self.is_lagging:
                    self._has_room.set()
                    self.on_room()
            if self._closing is not None:
                self._ws.close(*self._closing)
        except (ConnectionClosed, OSError):
            self._empty_outbox()
        finally:
            self._writer = None

"""One open socket, seen from the service: what is to be sent goes into a bounded outbox, which one writer empties.

Nobody who sends waits for the socket. A socket that cannot keep up loses its own connection, and nobody else's time.
"""

import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

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
MAX_REASON_BYTES = 123  # of a close frame (RFC 6455 §5.5)
LONGEST_KIND = 40  # characters until a frame's type has ended


class _Waiting(NamedTuple):
    """A frame in the outbox, and its size in bytes."""

    text: str
    size: int
    is_droppable: bool


def encode(frame: dict[str, Any]) -> str:
    """A frame as it goes over the wire, its type first."""
    return orjson.dumps(frame).decode()


def kind_of(text: str) -> str:
    """The type of a frame that `encode` made; of the rest, whatever stands in its place."""
    return text[len('{"type":"') : LONGEST_KIND].partition('"')[0]


class Connection:
    """The sending side of one socket, and how it ended."""

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
        """Whether its end has begun: what is sent from now on goes nowhere."""
        return self._closing is not None or not self._ws.connected

    @property
    def is_ended_here(self) -> bool:
        """Whether its end was begun on this side. If the other side began it, what it had sent before still counts."""
        return self._closing is not None

    @property
    def is_lagging(self) -> bool:
        """Whether its outbox is half full or more: what need not be sent now had better wait for `on_room`."""
        return len(self._outbox) * 2 >= self._limits.outbox_frames or self._outbox_bytes * 2 > self._limits.outbox_bytes

    @property
    def close_code(self) -> int:
        """The code it ended with: ours, or what the other side gave."""
        if self._ws.sock.was_too_slow:
            return CloseCode.TOO_SLOW
        return int(self._closing[0] if self._closing else self._ws.close_reason)

    @property
    def is_code_ours(self) -> bool:
        """Whether this side chose the code it ended with; else the other side did, which may give any."""
        return self.is_ended_here or self._ws.sock.was_too_slow or self._ws.has_closed

    @property
    def ended_by(self) -> str:
        """Who ended it: the `service`, the `client` by a close frame, or `nobody`: the connection was lost."""
        if self.is_code_ours:
            return "service"
        return "nobody" if self.close_code == CloseReason.ABNORMAL_CLOSURE else "client"

    @property
    def close_text(self) -> str | None:
        """What this side says of its end. Never the other side's, which may be anything."""
        if self._ws.sock.was_too_slow:
            return TOO_SLOW_REASON
        if self._closing is not None:
            return self._closing[1]
        return self._ws.close_message if self._ws.has_closed else None

    @property
    def received_at(self) -> float:
        """When the other side last gave a sign of life, by the monotonic clock."""
        return self._ws.sock.received_at

    def receive(self, timeout_seconds: float) -> str | bytes | None:
        """The next message, or None when none comes in time. Raises ConnectionClosed."""
        return self._ws.receive(max(0.0, timeout_seconds))

    def send(self, text: str, *, droppable: bool = False) -> None:
        """Put a frame into the outbox; returns at once.

        A droppable one is left out while the socket lags. Where the others do not fit, the socket is too slow, and
        ends with 4002: a client that reconnects finds in the log what it has not seen.
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
        """Ask for a sign of life, in a greenlet, as it may have to wait for its turn."""
        gevent.spawn(self._ping)

    def wait_for_room(self) -> None:
        """Wait until the outbox is half empty. Raises ConnectionClosed where the socket ends, or is too slow for it."""
        while not self.is_closing and self.is_lagging:
            self._has_room.clear()
            if not self._has_room.wait(self._limits.write_timeout_seconds):
                self.close(CloseCode.TOO_SLOW, TOO_SLOW_REASON)
        if self.is_closing:
            raise ConnectionClosed(self.close_code)

    def close(self, code: CloseCode, reason: str) -> None:
        """Begin to end it: what is in the outbox goes first, unless the socket is too slow for it. Returns at once."""
        if self.is_closing:
            return
        self._closing = (code, reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore"))
        if code is CloseCode.TOO_SLOW:
            self._empty_outbox()
        self._start_writing()

    def abort(self) -> None:
        """End it at once; nothing more is written."""
        self._ws.sock.abort()

    def finish(self) -> None:
        """Wait for the end that `close`, or the other side, began; every wait in it has its limit."""
        writer = self._writer
        if writer is not None:
            writer.join(self._limits.write_timeout_seconds + CLOSE_PATIENCE_SECONDS)
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
        # There is a writer only while there is something to write: a greenlet that waits costs 16 KiB.
        if self._writer is None:
            self._writer = gevent.spawn(self._write)

    def _write(self) -> None:
        try:
            while self._outbox:
                waiting = self._outbox.popleft()
                self._outbox_bytes -= waiting.size
                self._ws.send(waiting.text)
                self.frames_sent += 1
                metrics.count_frame_sent(kind_of(waiting.text))
                if not self.is_lagging:
                    self._has_room.set()
                    self.on_room()
            if self._closing is not None:
                self._ws.close(*self._closing)
        except (ConnectionClosed, OSError):
            self._empty_outbox()
        finally:
            self._writer = None

    def _ping(self) -> None:
        try:
            self._ws.ping()
        except OSError:
            self._ws.event.set()  # the reader finds the connection ended

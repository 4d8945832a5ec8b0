"""A connected socket that its writers share: whole frames out, within a deadline, whoever writes; an end in order."""

import socket
import time
from collections.abc import Callable
from contextlib import suppress

from gevent import Timeout
from gevent.lock import BoundedSemaphore

RECEIVE_BYTES = 4096
LINGER_SECONDS = 1.0
LINGER_BYTES = 1024 * 1024


class TooSlow(OSError):
    """The other side did not take a frame in time."""


class GuardedSocket:
    """A connected socket whose writers take turns: each sends whole frames, or the connection ends."""

    def __init__(self, connection: socket.socket, *, write_timeout_seconds: float) -> None:
        self._connection = connection
        self._write_timeout_seconds = write_timeout_seconds
        self._turn = BoundedSemaphore(1)
        self.before_reading: Callable[[], None] = lambda: None
        self.received_at = time.monotonic()
        self.was_too_slow = False

    def send(self, data: bytes) -> int:
        """Send all of it. Part of a frame sent is a stream broken, so on failure nothing can follow.

        Raises:
            TooSlow: it was not taken within the deadline. OSError: the connection is gone.
        """
        try:
            with Timeout(self._write_timeout_seconds, TooSlow("the peer does not read")), self._turn:
                self._connection.sendall(data)
        except BaseException as error:
            self.was_too_slow = self.was_too_slow or isinstance(error, TooSlow)
            self.abort()
            raise
        return len(data)

    def recv(self, size: int) -> bytes:
        """Receive what is there, once the reader may."""
        self.before_reading()
        data = self._connection.recv(size)
        self.received_at = time.monotonic()
        return data

    def close(self) -> None:
        """Nothing: simple-websocket's reader closes as soon as it has no more to read, and a reset would follow.

        Whoever serves the socket ends it, by `linger`.
        """

    def linger(self) -> None:
        """Say that nothing follows, take in what still comes, for a moment, and end the connection.

        A close with unread data resets the connection, which may take our close frame with it (RFC 9112 §9.6).
        """
        with suppress(OSError, Timeout), Timeout(LINGER_SECONDS):
            self._connection.shutdown(socket.SHUT_WR)
            taken = 0
            while taken < LINGER_BYTES and (data := self._connection.recv(RECEIVE_BYTES)):
                taken += len(data)
        self.abort()

    def abort(self) -> None:
        """End the connection at once, and with it every wait for it. Nothing is written to it any more."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

"""The connection to the service, for as long as there is one to be had: lost, it comes back, and goes on from there."""

import time
from typing import Any, NoReturn, Protocol

import gevent

from app.messages.client import endings
from app.messages.client.account import Account, Failure, Unreachable
from app.messages.client.endings import Pauses
from app.messages.client.wire import Ended, Wire

TICK_SECONDS = 0.5
# After so long without a frame the service is asked for one, and after so much longer without an answer it is gone.
SILENCE_SECONDS = 25.0
ANSWER_SECONDS = 10.0


class Listener(Protocol):
    """Who uses a link. Each method may raise Failure, which ends it, or wire.Ended, which begins it anew."""

    def cursors(self) -> dict[str, int]:
        """From where on each conversation's messages are wanted."""

    def connected(self, limits: dict[str, Any]) -> None:
        """It is ready for what is to be said."""

    def heard(self, kind: str, payload: dict[str, Any]) -> None:
        """A frame has come."""

    def tick(self) -> None:
        """Some time has passed, connected or not."""

    def disconnected(self, code: int) -> None:
        """It is no longer ready, and will be again unless this raises Failure."""


class Link:
    """Connects, and reconnects, with a token that is good, and looks after it."""

    def __init__(self, account: Account, listener: Listener) -> None:
        self._account = account
        self._listener = listener
        self._wire: Wire | None = None
        self._ready: Wire | None = None
        self._heard_at = 0.0
        self._is_asked = False
        self._needs_fresh_token = False
        self._reconnect_in: float | None = None

    @property
    def is_up(self) -> bool:
        """Whether what is said is heard."""
        return self._ready is not None

    def say(self, kind: str, **payload: Any) -> None:
        """Send a frame, if it is up. What becomes of it only an answer tells."""
        if self._ready is not None:
            self._ready.say(kind, **payload)

    def close(self) -> None:
        """End the connection, if there is one."""
        if self._wire is not None:
            self._wire.close()
        self._wire = self._ready = None

    def keep_up(self) -> NoReturn:
        """Connect again and again. Raises Failure."""
        pauses = Pauses()
        while True:
            began_at = time.monotonic()
            code = self._talk()
            self.close()
            self._needs_fresh_token |= code == endings.TOKEN_EXPIRED
            self._listener.disconnected(code)
            if endings.is_final(code):
                raise Failure(endings.words(code))
            pause = pauses.take(time.monotonic() - began_at)
            reconnect_in, self._reconnect_in = self._reconnect_in, None
            if code == endings.RESTART and reconnect_in is not None:
                pause = reconnect_in  # chosen by the service, so that not all come at once
            gevent.sleep(pause)
            self._listener.tick()

    def _talk(self) -> int:
        """One connection, to its end; the code it ended with. Raises Failure."""
        try:
            token = self._account.token(fresh=self._needs_fresh_token)
            self._needs_fresh_token = False
            self._wire = Wire(self._account.url)
            self._wire.say("auth", token=token, v=2, cursors=self._listener.cursors())
            self._heard_at, self._is_asked = time.monotonic(), False
            while True:
                self._listen(self._wire)
                self._listener.tick()
        except Unreachable:
            return endings.NO_CLOSE_FRAME
        except Ended as ended:
            return ended.code

    def _listen(self, wire: Wire) -> None:
        """Take the next frame, or see to it that there is one before long. Raises Ended, Failure."""
        frame = wire.hear(TICK_SECONDS)
        if frame is not None:
            self._heard_at, self._is_asked = time.monotonic(), False
            self._take(wire, frame["type"], frame.get("payload") or {})
            return
        silence = time.monotonic() - self._heard_at
        if silence > SILENCE_SECONDS + ANSWER_SECONDS:
            raise Ended
        if silence > SILENCE_SECONDS and not self._is_asked:
            self._is_asked = True
            wire.say("ping")

    def _take(self, wire: Wire, kind: str, payload: dict[str, Any]) -> None:
        if kind == "token_expiring":
            wire.say("auth", token=self._account.token(fresh=True), v=2)
        elif kind == "draining":
            self._reconnect_in = float(payload["reconnect_in"])
        elif kind == "error" and self._ready is None and "retry_after" in payload:
            raise Ended(endings.NO_ROOM)  # nobody was let in, nor turned away
        elif kind != "ready":
            self._listener.heard(kind, payload)
        elif self._ready is None:  # another one answers a renewed token
            self._ready = wire
            self._listener.connected(payload["limits"])

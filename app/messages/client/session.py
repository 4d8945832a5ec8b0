"""One conversation at a terminal: what is typed goes out once, what is said comes in once, whatever the line does."""

import time
from collections.abc import Callable
from typing import Any

import gevent
from gevent.event import Event

from app.messages.client import endings, words
from app.messages.client.account import Account, Failure
from app.messages.client.conversation import Conversation
from app.messages.client.link import Link
from app.messages.client.outbox import Outbox
from app.messages.client.screen import Screen
from app.messages.client.wire import frame

QUIT = "/quit"
TYPING_EVERY_SECONDS = 3.0
# Where nobody is there to decide, this is how long lines may wait for their acks without any progress.
GIVE_UP_SECONDS = 60.0
# An own line that is acknowledged is shown when it comes back in its place; the end waits for that, but not for long.
ECHO_SECONDS = 2.0
TOO_LONG = "That is too long."


class Session:
    """A conversation, from its opening to its end. What its methods raise is said with `run`."""

    def __init__(self, account: Account, screen: Screen, conversation: Conversation) -> None:
        self._screen = screen
        self._conversation = conversation
        self._link = Link(account, self)
        self._outbox = Outbox()
        self._over = Event()
        self._failure: Exception | None = None
        self._refused = 0
        self._max_frame_bytes = 64 * 1024
        self._is_lost = False
        self._is_input_over = False
        self._acked_seq, self._acked_at = 0, 0.0
        self._typed = ""
        self._typing_said_at: float | None = None

    def run(self) -> int:
        """Go on until the input has ended and all is acknowledged, or until `end`; how many lines were not stored.

        Raises:
            Failure: it cannot go on.
        """
        workers = [gevent.spawn(self._guarded, work) for work in (self._link.keep_up, self._read_lines)]
        try:
            self._over.wait()
        finally:
            gevent.killall(workers)
            self._link.close()
        if self._failure is not None:
            raise self._failure
        return len(self._outbox) + self._refused

    def end(self) -> None:
        """End it now."""
        self._over.set()

    def cursors(self) -> dict[str, int]:
        """See `link.Listener`; so are the next four."""
        return {self._conversation.id: self._conversation.seq}

    def connected(self, limits: dict[str, Any]) -> None:
        """Send what is to be sent."""
        self._max_frame_bytes = int(limits["max_frame_bytes"])
        if self._is_lost:
            self._is_lost = False
            self._screen.note("· Connected again.")
            self._conversation.catch_up_marks()
        self._send_next()
        self._on_change(self._typed)

    def heard(self, kind: str, payload: dict[str, Any]) -> None:
        """Keep account of the lines under way; the rest is the conversation's."""
        if kind == "ack":
            if self._outbox.settle(payload["client_msg_id"]) is not None:
                self._acked_seq, self._acked_at = int(payload["seq"]), time.monotonic()
            self._send_next()
        elif kind == "error":
            self._hear_error(payload)
        else:
            self._conversation.hear(kind, payload)

    def disconnected(self, code: int) -> None:
        """Take back what was under way."""
        self._typing_said_at = None
        self._conversation.forget_typing()
        unknown = self._outbox.disconnected()
        if code == endings.TOO_BIG and unknown is not None:
            self._refuse(unknown.client_msg_id, {"code": "BAD_MESSAGE", "message": TOO_LONG})
        if not self._is_lost and not endings.is_final(code):
            self._is_lost = True
            self._screen.note(f"· {endings.words(code)}. Reconnecting…")
        self._show_status()

    def tick(self) -> None:
        """See to what time brings."""
        self._send_next()
        if self._screen.is_interactive and self._link.is_up and (seq := self._conversation.take_read()) is not None:
            self._link.say("read", conversation_id=self._conversation.id, seq=seq)
        self._show_status()
        self._end_if_done()
        if self._is_input_over and self._outbox and time.monotonic() > self._outbox.progressed_at + GIVE_UP_SECONDS:
            waiting = words.counted(len(self._outbox), "line")
            raise Failure(f"{waiting} not acknowledged: the service did not answer.")

    def _guarded(self, work: Callable[[], None]) -> None:
        """Do the work of a greenlet, whose failure is the session's: `run` raises it."""
        try:
            work()
        except Exception as failure:  # noqa: BLE001 - as above
            self._failure = failure
            self._over.set()

    def _read_lines(self) -> None:
        for line in self._screen.lines(self._on_change):
            text = line.strip()
            if text == QUIT:
                break
            if self._screen.is_interactive and text.startswith("/") and text[1:].isalpha():
                self._screen.note(f"· There is no {text} here; {QUIT} ends the chat. Nothing was sent.")
            elif text:
                self._say(text)
        self._is_input_over = True
        self._end_if_done()

    def _say(self, content: str) -> None:
        self._typing_said_at = None  # the others see by the message that it was finished
        added = self._outbox.add(content)
        if len(frame("message", **self._payload(added.content, added.client_msg_id))) > self._max_frame_bytes:
            self._refuse(added.client_msg_id, {"code": "BAD_MESSAGE", "message": TOO_LONG})
        self._send_next()
        self._show_status()

    def _on_change(self, text: str) -> None:
        """Let the others see that something is being typed, or no longer is."""
        self._typed = text
        is_typing = bool(text) and not text.startswith("/")
        now = time.monotonic()
        if is_typing:
            is_due = self._typing_said_at is None or now > self._typing_said_at + TYPING_EVERY_SECONDS
        else:
            is_due = self._typing_said_at is not None
        if is_due and self._link.is_up:
            self._link.say("typing", conversation_id=self._conversation.id, is_typing=is_typing)
            self._typing_said_at = now if is_typing else None

    def _send_next(self) -> None:
        if self._link.is_up and (line := self._outbox.next()) is not None:
            self._link.say("message", **self._payload(line.content, line.client_msg_id))

    def _payload(self, content: str, client_msg_id: str) -> dict[str, str]:
        return {"conversation_id": self._conversation.id, "content": content, "client_msg_id": client_msg_id}

    def _hear_error(self, payload: dict[str, Any]) -> None:
        client_msg_id, wait = payload.get("client_msg_id"), payload.get("retry_after")
        if client_msg_id is None:
            if wait is None:  # else it was about typing or reading, which may be lost
                self._screen.note(f"· {words.refusal(payload)}")
        elif wait is None:
            self._refuse(client_msg_id, payload)
            self._send_next()
        else:
            self._outbox.postpone(client_msg_id, wait)  # and `tick` sends it

    def _refuse(self, client_msg_id: str, error: dict[str, Any]) -> None:
        line = self._outbox.settle(client_msg_id)
        if line is not None:
            self._refused += 1
            self._screen.note(f"· {words.refusal(error, line.content)}")

    def _show_status(self) -> None:
        waiting = len(self._outbox)
        is_slow = waiting and not self._link.is_up
        unsent = f"{words.counted(waiting, 'line')} not sent yet" if is_slow else ""
        self._screen.status(unsent or self._conversation.who_is_typing())

    def _end_if_done(self) -> None:
        if not self._is_input_over or self._outbox:
            return
        is_shown = self._conversation.seq >= self._acked_seq
        if is_shown or time.monotonic() > self._acked_at + ECHO_SECONDS:
            self._over.set()

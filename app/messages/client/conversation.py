"""A conversation as far as it was shown: what comes is shown once, in order, and who reads and types is known."""

import time
from typing import Any

from app.messages.client import words
from app.messages.client.account import Account
from app.messages.client.screen import Screen
from app.messages.client.wire import Ended

HISTORY = 20
# Who types says so again and again; a frame that says it has stopped can be lost.
TYPING_SECONDS = 6.0
READ_EVERY_SECONDS = 1.0
INDENT = " " * 7


class Conversation:
    """One conversation of one's own, on a screen."""

    def __init__(self, account: Account, screen: Screen, found: dict[str, Any], own_id: str) -> None:
        self.id: str = found["id"]
        self.seq = 0
        self._account = account
        self._screen = screen
        self._own_id = own_id
        self._found = found
        others = [one for one in found["participants"] if one["user_id"] != own_id]
        self._names = {one["user_id"]: words.plain(one["username"]) for one in others}
        self._read = {one["user_id"]: int(one["last_read_seq"]) for one in others}
        self._read_shown: dict[str, int] = {}
        self._own_last_seq = 0
        self._day = ""
        self._typing: dict[str, float] = {}
        self._read_to_say: int | None = None
        self._read_said_at = 0.0

    def show_latest(self) -> None:
        """Show where it stands. Raises account.Failure."""
        messages = self._account.latest(self.id, HISTORY)
        title = self._account.title(self._found["equipment_id"])
        self._screen.note(f"{words.heading(self._found, title, self._own_id)}\n{self.id}")
        if messages and messages[0]["seq"] > 1:
            self._screen.note(f"… {words.counted(messages[0]['seq'] - 1, 'earlier message')}")
        self._begin_at(messages)
        self._show_marks()

    def hear(self, kind: str, payload: dict[str, Any]) -> None:
        """Take a frame. Raises wire.Ended where something is missing, account.Failure where it is over."""
        if payload["conversation_id"] != self.id:
            if kind == "message" and payload["sender_id"] != self._own_id:
                name = words.plain(payload["sender_name"] or words.GONE)
                self._screen.note(f"· {name} wrote to you in {payload['conversation_id']}")
        elif kind == "message":
            self._take(payload)
            self._show_marks()
        elif kind == "sync":
            self._sync(payload)
            self._show_marks()
        elif payload["user_id"] == self._own_id:
            pass  # from another of one's own sockets, or this one
        elif kind == "typing":
            self._hear_typing(payload["user_id"], is_typing=payload["is_typing"])
        else:
            self._hear_read(payload["user_id"], int(payload["last_read_seq"]))

    def catch_up_marks(self) -> None:
        """Ask who has read what, of which nobody was told while the connection was lost. Raises account.Failure."""
        for one in self._account.conversation(self.id)["participants"]:
            if one["user_id"] in self._read:
                self._hear_read(one["user_id"], int(one["last_read_seq"]))

    def who_is_typing(self) -> str:
        """In words; empty if nobody is."""
        now = time.monotonic()
        names = [self._names.get(one, "somebody") for one, until in self._typing.items() if until > now]
        return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} typing…" if names else ""

    def forget_typing(self) -> None:
        """Whoever was typing may have stopped, unheard."""
        self._typing.clear()

    def take_read(self) -> int | None:
        """How far it has been read here, if that is to be told now; not told for each of many messages."""
        if self._read_to_say is None or time.monotonic() < self._read_said_at + READ_EVERY_SECONDS:
            return None
        seq, self._read_to_say = self._read_to_say, None
        self._read_said_at = time.monotonic()
        return seq

    def _sync(self, payload: dict[str, Any]) -> None:
        if payload["reset"]:
            if not payload["messages"]:
                self._account.conversation(self.id)  # says why, if there is nothing to be seen here any more
            self._screen.note("· The conversation has another past than the one above. It begins anew:")
            self._begin_at(payload["messages"])
            return
        for message in payload["messages"]:
            self._take(message)

    def _begin_at(self, messages: list[dict[str, Any]]) -> None:
        self.seq = messages[0]["seq"] - 1 if messages else 0
        self._own_last_seq = 0
        self._read_shown.clear()
        for message in messages:
            self._take(message)

    def _take(self, message: dict[str, Any]) -> None:
        """Show it, if it is the next one; what was shown before is passed over."""
        if message["seq"] <= self.seq:
            return
        if message["seq"] != self.seq + 1:
            raise Ended  # asks again from where we are
        self.seq = message["seq"]
        is_own = message["sender_id"] == self._own_id
        if is_own:
            self._own_last_seq = self.seq
        else:
            self._typing.pop(message["sender_id"], None)
            self._read_to_say = self.seq
        day = words.day(words.local(message["created_at"]))
        if day != self._day:
            self._day = day
            self._screen.note(f"— {day} —")
        self._screen.show(words.message(message, is_own=is_own))

    def _hear_typing(self, user_id: str, *, is_typing: bool) -> None:
        self._typing.pop(user_id, None)
        if is_typing:
            self._typing[user_id] = time.monotonic() + TYPING_SECONDS

    def _hear_read(self, user_id: str, seq: int) -> None:
        self._read[user_id] = max(seq, self._read.get(user_id, 0))
        self._show_marks()

    def _show_marks(self) -> None:
        """Show once who has read one's last message. That can be known before the message itself has come back."""
        for user_id, seq in self._read.items():
            if seq >= self._own_last_seq > self._read_shown.get(user_id, 0):
                self._read_shown[user_id] = self._own_last_seq
                self._screen.note(f"{INDENT}✓ read by {self._names.get(user_id, 'somebody')}")

"""A client that does what PROTOCOL.md asks of one, and notes every breach of what it promises.

It reconnects with its cursors, when it is told to or with growing pauses, sends again what was not acknowledged, and
expects of each conversation every message exactly once, in order, without a gap.
"""

import threading
import time
from collections.abc import Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any

import orjson
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, connect

from tests.support.users import ChatUser

CONNECT_SECONDS = 10
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 10.0


@dataclass
class Record:
    """What one client has seen and been promised, how its sockets ended, and how long it was without one each time.

    Of the ends, a status is of a handshake that was refused, and 0 of one that came to nothing.
    """

    seen: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    acks: dict[str, tuple[str, str, int]] = field(default_factory=dict)
    breaches: list[str] = field(default_factory=list)
    closes: list[int] = field(default_factory=list)
    absences: list[float] = field(default_factory=list)


class ResumingClient(threading.Thread):
    """Writes to all its conversations in turn, and reads them, until it is told to fall silent and then to leave."""

    def __init__(
        self,
        member: ChatUser,
        conversations: Sequence[str],
        *,
        seed: int,
        messages_per_second: float,
        origin: str | None = None,
    ) -> None:
        """`origin` is where it connects to (`ws://127.0.0.1:8080`), if not to the service itself."""
        super().__init__(daemon=True)
        self.member = member
        self._origin = origin or f"ws://127.0.0.1:{member.service.port}"
        self.record = Record(seen={conversation: [] for conversation in conversations})
        self._conversations = conversations
        self._random = Random(seed)
        self._interval = 1 / messages_per_second
        self._numbers = count(1)
        self._prefix = f"{member.id[:8]}-{seed}"
        self._unacknowledged: dict[str, tuple[str, str]] = {}
        self._again_at: dict[str, float] = {}
        self._failures = 0
        self._told_to_wait: float | None = None
        self._absent_since: float | None = None
        self._is_silent = threading.Event()
        self._is_over = threading.Event()

    @property
    def acknowledged(self) -> int:
        return len(self.record.acks)

    def is_settled(self, last_seqs: dict[str, int]) -> bool:
        """Whether it waits for nothing, and has seen so much of each conversation."""
        return not self._unacknowledged and all(
            len(self.record.seen[conversation]) >= last_seqs[conversation] for conversation in self._conversations
        )

    def fall_silent(self) -> None:
        """Send nothing new; go on until everything sent is acknowledged."""
        self._is_silent.set()

    def leave(self) -> None:
        self._is_over.set()

    def run(self) -> None:
        while not self._is_over.is_set():
            try:
                with self._connected() as ws:
                    self._converse(ws)
            except ConnectionClosed as closed:
                self._note_end(closed.rcvd.code if closed.rcvd else 1006)
            except InvalidStatus as refusal:
                self._note_end(refusal.response.status_code)
                if "Retry-After" in refusal.response.headers:
                    self._told_to_wait = float(refusal.response.headers["Retry-After"])
            except (WebSocketException, OSError, TimeoutError, EOFError):
                self._note_end(0)
            except Exception as error:  # noqa: BLE001
                self.record.breaches.append(f"client failed: {error!r}")
                return
            self._is_over.wait(self._pause())

    def _note_end(self, code: int) -> None:
        self.record.closes.append(code)
        if self._absent_since is None:
            self._absent_since = time.monotonic()

    def _pause(self) -> float:
        """What the service said, else longer with each failure, shortened at random by up to a half."""
        longest = min(FIRST_PAUSE_SECONDS * 2**self._failures, LONGEST_PAUSE_SECONDS)
        self._failures += 1
        told, self._told_to_wait = self._told_to_wait, None
        return told if told is not None else self._random.uniform(longest / 2, longest)

    @contextmanager
    def _connected(self) -> Any:
        url = f"{self._origin}/api/v1/ws"
        with connect(url, open_timeout=CONNECT_SECONDS, close_timeout=1, max_size=None, proxy=None) as ws:
            cursors = {one: seen[-1][0] if seen else 0 for one, seen in self.record.seen.items()}
            self._say(ws, "auth", token=self.member.token, v=2, cursors=cursors)
            yield ws

    def _converse(self, ws: ClientConnection) -> None:
        while (frame := orjson.loads(ws.recv(CONNECT_SECONDS)))["type"] != "ready":
            self._hear(frame)
        self._failures = 0
        if self._absent_since is not None:
            self.record.absences.append(time.monotonic() - self._absent_since)
            self._absent_since = None
        for client_msg_id in list(self._unacknowledged):
            self._send(ws, client_msg_id)
        next_at = time.monotonic()
        while not self._is_over.is_set():
            now = time.monotonic()
            for client_msg_id in [one for one, at in self._again_at.items() if at <= now]:
                del self._again_at[client_msg_id]
                self._send(ws, client_msg_id)
            if now >= next_at and not self._is_silent.is_set():
                next_at = now + self._interval
                self._send(ws, self._compose())
            with suppress(TimeoutError):
                self._hear(orjson.loads(ws.recv(self._interval)))

    def _compose(self) -> str:
        client_msg_id = f"{self._prefix}-{next(self._numbers)}"
        conversation = self._random.choice(self._conversations)
        self._unacknowledged[client_msg_id] = (conversation, f"text of {client_msg_id}")
        return client_msg_id

    def _send(self, ws: ClientConnection, client_msg_id: str) -> None:
        if client_msg_id in self._unacknowledged:
            conversation, content = self._unacknowledged[client_msg_id]
            payload = {"conversation_id": conversation, "content": content, "client_msg_id": client_msg_id}
            self._say(ws, "message", **payload)

    def _say(self, ws: ClientConnection, kind: str, **payload: Any) -> None:
        ws.send(orjson.dumps({"type": kind, "payload": payload}).decode())

    def _hear(self, frame: dict[str, Any]) -> None:
        payload = frame.get("payload", {})
        match frame["type"]:
            case "message":
                self._see(payload)
            case "sync":
                if payload["reset"]:
                    self.record.breaches.append(f"reset of {payload['conversation_id']}")
                for message in payload["messages"]:
                    self._see(message)
            case "ack":
                self._acknowledge(payload)
            case "draining":
                self._told_to_wait = payload["reconnect_in"]
            case "error" if payload["code"] == "UNAVAILABLE" and "client_msg_id" in payload:
                self._again_at[payload["client_msg_id"]] = time.monotonic() + payload["retry_after"] / 4
            case "error" if payload["code"] != "UNAVAILABLE":
                self.record.breaches.append(f"refused: {payload}")

    def _see(self, message: dict[str, Any]) -> None:
        seen = self.record.seen[message["conversation_id"]]
        expected = seen[-1][0] + 1 if seen else 1
        if message["seq"] != expected:
            self.record.breaches.append(f"saw {message['seq']} where {expected} was next")
            return
        seen.append((message["seq"], message["id"]))

    def _acknowledge(self, ack: dict[str, Any]) -> None:
        promised = (ack["conversation_id"], ack["id"], ack["seq"])
        if self.record.acks.setdefault(ack["client_msg_id"], promised) != promised:
            self.record.breaches.append(f"two different acks of {ack['client_msg_id']}")
        self._unacknowledged.pop(ack["client_msg_id"], None)

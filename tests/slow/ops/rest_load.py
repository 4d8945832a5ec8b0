"""Clients over REST that read and write all the time, each on a connection that it keeps, and note every answer."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, cycle
from typing import Any

import requests

from tests.support.users import API, ChatUser

TIMEOUT_SECONDS = 30
# Whoever is refused asks again; not so often that the machine is busy with nothing else.
PAUSE_AFTER_FAILURE_SECONDS = 0.1


@dataclass(frozen=True)
class Failure:
    sent_at: float
    what: str
    status: int | None = None
    retry_after: str | None = None


class RestClient(threading.Thread):
    """Asks again and again, so many times a second at most, until it is told to stop."""

    def __init__(self, session: requests.Session, base: str, member: ChatUser, *, per_second: float) -> None:
        super().__init__(daemon=True)
        self.answered = 0
        self.failures: list[Failure] = []
        self.longest_seconds = 0.0
        self._session = session
        self._base = base
        self._member = member
        self._interval_seconds = 1 / per_second
        self._must_stop = threading.Event()

    def stop(self) -> None:
        """Let it end what it has begun."""
        self._must_stop.set()

    def run(self) -> None:
        while not self._must_stop.is_set() or self._is_unfinished:
            before = len(self.failures)
            self._ask()
            has_failed = len(self.failures) > before
            self._must_stop.wait(PAUSE_AFTER_FAILURE_SECONDS if has_failed else self._interval_seconds)

    @property
    def _is_unfinished(self) -> bool:
        return False

    def _ask(self) -> None:
        raise NotImplementedError

    def _call(self, method: str, path: str, **options: Any) -> requests.Response | None:
        """The answer, if it is a success; every other outcome is noted, and nothing is tried again here."""
        began_at = time.monotonic()
        try:
            answer = self._session.request(
                method, f"{self._base}{API}{path}", headers=self._member.headers, timeout=TIMEOUT_SECONDS, **options
            )
        except requests.RequestException as error:
            self.failures.append(Failure(began_at, repr(error)))
            return None
        finally:
            self.longest_seconds = max(self.longest_seconds, time.monotonic() - began_at)
        self.answered += 1
        if answer.ok:
            return answer
        retry_after = answer.headers.get("Retry-After")
        self.failures.append(Failure(began_at, f"{method} {path}: {answer.text}", answer.status_code, retry_after))
        return None


class Reader(RestClient):
    """Reads what is public, and what is its member's own, in turn."""

    def __init__(self, *args: Any, conversations: Sequence[str], **options: Any) -> None:
        super().__init__(*args, **options)
        own = [f"/conversations/{conversation}/messages?limit=5" for conversation in conversations]
        self._paths = cycle(["/equipment?limit=5", "/categories", "/auth/me", *own])

    def _ask(self) -> None:
        self._call("GET", next(self._paths))


class Writer(RestClient):
    """Writes to its member's conversations, each message until it is known to be stored."""

    def __init__(self, *args: Any, conversations: Sequence[str], name: str, **options: Any) -> None:
        super().__init__(*args, **options)
        self.acks: dict[str, tuple[str, str, int]] = {}
        self._conversations = cycle(conversations)
        self._names = (f"{name}-{number}" for number in count(1))
        self._pending: tuple[str, str] | None = None

    @property
    def _is_unfinished(self) -> bool:
        return self._pending is not None

    def _ask(self) -> None:
        if self._pending is None:
            self._pending = next(self._conversations), next(self._names)
        conversation, client_msg_id = self._pending
        body = {"content": f"text of {client_msg_id}", "client_msg_id": client_msg_id}
        answer = self._call("POST", f"/conversations/{conversation}/messages", json=body)
        if answer is not None:
            message = answer.json()
            self.acks[client_msg_id] = (conversation, message["id"], message["seq"])
            self._pending = None

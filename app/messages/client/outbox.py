"""Lines on their way to the service: in order, one at a time, each until it is acknowledged or refused."""

import time
from collections import deque
from dataclasses import dataclass, field
from uuid import uuid4


@dataclass(frozen=True)
class Line:
    """What somebody wrote, under the name that makes it one message however often it is sent."""

    content: str
    client_msg_id: str = field(default_factory=lambda: str(uuid4()))


class Outbox:
    """The first line is sent, and the next one when that one's fate is known: so they are stored in this order."""

    def __init__(self) -> None:
        self._lines: deque[Line] = deque()
        self._under_way: Line | None = None
        self._not_before = 0.0
        self.progressed_at = time.monotonic()

    def __len__(self) -> int:
        """How many have not been acknowledged."""
        return len(self._lines)

    def add(self, content: str) -> Line:
        """Take a line."""
        if not self._lines:
            self.progressed_at = time.monotonic()
        self._lines.append(line := Line(content))
        return line

    def next(self) -> Line | None:
        """The line to send now, if there is one; it is under way from here on."""
        if not self._lines or self._under_way is not None or time.monotonic() < self._not_before:
            return None
        self._under_way = self._lines[0]
        return self._under_way

    def settle(self, client_msg_id: str | None) -> Line | None:
        """A line is acknowledged, or refused for good; None if none of this name is awaited."""
        line = next((line for line in self._lines if line.client_msg_id == client_msg_id), None)
        if line is not None:
            self._lines.remove(line)
            self.progressed_at = time.monotonic()
            if line is self._under_way:
                self._under_way = None
        return line

    def postpone(self, client_msg_id: str, seconds: float) -> None:
        """The line under way is to be sent again, after a while."""
        if self._under_way is not None and self._under_way.client_msg_id == client_msg_id:
            self._under_way = None
            self._not_before = time.monotonic() + seconds

    def disconnected(self) -> Line | None:
        """What became of the line under way is unknown: it is to be sent again. Which one that is."""
        unknown, self._under_way = self._under_way, None
        return unknown

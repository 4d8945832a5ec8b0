"""Reads that several ask for at the same time, made once for all of them.

A worker under load has many requests that each want a row or two. A round trip costs much the same for one key as for
twenty, so those who come while a read is under way are gathered, and the next one is for all of them. Who comes alone
reads at once.

Nobody gets an answer older than the question: a reader takes part in a read that begins after it asked, never in one
that had begun before. So this is no cache, and nothing is ever to be invalidated.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from gevent.event import AsyncResult, Event

from app.db import session
from app.errors import Unavailable

MAX_KEYS = 100
# How long those who are gathered wait for the read before theirs. A read that hangs holds nobody up for longer.
PATIENCE_SECONDS = 0.02
# Above the longest read: a connection waited for, a statement ended by its timeout, a server given up.
SHARED_READ_SECONDS = 15
RETRY_SECONDS = 1

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class _Read(Generic[Key, Value]):
    """One read, while it gathers its keys and while it runs."""

    def __init__(self) -> None:
        self.keys: dict[Key, None] = {}
        self.found: AsyncResult[Mapping[Key, Value]] = AsyncResult()
        self.is_over = Event()


class BatchLoader(Generic[Key, Value]):
    """`BatchLoader(read_many).get(key)` is `read_many([key])[key]`, in fewer round trips where many ask at once.

    `read_many` finds the values of up to `most` different keys, with bounded waits; what it leaves out is not there. It
    runs in the greenlet of one of those who ask. One object serves one worker, for its life.
    """

    def __init__(self, read_many: Callable[[Sequence[Key]], Mapping[Key, Value]], *, most: int = MAX_KEYS) -> None:
        self._read_many = read_many
        self._most = most
        self._gathering: _Read[Key, Value] | None = None
        self._running: _Read[Key, Value] | None = None

    def get(self, key: Key) -> Value | None:
        """The value of a key, as it is at this moment or after; None if there is none.

        Raises:
            Unavailable: the read was cut off. Whatever `read_many` raises, for all who shared it.
        """
        if session.in_unit_of_work():  # which sees what it has changed itself, and must do so on its own connection
            return self._read_many([key]).get(key)
        shared = self._gathering
        if shared is not None and (key in shared.keys or len(shared.keys) < self._most):
            shared.keys[key] = None
            return self._wait(shared).get(key)
        mine = self._gathering = _Read()
        mine.keys[key] = None
        return self._read(mine).get(key)

    def _read(self, mine: _Read[Key, Value]) -> Mapping[Key, Value]:
        """Wait for the read that is under way, if one is; then read, for all who came meanwhile."""
        try:
            if self._running is not None:
                self._running.is_over.wait(PATIENCE_SECONDS)
            self._close(mine)
            found = self._read_many(list(mine.keys))
        except Exception as error:
            mine.found.set_exception(error)
            raise
        except BaseException:  # this greenlet is ended, which is nobody else's matter
            mine.found.set_exception(_cut_off())
            raise
        else:
            mine.found.set(found)
            return found
        finally:
            self._close(mine)
            mine.is_over.set()
            if self._running is mine:
                self._running = None

    def _close(self, mine: _Read[Key, Value]) -> None:
        """From here on, who comes is too late for this read."""
        if self._gathering is mine:
            self._gathering = None
            self._running = mine

    @staticmethod
    def _wait(shared: _Read[Key, Value]) -> Mapping[Key, Value]:
        shared.found.wait(SHARED_READ_SECONDS)
        if not shared.found.ready():
            raise _cut_off()
        found: Mapping[Key, Value] = shared.found.get()
        return found


class SingleFlight(Generic[Key, Value]):
    """`SingleFlight(read).get(key)` is `read(key)`, once for those who ask for the same at the same time.

    For what is no matter of a few rows: others' reads neither wait for it nor are made with it. What is given to
    several must be immutable.
    """

    def __init__(self, read: Callable[[Key], Value]) -> None:
        self._read = read
        self._asked: dict[Key, _Asked[Value]] = {}

    def get(self, key: Key) -> Value:
        """What `read` gives at this moment or after. Raises as `BatchLoader.get`."""
        asked = self._asked.get(key)
        if asked is None:
            asked = self._asked[key] = _Asked(BatchLoader(lambda _: {None: self._read(key)}))
        asked.readers += 1
        try:
            found = asked.coalesced.get(None)
            assert found is not None  # noqa: S101 - it is what `_read` gave
            return found
        finally:
            asked.readers -= 1
            if asked.readers == 0:
                del self._asked[key]


@dataclass
class _Asked(Generic[Value]):
    coalesced: BatchLoader[None, Value]
    readers: int = 0


def _cut_off() -> Unavailable:
    return Unavailable("This took too long; ask again.", retry_after_seconds=RETRY_SECONDS)

"""Shared reads: concurrent requests for rows by key share one query, and equal concurrent reads are made once."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Generic, TypeVar, cast
from weakref import WeakValueDictionary

import gevent
from gevent.event import AsyncResult, Event

from app.db import session
from app.errors import Unavailable
from app.observability import query_counts
from app.observability.query_counts import QueryCount

MAX_KEYS = 100
# The longest time that calls gather for the next read while another one runs. A read that hangs delays each later one
# by this.
MAX_GATHER_SECONDS = 0.01
# Above the longest read: a wait for a connection, a connect, a statement timeout, a silent server.
SHARED_READ_SECONDS = 15
RETRY_SECONDS = 1

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class _Batch(Generic[Key, Value]):
    def __init__(self) -> None:
        self.keys: dict[Key, None] = {}
        self.values: AsyncResult[Mapping[Key, Value]] = AsyncResult()
        self.queries = QueryCount()


class BatchLoader(Generic[Key, Value]):
    """`BatchLoader(read_many).get(key)` is `read_many([key]).get(key)`, in one query for concurrent calls.

    `read_many` returns the values of up to `MAX_KEYS` different keys, and leaves missing ones out. A read begins after
    all calls that share it, so this is no cache: a value is never older than the call. The read runs in a greenlet of
    its own, so a killed caller does not fail the others.
    """

    def __init__(self, read_many: Callable[[Sequence[Key]], Mapping[Key, Value]]) -> None:
        self._read_many = read_many
        self._gathering: _Batch[Key, Value] | None = None
        self._running = 0
        self._is_idle = Event()
        self._is_idle.set()

    def get(self, key: Key) -> Value | None:
        """The value of a key, or None. Raises errors of the read, and Unavailable after `SHARED_READ_SECONDS`."""
        if session.in_unit_of_work():  # whose own changes only its connection sees
            return self._read_many([key]).get(key)
        batch = self._gathering
        if batch is None or len(batch.keys) == MAX_KEYS:
            batch = self._gathering = _Batch()
            # A raw greenlet does not inherit the caller's context variables.
            gevent.spawn_raw(self._read, batch)
        batch.keys[key] = None
        try:
            batch.values.wait(SHARED_READ_SECONDS)
        finally:
            query_counts.add(batch.queries)
        if not batch.values.ready():
            raise Unavailable("This took too long; ask again.", retry_after_seconds=RETRY_SECONDS)
        values: Mapping[Key, Value] = batch.values.get()
        return values.get(key)

    def _read(self, batch: _Batch[Key, Value]) -> None:
        self._is_idle.wait(MAX_GATHER_SECONDS)
        if self._gathering is batch:
            self._gathering = None
        batch.queries = query_counts.start()
        self._is_idle.clear()
        self._running += 1
        try:
            batch.values.set(self._read_many(list(batch.keys)))
        except Exception as error:  # noqa: BLE001 - every caller raises it
            batch.values.set_exception(error)
        finally:
            self._running -= 1
            if not self._running:
                self._is_idle.set()


class SingleFlight(Generic[Key, Value]):
    """`SingleFlight().get(key, read)` is `read()`, which concurrent calls with equal keys share.

    As with `BatchLoader`, a value is never older than the call.
    """

    def __init__(self) -> None:
        self._loaders: WeakValueDictionary[Key, BatchLoader[Key, Value]] = WeakValueDictionary()

    def get(self, key: Key, read: Callable[[], Value]) -> Value:
        """The value that `read` returns. Raises as `BatchLoader.get`."""
        loader = self._loaders.get(key)
        if loader is None:
            loader = self._loaders[key] = BatchLoader(lambda _keys: {key: read()})
        return cast(Value, loader.get(key))

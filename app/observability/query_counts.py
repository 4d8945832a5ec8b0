"""How many statements a request had the database run, and for how long it waited for them.

Kept in a context variable, which every greenlet has for itself; greenlets that nobody counts for cost nothing.
"""

import time
from contextvars import ContextVar
from typing import Any

from sqlalchemy import Engine, event


class QueryCount:
    """Statements so far, failed ones included, and the seconds from sending each to its answer."""

    def __init__(self) -> None:
        self.statements = 0
        self.seconds = 0.0
        self._began_at: float | None = None

    def begin(self) -> None:
        """Note that a statement is sent."""
        self.statements += 1
        self._began_at = time.perf_counter()

    def end(self) -> None:
        """Note that its answer, or an error, has come."""
        if self._began_at is not None:
            self.seconds += time.perf_counter() - self._began_at
            self._began_at = None


_current: ContextVar[QueryCount | None] = ContextVar("query_count", default=None)


def start() -> QueryCount:
    """Count from here on, for the request that this greenlet serves."""
    count = QueryCount()
    _current.set(count)
    return count


def watch(engine: Engine) -> None:
    """Let this engine's statements be counted. BEGIN, COMMIT and the pool's checks are the driver's, and are not."""

    @event.listens_for(engine, "before_cursor_execute")
    def begin(*_: Any) -> None:
        if count := _current.get():
            count.begin()

    @event.listens_for(engine, "after_cursor_execute")
    @event.listens_for(engine, "handle_error")
    def end(*_: Any) -> None:
        if count := _current.get():
            count.end()

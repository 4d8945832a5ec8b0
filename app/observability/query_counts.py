"""The number of SQL statements of a request, and the time that it waited for them.

The count is in a context variable, so each greenlet has its own.
"""

import time
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, event


@dataclass
class QueryCount:
    """Statements so far, failed ones included, and the seconds from sending each to its answer."""

    statements: int = 0
    seconds: float = 0.0
    began_at: float | None = None


_current: ContextVar[QueryCount | None] = ContextVar("query_count", default=None)


def start() -> QueryCount:
    """Count this greenlet's statements from here on."""
    count = QueryCount()
    _current.set(count)
    return count


def add(shared: QueryCount) -> None:
    """Count the statements of a read that this greenlet shared with others."""
    if count := _current.get():
        count.statements += shared.statements
        count.seconds += shared.seconds


def watch(engine: Engine) -> None:
    """Count this engine's statements. The driver's own are not counted: BEGIN, COMMIT and the pool's pings."""

    @event.listens_for(engine, "before_cursor_execute")
    def begin(*_: Any) -> None:
        if count := _current.get():
            count.statements += 1
            count.began_at = time.perf_counter()

    @event.listens_for(engine, "after_cursor_execute")
    @event.listens_for(engine, "handle_error")
    def end(*_: Any) -> None:
        count = _current.get()
        if count and count.began_at is not None:
            count.seconds += time.perf_counter() - count.began_at
            count.began_at = None

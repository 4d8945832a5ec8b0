"""`transaction()` and `single_statement()`: the only ways from a service to the database."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg2
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from app.db.engine import SILENT_SERVER_GRACE_SECONDS, make_engine, wait_with_gevent
from app.settings import Settings

# expire_on_commit=False: what a service returns stays readable after its transaction, and a forgotten lazy load
# raises DetachedInstanceError instead of quietly taking a second connection.
_new_session = sessionmaker(expire_on_commit=False)


@contextmanager
def transaction() -> Iterator[Session]:
    """One unit of work: committed when the block ends, rolled back when it raises, its connection returned either way.

    Inside of `unit_of_work()` it is a part: rolled back by itself when it raises, and committed with the whole.

    Raises:
        sqlalchemy.exc.TimeoutError: no pooled connection within `DB_POOL_TIMEOUT_SECONDS`.
        sqlalchemy.exc.DBAPIError: what the database refused or could not do.
    """
    around = _current.whole
    options = {} if around is None else {"bind": around.connection, "join_transaction_mode": "create_savepoint"}
    with _new_session(**options) as session, session.begin():
        yield session


@contextmanager
def single_statement() -> Iterator[Connection]:
    """A connection for one statement, which is a transaction by itself: committed when its answer is there.

    So is what it notifies of, and all or nothing of what it writes. It takes one round trip; `transaction()`, with
    BEGIN and COMMIT, takes three. Two statements would be two transactions. Inside of `unit_of_work()` it is a
    part, as there.

    Raises:
        As `transaction()`.
    """
    shared = _current.whole.connection if _current.whole is not None else _bound.connection
    if shared is not None:
        with shared.begin_nested():
            yield shared
        return
    with _bound.engine.connect() as connection:
        driver: Any = connection.connection.dbapi_connection
        driver.autocommit = True
        try:
            yield connection
        finally:
            if not driver.closed:
                driver.autocommit = False


@dataclass(frozen=True)
class _Whole:
    connection: Connection
    afterwards: list[Callable[[], None]] = field(default_factory=list)


class _Current(threading.local):
    """Of a greenlet, where gevent is: what a request spawns is no part of its transaction, as it would be by a
    context variable.
    """

    whole: _Whole | None = None


_current = _Current()


@contextmanager
def unit_of_work() -> Iterator[Session]:
    """One transaction of all that happens in the block: every `transaction()` in it is a part, by a savepoint.

    Only around what waits for nothing but the database: a connection is held all the while. It goes into no other.

    Raises:
        As `transaction()`.
    """
    with _new_session.begin() as session:
        _current.whole = this = _Whole(session.connection())
        try:
            yield session
        finally:
            _current.whole = None
    for act in this.afterwards:
        act()


def in_unit_of_work() -> bool:
    """Tell whether this greenlet is inside of a `unit_of_work()`."""
    return _current.whole is not None


def on_commit(act: Callable[[], None]) -> None:
    """Do something that the world may see only of what is committed: now, or, in a `unit_of_work()`, at its end.

    Called after `with transaction()`; what is rolled back is not done.
    """
    if _current.whole is None:
        act()
    else:
        _current.whole.afterwards.append(act)


def delete_in_batches(remove: Callable[[Session, int], int], *, batch_size: int) -> int:
    """Remove rows in short transactions of `batch_size` rows until one finds fewer; how many rows it was."""
    removed = 0
    while True:
        with transaction() as session:
            batch = remove(session, batch_size)
        removed += batch
        if batch < batch_size:
            return removed


def configure(settings: Settings) -> Engine:
    """Make the engine and hand it to `transaction()`. Connects to nothing yet."""
    engine = make_engine(settings)
    bind_sessions(engine)
    wait_with_gevent(settings.db_statement_timeout_ms / 1000 + SILENT_SERVER_GRACE_SECONDS)
    return engine


def bind_sessions(bind: Engine | Connection, **session_options: Any) -> None:
    """Let `transaction()` work on this engine, or on one connection of it (as a test that rolls back does)."""
    _new_session.configure(bind=bind, **session_options)
    _bound.engine = bind.engine
    _bound.connection = bind if isinstance(bind, Connection) else None


class _Bound:
    """What `bind_sessions` was given: an engine, or one connection of it."""

    engine: Engine
    connection: Connection | None = None


_bound = _Bound()


@contextmanager
def translate_integrity_errors(**errors: Callable[[], Exception]) -> Iterator[None]:
    """Turn a violated constraint, by its name, into the domain's error; anything else is passed on.

    The database checks when a statement reaches it, so the statement must be executed or flushed inside the block.
    """
    try:
        yield
    except IntegrityError as violation:
        constraint = violation.orig.diag.constraint_name if isinstance(violation.orig, psycopg2.Error) else None
        if constraint in errors:
            raise errors[constraint]() from violation
        raise

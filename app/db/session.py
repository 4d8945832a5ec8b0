"""`transaction()`, `single_statement()` and `unit_of_work()`: the only ways from a service to the database."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import psycopg2
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.db import prepared
from app.db.engine import SILENT_SERVER_GRACE_SECONDS, Database, wait_with_gevent
from app.settings import Settings

P = ParamSpec("P")
Executor = TypeVar("Executor", bound=Session | Connection)
Result = TypeVar("Result")


class _Unit(threading.local):
    """One greenlet's unit of work. A context variable would be inherited by the greenlets that a request spawns."""

    connection: Connection | None = None
    callbacks: list[Callable[[], None]]


class _Bound:
    """Where connections come from: the process's database, or one connection that a test rolls back."""

    source: Database | Connection


_unit = _Unit()
_bound = _Bound()


@contextmanager
def transaction() -> Iterator[Session]:
    """A session in a transaction, which is committed at the end of the block and rolled back if the block raises.

    Inside `unit_of_work()` it is a savepoint of that transaction. Raises SQLAlchemy's DBAPIError, and its TimeoutError
    if no pooled connection was free within `DB_POOL_TIMEOUT_SECONDS`.
    """
    # expire_on_commit=False: what a service returns stays readable after its transaction, and a forgotten lazy load
    # raises DetachedInstanceError instead of taking a second connection.
    with (
        _connection() as connection,
        Session(connection, expire_on_commit=False, join_transaction_mode="create_savepoint") as session,
        session.begin(),
    ):
        yield session


@contextmanager
def single_statement() -> Iterator[Connection]:
    """A connection in autocommit for exactly one statement, which commits by itself.

    It takes one round trip; `transaction()` takes three, with BEGIN and COMMIT. Inside `unit_of_work()` it is a
    savepoint of that transaction. Raises as `transaction()`.
    """
    with _connection() as connection:
        if connection.in_transaction():
            with connection.begin_nested():
                yield connection
            return
        driver: Any = connection.connection.dbapi_connection
        driver.autocommit = True
        try:
            yield connection
        finally:
            if not driver.closed:
                driver.autocommit = False


@contextmanager
def unit_of_work() -> Iterator[Session]:
    """One transaction around several: every `transaction()` in the block is a savepoint of it.

    The block holds one connection throughout, so it waits for nothing but the database. Blocks do not nest. Raises as
    `transaction()`.
    """
    with transaction() as session:
        _unit.connection, _unit.callbacks = session.connection(), []
        try:
            yield session
        finally:
            _unit.connection = None
    for callback in _unit.callbacks:
        callback()


def in_unit_of_work() -> bool:
    """Whether this greenlet is inside `unit_of_work()`."""
    return _unit.connection is not None


def on_commit(callback: Callable[[], None]) -> None:
    """Call a function once the work is committed: now, or after the enclosing `unit_of_work()`, unless it rolls back.

    It is called after a `with transaction()` block.
    """
    if _unit.connection is None:
        callback()
    else:
        _unit.callbacks.append(callback)


def run_in(
    block: Callable[[], AbstractContextManager[Executor]], work: Callable[Concatenate[Executor, P], Result]
) -> Callable[P, Result]:
    """`work` as a function that opens `transaction` or `single_statement` for its first argument."""

    @wraps(work)
    def run(*args: P.args, **options: P.kwargs) -> Result:
        with block() as executor:
            return work(executor, *args, **options)

    return run


@contextmanager
def translate_integrity_errors(**errors: Callable[[], Exception]) -> Iterator[None]:
    """Raise the domain error of a violated constraint, found by the constraint's name; other errors pass.

    The statement must be executed or flushed inside the block, because the database checks constraints then.
    """
    try:
        yield
    except IntegrityError as violation:
        constraint = violation.orig.diag.constraint_name if isinstance(violation.orig, psycopg2.Error) else None
        if constraint in errors:
            raise errors[constraint]() from violation
        raise


def configure(settings: Settings) -> Engine:
    """Make the process's engine, install the wait callback, and prepare statements or not. Opens no connection."""
    _bound.source = database = Database(settings)
    wait_with_gevent(settings.db_statement_timeout_ms / 1000 + SILENT_SERVER_GRACE_SECONDS)
    prepared.configure(settings)
    return database.engine


@contextmanager
def bound_to(source: Database | Connection) -> Iterator[None]:
    """Take connections from another database, or use one connection for all work, for the block (as tests do)."""
    previous, _bound.source = _bound.source, source
    try:
        yield
    finally:
        _bound.source = previous


def _connection() -> AbstractContextManager[Connection]:
    source = _bound.source if _unit.connection is None else _unit.connection
    return nullcontext(source) if isinstance(source, Connection) else source.connect()

"""The engine, its pool with a fair checkout, timeouts, and the wait callback for gevent.

Every wait has a limit: for a pooled connection, a connect, a statement, a lock, an idle transaction, and a peer that
no longer answers.
"""

import select
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import psycopg2
import psycopg2.extensions
from gevent.event import Event
from gevent.monkey import get_original
from gevent.socket import wait_read, wait_write
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import Dialect, make_url
from sqlalchemy.exc import DBAPIError, InvalidatePoolError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry, NullPool, PoolProxiedConnection, QueuePool

from app.observability import metrics, query_counts
from app.settings import Settings

CONNECT_TIMEOUT_SECONDS = 3
LOCK_TIMEOUT_MS = 3_000
IDLE_IN_TRANSACTION_TIMEOUT_MS = 10_000
TCP_USER_TIMEOUT_MS = 10_000
# The server cancels a statement after DB_STATEMENT_TIMEOUT_MS; the client waits this much longer for the answer.
SILENT_SERVER_GRACE_SECONDS = 2
PROBE_TIMEOUT_SECONDS = 1
# Skip the liveness check for connections idle for less than this.
LIVENESS_CHECK_IDLE_SECONDS = 5.0
# Greenlets that may wait for a connection; further ones are refused at once.
MAX_WAITERS = 500
LISTENER_NAME = "gearyard-listener"

# SQLSTATE classes and codes of transient errors (PostgreSQL, Appendix A): connection, resources, operator, cancelled,
# lock not available, deadlock, serialization.
_TRANSIENT_SQLSTATES = ("08", "53", "57", "55P03", "40P01", "40001")

# Key in a pooled connection's `info`: when it was returned, by the monotonic clock.
_RETURNED_AT = "returned_at"
_poll = get_original("select", "poll")  # gevent's poll switches greenlets even with a timeout of 0


class CheckoutQueue:
    """A bounded first-in-first-out queue of permits: a returned permit goes to the longest waiter.

    Under gevent, SQLAlchemy's pool is unfair: a greenlet that returns a connection can take it again before a woken
    waiter runs.
    """

    def __init__(self, permits: int, timeout_seconds: float) -> None:
        self._free = permits
        self._timeout_seconds = timeout_seconds
        self._waiters: deque[Event] = deque()

    def acquire(self) -> None:
        """Take a permit. Raises SQLAlchemy's TimeoutError after the timeout, or if `MAX_WAITERS` greenlets wait."""
        if self._free:  # then there are no waiters
            self._free -= 1
        else:
            self._wait()
        metrics.POOL_IN_USE.inc()

    def release(self) -> None:
        """Return a permit that was taken."""
        metrics.POOL_IN_USE.dec()
        self._pass_on()

    def _wait(self) -> None:
        if len(self._waiters) >= MAX_WAITERS:
            raise PoolTimeout(f"{MAX_WAITERS} greenlets wait for a database connection already.")
        turn = Event()
        self._waiters.append(turn)
        try:
            with metrics.POOL_WAITING.track_inprogress():
                if not turn.wait(self._timeout_seconds):
                    raise PoolTimeout(f"No database connection was free within {self._timeout_seconds} s.")
        except BaseException:
            if turn.is_set():  # a killed waiter passes on the permit that it was given
                self._pass_on()
            else:
                self._waiters.remove(turn)
            raise

    def _pass_on(self) -> None:
        if self._waiters:
            self._waiters.popleft().set()
        else:
            self._free += 1


class Database:
    """An engine whose connections are checked out in the order in which they are asked for."""

    def __init__(self, settings: Settings) -> None:
        self.engine = make_engine(settings)
        self._queue = CheckoutQueue(_max_connections(settings), settings.db_pool_timeout_seconds)

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """Check a connection out of the pool for the block.

        Raises:
            sqlalchemy.exc.TimeoutError: none was free within `DB_POOL_TIMEOUT_SECONDS`.
            sqlalchemy.exc.DBAPIError: the server refuses a new connection, or does not answer.
        """
        with metrics.POOL_WAIT.time():
            self._queue.acquire()
            try:
                connection = self.engine.connect()
            except BaseException:
                self._queue.release()
                raise
        try:
            with connection:
                yield connection
        finally:
            self._queue.release()


def make_engine(settings: Settings) -> Engine:
    """An engine with every limit of the pool and of the server set.

    The service opens at most workers × (`DB_POOL_SIZE` + `DB_MAX_OVERFLOW` + one for the readiness probe + one for
    LISTEN) connections, which must stay below the server's `max_connections`.
    """
    engine = create_engine(
        settings.database_url,
        poolclass=QueuePool,
        # SQLAlchemy's own overflow would close and reopen connections under load.
        pool_size=_max_connections(settings),
        max_overflow=0,
        pool_timeout=settings.db_pool_timeout_seconds,
        pool_recycle=settings.db_pool_recycle_seconds,
        hide_parameters=True,  # an error's text is logged, and parameters are user data
        pool_use_lifo=True,
        connect_args=_connect_args(
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            statement_timeout=settings.db_statement_timeout_ms,
            lock_timeout=LOCK_TIMEOUT_MS,
            idle_in_transaction_session_timeout=IDLE_IN_TRANSACTION_TIMEOUT_MS,
        ),
    )
    if settings.db_pool_pre_ping:
        event.listen(engine, "checkin", _note_checkin)
        event.listen(engine, "checkout", partial(_check_liveness, engine.dialect))
    query_counts.watch(engine)
    return engine


def _max_connections(settings: Settings) -> int:
    return settings.db_pool_size + settings.db_max_overflow


def _note_checkin(_: Any, record: ConnectionPoolEntry) -> None:
    record.info[_RETURNED_AT] = time.monotonic()


def _check_liveness(dialect: Dialect, connection: Any, record: ConnectionPoolEntry, _: PoolProxiedConnection) -> None:
    """Ping a connection that was idle for long, or whose socket is readable, as it is when the server has closed it.

    `pool_pre_ping` would cost a round trip at every checkout. InvalidatePoolError makes the pool replace the connection
    and all that are older.
    """
    now = time.monotonic()
    idle_seconds = now - record.info.get(_RETURNED_AT, now)
    poll = _poll()
    poll.register(connection.fileno(), select.POLLIN)
    try:
        if idle_seconds >= LIVENESS_CHECK_IDLE_SECONDS or poll.poll(0):
            dialect.do_ping(connection)
    except psycopg2.Error as error:
        raise InvalidatePoolError from error


def make_probe_engine(settings: Settings) -> Engine:
    """An engine for readiness probes: no pool, and `PROBE_TIMEOUT_SECONDS` for connecting and for each statement."""
    timeouts = {"connect_timeout": PROBE_TIMEOUT_SECONDS, "statement_timeout": PROBE_TIMEOUT_SECONDS * 1000}
    return create_engine(settings.database_url, poolclass=NullPool, connect_args=_connect_args(**timeouts))


def is_unavailable(error: Exception) -> bool:
    """Whether an error is transient: the client may repeat the request."""
    if isinstance(error, PoolTimeout):
        return True
    if not isinstance(error, DBAPIError):
        return False
    sqlstate = getattr(error.orig, "pgcode", None)
    no_answer = sqlstate is None and isinstance(error, OperationalError)
    return no_answer or error.connection_invalidated or (sqlstate or "").startswith(_TRANSIENT_SQLSTATES)


def connect_listener(settings: Settings) -> Any:
    """A psycopg2 connection outside the pool, in autocommit, for LISTEN."""
    url = make_url(settings.database_url)
    # The dialect translates several hosts into libpq's notation.
    positional, named = url.get_dialect()().create_connect_args(url)
    timeouts = {"connect_timeout": CONNECT_TIMEOUT_SECONDS, "statement_timeout": settings.db_statement_timeout_ms}
    connection = psycopg2.connect(
        *positional, **{**named, **_connect_args(**timeouts), "application_name": LISTENER_NAME}
    )
    connection.autocommit = True
    return connection


def _connect_args(*, connect_timeout: int, **server_settings: int) -> dict[str, Any]:
    """Connection parameters of libpq (PostgreSQL, "Database Connection Control Functions")."""
    options = " ".join(f"-c {name}={value}" for name, value in server_settings.items())
    return {
        "application_name": "gearyard",
        "connect_timeout": connect_timeout,
        "tcp_user_timeout": TCP_USER_TIMEOUT_MS,
        # JIT compilation takes longer than a query of milliseconds. `app.db.prepared` explains the plan cache mode.
        "options": f"{options} -c timezone=UTC -c jit=off -c plan_cache_mode=force_generic_plan",
        "keepalives_idle": 30,
        "keepalives_interval": 5,
        "keepalives_count": 3,
    }


def wait_with_gevent(silence_seconds: float) -> None:
    """Let other greenlets run while one waits for PostgreSQL; without this a query blocks the whole worker."""

    def wait(connection: Any) -> None:
        timeout_seconds = silence_seconds
        # libpq ignores `connect_timeout` when psycopg2 connects asynchronously.
        if connection.status == psycopg2.extensions.STATUS_SETUP:
            timeout_seconds = float(connection.info.dsn_parameters.get("connect_timeout", CONNECT_TIMEOUT_SECONDS))
        deadline = time.monotonic() + timeout_seconds
        while (state := connection.poll()) != psycopg2.extensions.POLL_OK:
            wait_ready = wait_read if state == psycopg2.extensions.POLL_READ else wait_write
            # psycopg2 closes the connection when its callback raises, so a late answer is never read.
            no_answer = psycopg2.OperationalError("timeout expired: the database server does not answer")
            wait_ready(connection.fileno(), max(0.001, deadline - time.monotonic()), no_answer)

    psycopg2.extensions.set_wait_callback(wait)


@contextmanager
def blocking_waits() -> Iterator[None]:
    """Wait as plain psycopg2 does: COPY does not work with a wait callback."""
    callback = psycopg2.extensions.get_wait_callback()
    psycopg2.extensions.set_wait_callback(None)
    try:
        yield
    finally:
        psycopg2.extensions.set_wait_callback(callback)

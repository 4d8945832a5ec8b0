"""The engine and its pool.

Every wait is bounded: for a pooled connection, for a connect, for a statement, for a lock, for a client that forgot
to end its transaction, and for a peer that vanished from the network.
"""

import select
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import psycopg2
import psycopg2.extensions
from gevent.monkey import get_original
from gevent.socket import wait_read, wait_write
from sqlalchemy import Engine, create_engine, event
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
# The server ends a statement at DB_STATEMENT_TIMEOUT_MS; a client that has heard nothing this long after it gives up.
SILENT_SERVER_GRACE_SECONDS = 2
PROBE_TIMEOUT_SECONDS = 1
# For so long an idle connection is believed to be alive unless something has come over it. A peer that vanished without
# a word is found by asking alone; in so short a time it is as unlikely as in the midst of a statement.
IDLE_UNASKED_SECONDS = 5.0
# Above the time between two peaks of a load that comes and goes.
SURPLUS_SECONDS = 60.0
LISTENER_NAME = "gearyard-listener"

# SQLSTATE classes and codes that mean "not now" (PostgreSQL, Appendix A): connection, resources, operator, cancelled,
# lock not available, deadlock, serialization.
_TRANSIENT_SQLSTATES = ("08", "53", "57", "55P03", "40P01", "40001")

# When a pooled connection was last given back, by the monotonic clock; in the pool's notes about it.
_RETURNED_AT = "returned_at"
_poll = get_original("select", "poll")  # gevent's gives way to other greenlets, even where there is no wait

_KEEPALIVES = {"keepalives": 1, "keepalives_idle": 30, "keepalives_interval": 5, "keepalives_count": 3}


class CountedPool(QueuePool):
    """SQLAlchemy's pool, whose state and waits are counted, and which does not part with connections in haste.

    SQLAlchemy's closes each that comes back when `pool_size` others lie idle, and under a load that goes up and down it
    makes dozens a second, for each of which the server starts a process. Here one beyond `pool_size` goes when it has
    lain idle for `SURPLUS_SECONDS`. There are `pool_size` and `max_overflow` together at the most, as there.
    """

    # Its logger goes by this name; one of ours would speak below `warning`, of connections and of their errors.
    __module__ = "sqlalchemy.pool"

    def __init__(self, creator: Any, pool_size: int, max_overflow: int, **options: Any) -> None:
        super().__init__(creator, pool_size=pool_size + max_overflow, max_overflow=0, **options)
        self.kept = pool_size
        self._waiting = 0
        self._shown: tuple[int, int] | None = None

    def recreate(self) -> "CountedPool":
        """As the pool's: another one like this, empty."""
        another: Any = super().recreate()
        another.kept = self.kept
        return cast(CountedPool, another)

    def connect(self) -> PoolProxiedConnection:
        """As the pool's."""
        began_at = time.perf_counter()
        self._waiting += 1
        if not self.checkedin():  # else nobody waits, but for a question that `show` is called before
            self.show()
        try:
            return super().connect()
        finally:
            self._waiting -= 1
            self.show()
            metrics.POOL_WAIT.observe(time.perf_counter() - began_at)

    def show(self) -> None:
        """Show how many connections are in use, and how many are waited for; where it is not shown already."""
        state = self.checkedout(), self._waiting
        if state != self._shown:
            self._shown = state
            metrics.POOL_IN_USE.set(state[0])
            metrics.POOL_WAITING.set(state[1])

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        now = record.info[_RETURNED_AT] = time.monotonic()
        super()._do_return_conn(record)
        self._part_with_surplus(now)
        self.show()

    def _part_with_surplus(self, now: float) -> None:
        idle: deque[ConnectionPoolEntry] = self._pool.queue  # type: ignore[attr-defined]
        # Who came back last goes out first, so those at the other end have been there for longest.
        while len(idle) > self.kept and now - idle[0].info.get(_RETURNED_AT, 0.0) >= SURPLUS_SECONDS:
            surplus = idle.popleft()
            self._dec_overflow()
            surplus.close()


def make_engine(settings: Settings) -> Engine:
    """An engine with every limit of the pool and of the server set.

    Connections in all: workers × (`DB_POOL_SIZE` + `DB_MAX_OVERFLOW` + one of a readiness probe + one that listens),
    below the server's `max_connections`.
    """
    engine = create_engine(
        settings.database_url,
        poolclass=CountedPool,
        pool_size=settings.db_pool_size,
        max_overflow=settings.db_max_overflow,
        pool_timeout=settings.db_pool_timeout_seconds,
        pool_recycle=settings.db_pool_recycle_seconds,
        hide_parameters=True,  # an error's text goes to the log, and values are people's
        pool_use_lifo=True,  # the idle ones at the bottom of the stack get old enough to be recycled
        connect_args=_connect_args(
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            statement_timeout=settings.db_statement_timeout_ms,
            lock_timeout=LOCK_TIMEOUT_MS,
            idle_in_transaction_session_timeout=IDLE_IN_TRANSACTION_TIMEOUT_MS,
        ),
    )
    if settings.db_pool_pre_ping:
        pool: Any = engine.pool
        event.listen(engine, "checkout", partial(_refuse_dead, engine.dialect, pool))
    query_counts.watch(engine)
    return engine


def _refuse_dead(
    dialect: Dialect, pool: CountedPool, connection: Any, record: ConnectionPoolEntry, _: PoolProxiedConnection
) -> None:
    """Let the pool make another connection in place of one whose server is gone, and believe none of the same age.

    SQLAlchemy's own pre-ping asks each time, which takes a round trip. But a server that ends says so, or its kernel
    does: over a connection on which nothing is awaited, something has come. Who finds nothing need not ask.

    Raises:
        InvalidatePoolError: it is gone.
    """
    returned_at = record.info.get(_RETURNED_AT)
    if returned_at is None:  # it was made just now
        return
    try:
        if time.monotonic() - returned_at >= IDLE_UNASKED_SECONDS or _has_something_to_read(connection):
            pool.show()
            dialect.do_ping(connection)
    except psycopg2.Error as error:
        raise InvalidatePoolError from error


def _has_something_to_read(connection: Any) -> bool:
    poll = _poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def make_probe_engine(settings: Settings) -> Engine:
    """An engine for readiness probes: a fresh connection each time and 1 s for everything, whatever the pool does."""
    timeout_ms = PROBE_TIMEOUT_SECONDS * 1000
    return create_engine(
        settings.database_url,
        poolclass=NullPool,
        connect_args=_connect_args(connect_timeout=PROBE_TIMEOUT_SECONDS, statement_timeout=timeout_ms),
    )


def is_unavailable(error: Exception) -> bool:
    """Tell whether an error says that the database cannot do it now, rather than that it cannot be done."""
    if isinstance(error, PoolTimeout):
        return True
    if not isinstance(error, DBAPIError):
        return False
    sqlstate = getattr(error.orig, "pgcode", None)
    no_answer = sqlstate is None and isinstance(error, OperationalError)
    return no_answer or error.connection_invalidated or (sqlstate or "").startswith(_TRANSIENT_SQLSTATES)


def connect_listener(settings: Settings) -> Any:
    """A psycopg2 connection of its own, in autocommit, for LISTEN: outside the pool, as it is held for good.

    Raises:
        psycopg2.Error: the database does not answer.
    """
    url = make_url(settings.database_url)
    # What the engine makes of the URL: libpq has another notation for several hosts.
    positional, named = url.get_dialect()().create_connect_args(url)
    timeouts = {"connect_timeout": CONNECT_TIMEOUT_SECONDS, "statement_timeout": settings.db_statement_timeout_ms}
    connection = psycopg2.connect(
        *positional, **{**named, **_connect_args(**timeouts), "application_name": LISTENER_NAME}
    )
    connection.autocommit = True
    return connection


def _connect_args(*, connect_timeout: int, **server_settings: int) -> dict[str, Any]:
    """Libpq's parameters. See PostgreSQL's "Database Connection Control Functions" and "Client Connection Defaults"."""
    options = " ".join(f"-c {name}={value}" for name, value in server_settings.items())
    return {
        "application_name": "gearyard",
        "connect_timeout": connect_timeout,
        "tcp_user_timeout": TCP_USER_TIMEOUT_MS,
        # Compiling a query of milliseconds takes longer than running it. Of prepared statements: see `app.db.prepared`.
        "options": f"{options} -c timezone=UTC -c jit=off -c plan_cache_mode=force_generic_plan",
        **_KEEPALIVES,
    }


def wait_with_gevent(silence_seconds: float) -> None:
    """Let a greenlet that waits for PostgreSQL give way to the others; without this a query stops the whole worker."""

    def wait(connection: Any) -> None:
        deadline = time.monotonic() + _patience_seconds(connection, silence_seconds)
        while (state := connection.poll()) != psycopg2.extensions.POLL_OK:
            wait_ready = wait_read if state == psycopg2.extensions.POLL_READ else wait_write
            # psycopg2 closes the connection when its callback raises, so nobody reads a late answer.
            no_answer = psycopg2.OperationalError("timeout expired: the database server does not answer")
            wait_ready(connection.fileno(), max(0.001, deadline - time.monotonic()), no_answer)

    psycopg2.extensions.set_wait_callback(wait)


def _patience_seconds(connection: Any, silence_seconds: float) -> float:
    """How long to wait: libpq does not apply `connect_timeout` to the asynchronous connects that a callback makes."""
    if connection.status == psycopg2.extensions.STATUS_SETUP:
        return float(connection.info.dsn_parameters.get("connect_timeout", CONNECT_TIMEOUT_SECONDS))
    return silence_seconds


@contextmanager
def blocking_waits() -> Iterator[None]:
    """Wait as plain psycopg2 does, for a command that has its process to itself: COPY knows no wait callback."""
    callback = psycopg2.extensions.get_wait_callback()
    psycopg2.extensions.set_wait_callback(None)
    try:
        yield
    finally:
        psycopg2.extensions.set_wait_callback(callback)

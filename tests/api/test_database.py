"""The ways to the database, by what they promise: what is committed when, what is undone, and how often it is asked."""

import select
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import replace
from typing import Any

import gevent
import psycopg2.extensions
import pytest
from flask import Flask
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from app.db.engine import CheckoutQueue, Database, connect_listener, is_unavailable
from app.db.session import bound_to, single_statement, transaction, unit_of_work
from app.settings import Settings

ADD = text("INSERT INTO users (full_name) VALUES (:name)")
FIND = text("SELECT count(*) FROM users WHERE full_name = :name")
NAME = {"name": "Made by a test"}
PID = text("SELECT pg_backend_pid()")
SECONDS = 20


@contextmanager
def permit(queue: CheckoutQueue) -> Iterator[None]:
    queue.acquire()
    try:
        yield
    finally:
        queue.release()


def be_served(queue: CheckoutQueue) -> str:
    with permit(queue):
        return "served"


@pytest.fixture
def own(settings: Settings, database_url_factory: Callable[[], str]) -> Settings:
    """Settings of a database of one's own, and of a pool of one connection."""
    url = database_url_factory().replace("postgresql:", "postgresql+psycopg2:")
    return replace(settings, database_url=url, db_pool_size=1, db_max_overflow=0)


@contextmanager
def using(settings: Settings) -> Iterator[Engine]:
    """A pool of the block's own, whose first connection has been made."""
    own = Database(settings)
    with bound_to(own):
        try:
            backend_pid()
            yield own.engine
        finally:
            own.engine.dispose()


@pytest.fixture
def pooled(own: Settings, app: Flask) -> Iterator[Engine]:
    with using(own) as pool:
        yield pool


@pytest.fixture
def round_trips(pooled: Engine) -> Iterator[list[int]]:
    """One entry for each time that the server was waited for."""
    waits: list[int] = []
    usual = psycopg2.extensions.get_wait_callback()
    assert usual is not None

    def wait(connection: Any) -> None:
        waits.append(connection.fileno())
        usual(connection)

    psycopg2.extensions.set_wait_callback(wait)
    yield waits
    psycopg2.extensions.set_wait_callback(usual)


def count(executor: Session | Connection) -> int:
    return int(executor.scalar(FIND, NAME) or 0)


def committed(settings: Settings) -> int:
    """How many there are, seen from outside."""
    with closing(connect_listener(settings)) as other, other.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM users WHERE full_name = %(name)s", NAME)
        return int(cursor.fetchall()[0][0])


def add_and_fail(way: Callable[[], AbstractContextManager[Session | Connection]], error: type[Exception]) -> None:
    """Add one, and then let something go wrong: here, or in the database."""

    def add() -> None:
        with way() as executor:
            executor.execute(ADD, NAME)
            if error is not DBAPIError:
                raise error
            executor.execute(text("SELECT 1 / 0"))

    with pytest.raises(error):
        add()


def backend_pid() -> int:
    with single_statement() as connection:
        return int(connection.scalar(PID) or 0)


def end_backend(settings: Settings, pid: int) -> None:
    """Returns when the backend is gone."""
    with closing(connect_listener(settings)) as other, other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 10000)", [pid])
        assert cursor.fetchall() == [(True,)]


class TestSingleStatement:
    def test_it_takes_one_round_trip_and_a_transaction_three(self, round_trips: list[int]) -> None:
        with single_statement() as connection:
            count(connection)
        assert len(round_trips) == 1
        with transaction() as session:
            count(session)
        assert len(round_trips) == 1 + 3

    @pytest.mark.parametrize("error", [None, DBAPIError, KeyError])
    def test_the_next_user_of_its_connection_has_a_transaction_even_after_a_failure(
        self, own: Settings, pooled: Engine, error: type[Exception] | None
    ) -> None:
        if error is None:
            with single_statement() as connection:
                connection.execute(ADD, NAME)
        else:
            add_and_fail(single_statement, error)
        assert committed(own) == 1
        add_and_fail(transaction, KeyError)
        assert committed(own) == 1

    def test_a_connection_that_is_lost_in_it_is_replaced(self, own: Settings, pooled: Engine) -> None:
        pid = backend_pid()
        with single_statement() as connection:
            end_backend(own, pid)
            with pytest.raises(DBAPIError) as lost:
                count(connection)
        assert is_unavailable(lost.value)
        assert backend_pid() != pid

    def test_who_is_cut_off_in_it_leaves_no_connection_behind(self, own: Settings, pooled: Engine) -> None:
        def wait() -> None:
            with single_statement() as connection:
                connection.execute(text("SELECT pg_sleep(60)"))

        pid = backend_pid()
        waiting = gevent.spawn(wait)
        gevent.idle()
        waiting.kill()
        assert backend_pid() != pid
        add_and_fail(transaction, KeyError)
        assert committed(own) == 0

    def test_in_a_whole_it_is_undone_with_it(self, own: Settings, pooled: Engine) -> None:
        with unit_of_work() as session:
            with single_statement() as connection:
                connection.execute(ADD, NAME)
            assert count(session) == 1
            assert committed(own) == 0
            session.rollback()
        assert committed(own) == 0

    def test_in_a_whole_it_is_undone_by_itself_when_it_raises(self, own: Settings, pooled: Engine) -> None:
        with unit_of_work() as session:
            add_and_fail(single_statement, DBAPIError)
            assert count(session) == 0
            session.execute(ADD, NAME)
        assert committed(own) == 1


class TestDeadConnections:
    """What a killed backend leaves in the pool; `DB_POOL_PRE_PING` keeps it from whoever comes next."""

    def test_when_one_is_gone_none_of_its_age_is_believed(
        self, own: Settings, app: Flask, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("app.db.engine.LIVENESS_CHECK_IDLE_SECONDS", float("inf"))
        with using(replace(own, db_pool_size=3)) as pool:
            several = [pool.connect() for _ in range(3)]
            pids = {connection.scalar(PID) for connection in several}
            for connection in several:
                connection.close()
            end_backend(own, backend_pid())
            several = [pool.connect() for _ in range(3)]
            assert pids.isdisjoint(connection.scalar(PID) for connection in several)
            for connection in several:
                connection.close()

    # A client that was cut off by a firewall, or whose host stopped, has nothing to read either.
    @pytest.mark.parametrize(("idle_seconds", "trips"), [(float("inf"), 1), (0, 2)])
    def test_only_one_that_was_idle_for_long_is_asked(
        self, round_trips: list[int], monkeypatch: pytest.MonkeyPatch, idle_seconds: float, trips: int
    ) -> None:
        monkeypatch.setattr("app.db.engine.LIVENESS_CHECK_IDLE_SECONDS", idle_seconds)
        backend_pid()
        assert len(round_trips) == trips

    def test_one_that_has_something_else_to_say_is_asked_and_kept(
        self, own: Settings, pooled: Engine, round_trips: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("app.db.engine.LIVENESS_CHECK_IDLE_SECONDS", float("inf"))
        with single_statement() as connection:
            connection.execute(text("LISTEN of_a_test"))
        pid, descriptor = backend_pid(), round_trips[-1]
        with closing(connect_listener(own)) as other:
            other.cursor().execute("NOTIFY of_a_test")
        assert select.select([descriptor], [], [], SECONDS)[0]
        before = len(round_trips)
        assert backend_pid() == pid
        assert len(round_trips) == before + 2

    def test_without_the_setting_nothing_is_looked_at(self, own: Settings, app: Flask) -> None:
        with using(replace(own, db_pool_pre_ping=False)):
            end_backend(own, backend_pid())
            with pytest.raises(DBAPIError) as lost:
                backend_pid()
            assert is_unavailable(lost.value)


class TestCheckout:
    @pytest.fixture
    def narrow(self, own: Settings, app: Flask) -> Iterator[Database]:
        """Two connections at most."""
        database = Database(replace(own, db_max_overflow=1, db_pool_timeout_seconds=SECONDS))
        # SQLAlchemy initialises the dialect under a lock, which blocks the thread where gevent has not patched it.
        with database.connect():
            pass
        yield database
        database.engine.dispose()

    def test_as_many_as_pool_size_and_overflow_are_in_use_at_once(self, own: Settings, app: Flask) -> None:
        database = Database(replace(own, db_max_overflow=3, db_pool_timeout_seconds=0))
        with ExitStack() as stack:
            pids = {stack.enter_context(database.connect()).scalar(PID) for _ in range(4)}
            assert len(pids) == 4
            with pytest.raises(PoolTimeout) as refused, database.connect():
                pass
            assert is_unavailable(refused.value)
        with database.connect() as connection:
            assert connection.scalar(PID) in pids
        database.engine.dispose()

    def test_a_connection_is_handed_over_in_the_order_of_asking(self, own: Settings, app: Flask) -> None:
        database = Database(replace(own, db_pool_timeout_seconds=SECONDS))
        order: list[int] = []

        def take(number: int) -> None:
            for _ in range(3):  # a greenlet that asks again at once goes to the end of the queue
                with database.connect() as connection:
                    order.append(number)
                    connection.scalar(PID)

        gevent.joinall([gevent.spawn(take, number) for number in range(8)], timeout=SECONDS, raise_error=True)
        assert order == list(range(8)) * 3
        database.engine.dispose()

    def test_waiters_that_are_killed_or_give_up_lose_no_permit(self, narrow: Database) -> None:
        def use(seed: int) -> None:
            with gevent.Timeout(0.001 * (seed % 7) or None, False), narrow.connect() as connection:
                connection.scalar(PID)

        waiting = []
        for round_ in range(20):
            waiting += [gevent.spawn(use, seed) for seed in range(round_, round_ + 10)]
            gevent.sleep(0)
            for killed in waiting[round_::3]:
                killed.kill(block=False)
        gevent.joinall(waiting, timeout=SECONDS)
        assert all(greenlet.ready() for greenlet in waiting)
        with narrow.connect() as first, narrow.connect() as second:
            assert first.scalar(PID) != second.scalar(PID)

    def test_a_waiter_that_is_killed_passes_on_the_permit_that_it_was_given(self) -> None:
        queue = CheckoutQueue(1, timeout_seconds=SECONDS)
        with permit(queue):
            first, second = gevent.spawn(be_served, queue), gevent.spawn(be_served, queue)
            gevent.idle()
            first.kill(block=False)  # takes effect after the hand-over, and before the waiter would run
        assert second.get(timeout=SECONDS) == "served"
        assert first.get(timeout=SECONDS) != "served"

    def test_the_number_of_waiters_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("app.db.engine.MAX_WAITERS", 1)
        queue = CheckoutQueue(1, timeout_seconds=SECONDS)
        with permit(queue):
            waiting = gevent.spawn(be_served, queue)
            gevent.idle()
            with pytest.raises(PoolTimeout), permit(queue):
                pass
        assert waiting.get(timeout=SECONDS) == "served"

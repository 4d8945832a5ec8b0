"""Prepared statements: parsed once for each connection, and never in the way of what happens to one."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from sqlalchemy import (
    ARRAY,
    BigInteger,
    DateTime,
    Double,
    Engine,
    Integer,
    Numeric,
    String,
    Uuid,
    bindparam,
    event,
    func,
    literal,
    select,
    text,
)
from sqlalchemy.exc import DataError, DBAPIError
from sqlalchemy.orm import Session

from app.db import prepared
from app.db.engine import Database, is_unavailable, make_engine
from app.db.prepared import MAX_PER_CONNECTION, PreparedStatement
from app.db.session import bound_to, single_statement
from app.settings import Settings
from tests.conftest import StatementCounter
from tests.support.assertions import assert_error

NUMBER_BIND = bindparam("number", type_=Integer)
NUMBER = PreparedStatement("number", select(NUMBER_BIND))
QUOTIENT = PreparedStatement("quotient", text("SELECT 100 / :n").bindparams(bindparam("n", type_=Integer)))


@pytest.fixture
def own_engine(settings: Settings) -> Iterator[Engine]:
    """Connections of the test's own, so that what they hold begins and ends with it."""
    engine = make_engine(settings)
    yield engine
    engine.dispose()


@pytest.fixture
def session(own_engine: Engine) -> Iterator[Session]:
    with Session(own_engine) as session:
        yield session


@pytest.fixture(params=[True, False], ids=["prepared", "whole"])
def either_way(request: pytest.FixtureRequest, settings: Settings) -> Iterator[None]:
    prepared.configure(replace(settings, db_prepare_statements=request.param))
    yield
    prepared.configure(settings)


def number(session: Session, value: int = 1) -> Any:
    return prepared.execute(session, NUMBER, {"number": value})[0][0]


def held(session: Session) -> list[str]:
    """What the server says that the connection has prepared, in the order of its making."""
    return list(session.scalars(text("SELECT name FROM pg_prepared_statements ORDER BY prepare_time, name")))


def test_a_connection_prepares_a_statement_once_and_in_the_round_trip_of_its_first_use(
    session: Session, own_engine: Engine
) -> None:
    counted = StatementCounter()
    event.listen(own_engine, "before_cursor_execute", counted.note)
    assert [number(session, value) for value in (1, 2, 3)] == [1, 2, 3]
    assert len(counted) == 3
    assert counted.statements[1:] == [f"EXECUTE {NUMBER.name} (%(number)s)"] * 2
    assert held(session) == [NUMBER.name]


def test_it_outlasts_the_transaction_and_goes_with_the_connection(session: Session, own_engine: Engine) -> None:
    number(session)
    session.rollback()
    assert (number(session), held(session)) == (1, [NUMBER.name])
    session.commit()
    own_engine.pool.dispose()
    own_engine.pool = own_engine.pool.recreate()
    assert held(session) == []
    assert (number(session), held(session)) == (1, [NUMBER.name])


def test_a_connection_keeps_those_that_it_used_last(session: Session) -> None:
    shapes = [PreparedStatement("many", select(literal(n), NUMBER_BIND)) for n in range(MAX_PER_CONNECTION + 5)]
    for each in shapes[:MAX_PER_CONNECTION]:
        prepared.execute(session, each, {"number": 1})
    prepared.execute(session, shapes[0], {"number": 1})
    for each in shapes[MAX_PER_CONNECTION:]:
        assert prepared.execute(session, each, {"number": 7})[0][1] == 7
    left = {shapes[0].name, *(each.name for each in shapes[6:])}
    assert set(held(session)) == left
    assert len(left) == MAX_PER_CONNECTION


@pytest.mark.parametrize("custom_plan", [True, False])
def test_a_statement_is_planned_once_or_with_each_use_as_its_shape_says(session: Session, custom_plan: bool) -> None:
    wanted = PreparedStatement("planned", select(NUMBER_BIND), custom_plan=custom_plan)
    for _ in range(8):
        prepared.execute(session, wanted, {"number": 1})
        session.commit()
    plans = "SELECT generic_plans, custom_plans FROM pg_prepared_statements WHERE name = :name"
    assert session.execute(text(plans), {"name": wanted.name}).one() == ((0, 8) if custom_plan else (8, 0))


class TestWhatHappensToAConnection:
    @pytest.mark.parametrize("isolation_level", ["READ COMMITTED", "AUTOCOMMIT"])
    def test_discarded_statements_are_an_error_once(self, own_engine: Engine, isolation_level: Any) -> None:
        with Session(own_engine.execution_options(isolation_level=isolation_level)) as session:
            number(session)
            session.execute(text("DEALLOCATE ALL"))
            session.commit()
            with pytest.raises(DBAPIError) as lost:
                number(session)
            assert is_unavailable(lost.value)
            session.rollback()
            assert (number(session), held(session)) == (1, [NUMBER.name])

    def test_a_column_that_a_migration_changes_is_read_as_it_is_after_an_error(
        self, own_engine: Engine, session: Session
    ) -> None:
        session.execute(text("CREATE TABLE scratch AS SELECT 7 AS value"))
        session.commit()
        try:
            value = PreparedStatement("value", text("SELECT value FROM scratch"))
            assert prepared.execute(session, value, {})[0][0] == 7
            session.execute(text("ALTER TABLE scratch ALTER COLUMN value TYPE text"))
            session.commit()
            with pytest.raises(DBAPIError) as lost:
                prepared.execute(session, value, {})
            assert is_unavailable(lost.value)
            session.rollback()
            assert prepared.execute(session, value, {})[0][0] == "7"
        finally:
            session.rollback()
            session.execute(text("DROP TABLE scratch"))
            session.commit()

    def test_a_request_that_finds_its_statement_discarded_gets_503_and_the_next_one_works(
        self, client: FlaskClient, settings: Settings
    ) -> None:
        own = Database(replace(settings, db_pool_size=1, db_max_overflow=0))
        with bound_to(own):
            assert client.get("/api/v1/equipment").status_code == 200
            with single_statement() as connection:
                connection.execute(text("DEALLOCATE ALL"))
            answer = client.get("/api/v1/equipment")
            assert_error(answer, 503, "SERVICE_UNAVAILABLE")
            assert int(answer.headers["Retry-After"]) > 0
            assert client.get("/api/v1/equipment").status_code == 200
        own.engine.dispose()

    @pytest.mark.parametrize("uses_before", [0, 1])
    def test_a_statement_that_fails_is_as_good_as_new_the_next_time(self, session: Session, uses_before: int) -> None:
        for _ in range(uses_before):
            prepared.execute(session, QUOTIENT, {"n": 5})
        number(session)
        session.commit()
        for _ in range(2):
            with pytest.raises(DataError):
                prepared.execute(session, QUOTIENT, {"n": 0})
            session.rollback()
        assert prepared.execute(session, QUOTIENT, {"n": 5})[0][0] == 20
        assert number(session) == 1
        assert sorted(held(session)) == sorted([NUMBER.name, QUOTIENT.name])


def test_a_pooler_of_transactions_is_sent_no_prepared_statement(session: Session, settings: Settings) -> None:
    prepared.configure(replace(settings, db_prepare_statements=False))
    try:
        assert [number(session, value) for value in (1, 2)] == [1, 2]
        assert held(session) == []
    finally:
        prepared.configure(settings)


VALUES: list[tuple[Any, list[Any]]] = [
    (Uuid(), [UUID(int=0), None]),
    (ARRAY(Uuid()), [[UUID(int=1), UUID(int=2)], []]),
    (ARRAY(String()), [["it's", "50%", "{a,b}", 'c"d', "\\"], []]),
    (Integer(), [0, -1, None]),
    (BigInteger(), [2**62]),
    (Double(), [0.1, 47.37000000000001, 1e300, 5e-324, -180.0]),
    (Numeric(), [Decimal("99999999.99"), Decimal("-0.01")]),
    (String(), ["", "it's 50% of %(number)s; $1 -- \\", "é🚲", None]),
    (DateTime(timezone=True), [datetime(2026, 1, 1, 12, 30, 15, 999_999, tzinfo=UTC), None]),
]


@pytest.mark.parametrize(("type_", "value"), [(type_, value) for type_, values in VALUES for value in values], ids=str)
def test_a_value_arrives_as_it_was_given(either_way: None, session: Session, type_: Any, value: Any) -> None:
    given = bindparam("value", type_=type_)
    same = PreparedStatement("same", select(given.label("value"), func.pg_typeof(given)))
    for _ in range(2):
        received, received_as = prepared.execute(session, same, {"value": value})[0]
        assert received == value
        assert repr(received) == repr(value)
        assert session.scalar(text("SELECT (:shape)::regtype::text"), {"shape": same.types["value"]}) == received_as

"""Statements that SQLAlchemy builds once for each process, and PostgreSQL parses once for each connection.

    _GET_NAME = PreparedStatement("get_name", select(User.username).where(User.id == bindparam("user_id", type_=Uuid)))

    def find_name(session: Session, user_id: UUID) -> str | None:
        return next((row.username for row in prepared.execute(session, _GET_NAME, {"user_id": user_id})), None)

A shape is a statement without its values: each is a `bindparam` with a type and no value. What varies in a statement,
apart from its values, makes another shape; who has many keeps them in a `functools.lru_cache` by what they vary in.

It is planned once, too, for any values: by `_connect_args` of `app.db.engine`, so that what a plan is does not depend
on what was asked before. Where other values want another plan, a shape says `custom_plan`.

A connection prepares a shape when it first uses it, in the same round trip, and keeps the `MOST_PER_CONNECTION` that it
used last. What it holds is noted with the pooled connection, and goes with it: its successor begins anew. So does one
whose statements are gone (`DISCARD`), or give other columns since a migration: if nothing else of the transaction can
be lost by it, such a statement is sent once more; else its error goes to the caller, and the next transaction is fine.

With `DB_PREPARE_STATEMENTS=false` the same SQL is sent whole each time: behind a pooler of transactions (pgbouncer) the
next statement may reach another server process than the one that prepared it.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b
from typing import Any

import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_IDLE
from psycopg2.extras import NamedTupleCursor
from sqlalchemy import BindParameter, ClauseElement, Connection, literal
from sqlalchemy.dialects.postgresql.psycopg2 import dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.settings import Settings

MOST_PER_CONNECTION = 64
NAME_DIGEST_BYTES = 6
# What PostgreSQL says of a prepared statement that is not there, and of one whose columns are others now.
_GONE, _CHANGED = "26000", "0A000"
_HELD = "prepared"
_PLANNED_FOR_ITS_VALUES = "SET LOCAL plan_cache_mode TO force_custom_plan; "
_DIALECT = dialect()  # type: ignore[no-untyped-call]

Converter = Callable[[Any], Any]


class _Mode:
    """Whether statements are prepared, for the process: it has one database."""

    prepares = True


def configure(settings: Settings) -> None:
    """Prepare statements or not, as `DB_PREPARE_STATEMENTS` says."""
    _Mode.prepares = settings.db_prepare_statements


class PreparedStatement:
    """A statement without its values, named `label` and a digest of its SQL: the same name in every process.

    A parameter with a value becomes a constant. Planning costs a tenth of a millisecond or more; with `custom_plan` it
    is done for the values of each use.

    Raises:
        sqlalchemy.exc.CompileError: a value has no type.
    """

    def __init__(self, label: str, statement: ClauseElement, *, custom_plan: bool = False) -> None:
        compiled = statement.compile(dialect=_DIALECT)
        binds: dict[str, BindParameter[Any]] = compiled.binds  # type: ignore[attr-defined]
        values = {name: bind for name, bind in binds.items() if bind.required}
        constants = {name: _constant(bind) for name, bind in binds.items() if not bind.required}
        # PostgreSQL's type of each value, in the order of $1, $2, …
        self.types = {name: bind.type.compile(dialect=_DIALECT) for name, bind in values.items()}
        self.template = _filled(str(compiled), {**{name: f"%({name})s" for name in values}, **constants})
        sql = self.template % {name: f"${number}" for number, name in enumerate(self.types, start=1)}
        given = _in_brackets(f"%({value})s" for value in self.types)
        self.name = f"{label}_{blake2b(f'{self.types}{sql}'.encode(), digest_size=NAME_DIGEST_BYTES).hexdigest()}"
        self.whole = _filled(
            self.template, {value: f"CAST(%({value})s AS {type_})" for value, type_ in self.types.items()}
        )
        self.preparing = f"PREPARE {self.name}{_in_brackets(self.types.values())} AS {sql.replace('%', '%%')}"
        self.calling = f"{_PLANNED_FOR_ITS_VALUES if custom_plan else ''}EXECUTE {self.name}{given}"
        self.converters = dict(_converters(values))

    def written(self, value: Callable[[str], str]) -> str:
        """The SQL with what `value` makes of each value's name (pgbench: `:name`), cast to its type."""
        return self.template % {name: f"CAST({value(name)} AS {type_})" for name, type_ in self.types.items()}

    def bound(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """The values as the driver takes them."""
        if not self.converters:
            return values
        return {**values, **{name: convert(values[name]) for name, convert in self.converters.items()}}


def execute(executor: Session | Connection, wanted: PreparedStatement, values: Mapping[str, Any]) -> list[Any]:
    """Run a statement with these values: a list for an array, else what its type takes. One round trip.

    The rows are the driver's own named tuples, and so are their values: an enum's and citext's are text, JSON is text,
    too. SQLAlchemy's results know more of their columns, and find it out anew for each.

    Raises:
        KeyError: a value is missing. sqlalchemy.exc.DBAPIError: as from `Session.execute`.
    """
    connection = executor.connection() if isinstance(executor, Session) else executor
    bound = wanted.bound(values)
    if not _Mode.prepares:
        return _rows(connection, wanted.whole, bound)
    held: StatementCache = connection.info.get(_HELD) or connection.info.setdefault(_HELD, StatementCache())
    driver = connection.connection.dbapi_connection
    assert driver is not None  # noqa: S101 - of a connection that is checked out
    begins = driver.get_transaction_status() == TRANSACTION_STATUS_IDLE
    try:
        return held.execute(connection, wanted, bound)
    except DBAPIError as error:
        if getattr(error.orig, "pgcode", None) not in (_GONE, _CHANGED):
            raise
        held.is_certain = False
        if not begins:
            raise
    driver.rollback()  # of nothing but the statement itself, which was not begun
    return held.execute(connection, wanted, bound)


class StatementCache:
    """What one connection has prepared, the least recently used first."""

    def __init__(self) -> None:
        self.names: OrderedDict[str, None] = OrderedDict()
        self.is_certain = True

    def execute(self, connection: Connection, wanted: PreparedStatement, bound: Mapping[str, Any]) -> list[Any]:
        """Execute a statement, which is prepared first if the connection does not have it."""
        if self.is_certain and wanted.name in self.names:
            self.names.move_to_end(wanted.name)
            return _rows(connection, wanted.calling, bound)
        statements = "; ".join([*self._making_room(), wanted.preparing, wanted.calling])
        # An error may come from any of the three: what is prepared afterwards, it does not say.
        self.is_certain = False
        rows = _rows(connection, statements, bound)
        self.names[wanted.name] = None
        self.is_certain = True
        return rows

    def _making_room(self) -> Iterator[str]:
        if not self.is_certain:
            self.names.clear()
            yield "DEALLOCATE ALL"
        elif len(self.names) >= MOST_PER_CONNECTION:
            oldest, _ = self.names.popitem(last=False)
            yield f"DEALLOCATE {oldest}"


def _rows(connection: Connection, statement: str, bound: Mapping[str, Any]) -> list[Any]:
    """As `Connection.exec_driver_sql`, towards whoever listens, in what it raises, and in what an error does to it."""
    driver: Any = connection.connection.dbapi_connection
    about = (statement, bound, None, False)
    with driver.cursor(cursor_factory=NamedTupleCursor) as cursor:
        for listener in connection.dispatch.before_cursor_execute:
            listener(connection, cursor, *about)
        try:
            cursor.execute(statement, bound)
            return list(cursor.fetchall())
        except psycopg2.Error as error:
            is_gone = connection.dialect.is_disconnect(error, driver, cursor)
            if is_gone:
                connection.invalidate(error)
            raise DBAPIError.instance(
                *(statement, bound, error, psycopg2.Error),
                hide_parameters=connection.engine.hide_parameters,
                connection_invalidated=is_gone,
                dialect=connection.dialect,
            ) from error
        finally:
            for listener in connection.dispatch.after_cursor_execute:
                listener(connection, cursor, *about)


def _constant(bind: BindParameter[Any]) -> str:
    written = literal(bind.value, bind.type).compile(dialect=_DIALECT, compile_kwargs={"literal_binds": True})
    return str(written)


def _filled(template: str, values: Mapping[str, str]) -> str:
    """A format string with these in their places, and still a format string."""
    return template.replace("%%", "%%%%") % values


def _in_brackets(parts: Any) -> str:
    inside = ", ".join(parts)
    return f" ({inside})" if inside else ""


def _converters(values: Mapping[str, BindParameter[Any]]) -> Iterator[tuple[str, Converter]]:
    for name, bind in values.items():
        convert = bind.type.dialect_impl(_DIALECT).bind_processor(_DIALECT)
        if convert is not None:
            yield name, convert

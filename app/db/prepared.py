"""Statements that SQLAlchemy compiles once for each process, and PostgreSQL parses once for each connection.

    _GET_NAME = PreparedStatement("get_name", select(User.username).where(User.id == bindparam("user_id", type_=Uuid)))

    def find_name(session: Session, user_id: UUID) -> str | None:
        return next((row.username for row in prepared.execute(session, _GET_NAME, {"user_id": user_id})), None)

A `bindparam` with a type and no value is a parameter. A connection prepares a statement at its first use, in the same
round trip, and keeps the `MAX_PER_CONNECTION` that were used last. PostgreSQL plans a prepared statement once, for any
values, as `app.db.engine` sets `plan_cache_mode`; `custom_plan` plans a statement for the values of each use.

With `DB_PREPARE_STATEMENTS=false` the same SQL is sent whole each time, as behind a transaction pooler (pgbouncer).
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any

import psycopg2
from psycopg2.extras import NamedTupleCursor
from sqlalchemy import BindParameter, ClauseElement, Connection, literal
from sqlalchemy.dialects.postgresql.psycopg2 import dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.settings import Settings

MAX_PER_CONNECTION = 64
NAME_DIGEST_BYTES = 6
# SQLSTATEs of a prepared statement that is missing (after `DISCARD`), or whose columns a migration has changed.
_INVALID_STATEMENT = ("26000", "0A000")
# Key in a connection's `info`: the names of its prepared statements, the least recently used first.
_NAMES = "prepared"
_CUSTOM_PLAN = "SET LOCAL plan_cache_mode TO force_custom_plan; "
_DIALECT = dialect()  # type: ignore[no-untyped-call]


class _Mode:
    """Whether this process prepares statements."""

    prepares = True


def configure(settings: Settings) -> None:
    """Prepare statements or not, as `DB_PREPARE_STATEMENTS` says."""
    _Mode.prepares = settings.db_prepare_statements


class PreparedStatement:
    """A statement and its parameters. Its name is `label` and a digest of its SQL: the same in every process.

    Raises SQLAlchemy's CompileError if a parameter has no type.
    """

    def __init__(self, label: str, statement: ClauseElement, *, custom_plan: bool = False) -> None:
        compiled = statement.compile(dialect=_DIALECT)
        binds: dict[str, BindParameter[Any]] = compiled.binds  # type: ignore[attr-defined]
        parameters = {name: bind for name, bind in binds.items() if bind.required}
        literals = {name: _literal(bind) for name, bind in binds.items() if not bind.required}
        # PostgreSQL's type of each parameter, in the order of $1, $2, …
        self.types = {name: bind.type.compile(dialect=_DIALECT) for name, bind in parameters.items()}
        template = str(compiled).replace("%%", "%%%%")  # a filled template is a format string of the driver
        casts = {name: f"CAST(%({name})s AS {type_})" for name, type_ in self.types.items()}
        numbers = {name: f"${number}" for number, name in enumerate(self.types, start=1)}
        self.whole_sql = template % {**literals, **casts}
        body = template % {**literals, **numbers}
        digest = blake2b(f"{self.types}{body}".encode(), digest_size=NAME_DIGEST_BYTES).hexdigest()
        self.name = f"{label}_{digest}"
        self.prepare_sql = f"PREPARE {self.name}{_in_brackets(self.types.values())} AS {body}"
        call = f"EXECUTE {self.name}{_in_brackets(f'%({name})s' for name in self.types)}"
        self.execute_sql = f"{_CUSTOM_PLAN}{call}" if custom_plan else call
        processors = {
            name: bind.type.dialect_impl(_DIALECT).bind_processor(_DIALECT) for name, bind in parameters.items()
        }
        self.converters = {name: convert for name, convert in processors.items() if convert is not None}


def execute(executor: Session | Connection, statement: PreparedStatement, values: Mapping[str, Any]) -> list[Any]:
    """Execute a statement in one round trip. The value of an array is a list.

    The rows are the driver's named tuples: an enum, citext and JSON are text. SQLAlchemy's results would take longer.

    Raises SQLAlchemy's DBAPIError, as `Session.execute` does. If the server has lost the prepared statement, the
    connection is invalidated, and the next transaction works.
    """
    connection = executor.connection() if isinstance(executor, Session) else executor
    bound = {**values, **{name: convert(values[name]) for name, convert in statement.converters.items()}}
    if not _Mode.prepares:
        return _fetch(connection, statement.whole_sql, bound)
    names: OrderedDict[str, None] = connection.info.setdefault(_NAMES, OrderedDict())
    if statement.name in names:
        names.move_to_end(statement.name)
        return _fetch(connection, statement.execute_sql, bound)
    make_room = ""
    if not names:
        make_room = "DEALLOCATE ALL; "  # after an error the server may hold statements that are not in `names`
    elif len(names) == MAX_PER_CONNECTION:
        make_room = f"DEALLOCATE {names.popitem(last=False)[0]}; "
    try:
        rows = _fetch(connection, f"{make_room}{statement.prepare_sql}; {statement.execute_sql}", bound)
    except BaseException:
        names.clear()
        raise
    names[statement.name] = None
    return rows


def _fetch(connection: Connection, sql: str, bound: Mapping[str, Any]) -> list[Any]:
    """As `Connection.exec_driver_sql`, which takes longer, with the same events and errors."""
    driver: Any = connection.connection.dbapi_connection
    about = (sql, bound, None, False)
    with driver.cursor(cursor_factory=NamedTupleCursor) as cursor:
        connection.dispatch.before_cursor_execute(connection, cursor, *about)
        try:
            cursor.execute(sql, bound)
            rows: list[Any] = cursor.fetchall()
            return rows
        except psycopg2.Error as error:
            is_lost = error.pgcode in _INVALID_STATEMENT or connection.dialect.is_disconnect(error, driver, cursor)
            if is_lost:
                connection.invalidate(error)
            raise DBAPIError.instance(
                *(sql, bound, error, psycopg2.Error),
                hide_parameters=connection.engine.hide_parameters,
                connection_invalidated=is_lost,
                dialect=connection.dialect,
            ) from error
        finally:
            connection.dispatch.after_cursor_execute(connection, cursor, *about)


def _literal(bind: BindParameter[Any]) -> str:
    return str(literal(bind.value, bind.type).compile(dialect=_DIALECT, compile_kwargs={"literal_binds": True}))


def _in_brackets(parts: Iterable[str]) -> str:
    inside = ", ".join(parts)
    return f" ({inside})" if inside else ""

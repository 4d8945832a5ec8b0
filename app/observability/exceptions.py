"""Exceptions in the log: type, place and a text without values.

An exception's message may hold user data: `int("…")` repeats the password it was given, PostgreSQL the whole row. So a
message is logged only for types whose message the interpreter writes about the program's own names. Database, system
and attribute errors are described by their fields. Any other message is replaced by its length. Frames carry no
variables.
"""

import errno
from collections.abc import Iterator
from typing import Any

import psycopg2
from sqlalchemy.exc import DBAPIError
from structlog.processors import ExceptionRenderer
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import ExcInfo

from app.observability.redaction import escaped

MAX_FRAMES = 100
INDENT = "    "
_SAFE_TYPES = (
    *(ImportError, IndexError, ModuleNotFoundError, NameError, RecursionError, UnboundLocalError, ZeroDivisionError),
)
_transform = ExceptionDictTransformer(show_locals=False, max_frames=MAX_FRAMES)


def renderer(*, as_json: bool) -> ExceptionRenderer:
    """A structlog processor that turns `exc_info` into `exception`: a list of objects, or indented lines."""
    return ExceptionRenderer(_described if as_json else _as_lines)


def database_details(error: BaseException | None) -> dict[str, str | None]:
    """The fields of a database error that name the schema; its message and detail repeat values of rows."""
    diagnostics = getattr(error, "diag", None)
    return {
        "kind": type(error).__name__,
        "sqlstate": getattr(error, "pgcode", None),
        "constraint": getattr(diagnostics, "constraint_name", None),
        "table": getattr(diagnostics, "table_name", None),
        "column": getattr(diagnostics, "column_name", None),
    }


def safe_text(error: BaseException) -> str:
    """The reason of an exception, free of user data."""
    match error:
        case DBAPIError() | psycopg2.Error():
            details = database_details(getattr(error, "orig", error))
            return ", ".join(f"{name} {value}" for name, value in details.items() if value)
        case OSError(errno=int() as number):
            return errno.errorcode.get(number, str(number))
        case AttributeError(name=str() as name, obj=owner) if name.isidentifier():
            return f"'{type(owner).__name__}' object has no attribute '{name}'"
    if type(error) in _SAFE_TYPES:
        return str(error)
    return f"(text withheld, {len(str(error))} characters)"


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """The exception, its cause or context, and so on; the order in which structlog and Sentry report them."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _described(exc_info: ExcInfo) -> list[dict[str, Any]]:
    """As structlog describes it, with the safe text, and without notes and the source of syntax errors."""
    return [
        {"exc_type": stack["exc_type"], "exc_value": safe_text(error), "frames": stack["frames"]}
        for stack, error in zip(_transform(exc_info), chain(exc_info[1]), strict=False)
    ]


def _as_lines(exc_info: ExcInfo) -> str:
    """Python's format, the first cause first; the indent tells its lines from records of the log."""
    lines: list[str] = []
    for stack in reversed(_described(exc_info)):
        lines.append("Traceback (most recent call last):")
        lines += (
            f'  File "{frame["filename"]}", line {frame["lineno"]}, in {frame["name"]}' for frame in stack["frames"]
        )
        lines.append(f"{stack['exc_type']}: {escaped(stack['exc_value'])}")
    return "\n".join(INDENT + line for line in lines)

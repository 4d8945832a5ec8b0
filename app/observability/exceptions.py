"""Exceptions in the log: type, place and a text without values.

A message may hold user data: `int("…")` repeats the password it was given, PostgreSQL the whole row. So a message is
logged only where the interpreter writes it about the program's own names. Database, system and attribute errors are
described by their fields. Any other message is replaced by its length. Frames carry no variables.
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

INDENT = "    "
_NAME_ERRORS = {ImportError, ModuleNotFoundError, NameError, UnboundLocalError}
_SAFE_TYPES = {*_NAME_ERRORS, IndexError, RecursionError, ZeroDivisionError}
_transform = ExceptionDictTransformer(show_locals=False, max_frames=100)


def renderer(*, as_json: bool) -> ExceptionRenderer:
    """A structlog processor that turns `exc_info` into `exception`: a list of objects, or indented lines."""
    return ExceptionRenderer(_as_objects if as_json else _as_lines)


def database_details(error: BaseException | None) -> dict[str, str | None]:
    """The fields of a database error that name the schema; its message and detail repeat values of rows."""
    diagnostics = getattr(error, "diag", None)
    return {
        "kind": type(error).__name__,
        "sqlstate": getattr(error, "pgcode", None),
        **{name: getattr(diagnostics, f"{name}_name", None) for name in ("constraint", "table", "column")},
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
    try:
        text = str(error)
    except Exception as failure:  # noqa: BLE001 - an error in `__str__` must not hide the one that is logged
        return f"(no text: {type(failure).__name__})"
    return text if type(error) in _SAFE_TYPES else f"(text withheld, {len(text)} characters)"


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """The exception, its cause or context, and so on; the order in which structlog and Sentry report them."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _as_objects(exc_info: ExcInfo) -> list[dict[str, Any]]:
    """As structlog describes it, with the safe text, and without notes and the source of syntax errors."""
    return [
        {"exc_type": stack["exc_type"], "exc_value": safe_text(error), "frames": stack["frames"]}
        for stack, error in zip(_transform(exc_info), chain(exc_info[1]), strict=False)
    ]


def _as_lines(exc_info: ExcInfo) -> str:
    """Python's format, the first cause first; the indent tells its lines from records of the log."""
    lines: list[str] = []
    for stack in reversed(_as_objects(exc_info)):
        lines.append("Traceback (most recent call last):")
        lines += (f'  File "{at["filename"]}", line {at["lineno"]}, in {at["name"]}' for at in stack["frames"])
        lines.append(f"{stack['exc_type']}: {escaped(stack['exc_value'])}")
    return "\n".join(INDENT + line for line in lines)

"""Exceptions for the log: of which kind, where, and why, as far as that can be told without what anybody sent.

The text of an exception holds what it was about: `int("…")` repeats the password it was given, PostgreSQL the whole
row. So the text is shown only where the interpreter itself wrote it about the program's own names; of database and
system errors, what their fields say. Everywhere else its length stands in for it, next to the line that raised it.
Frames are shown without their variables.
"""

import dis
import errno
import linecache
import re
import sys
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import psycopg2
from sqlalchemy.exc import DBAPIError
from structlog.typing import EventDict

from app.observability.redaction import escaped

MAX_CHAIN = 10
MAX_FRAMES = 100
INDENT = "    "
_ABOUT_THE_PROGRAM = (
    *(AttributeError, ImportError, IndexError, ModuleNotFoundError, NameError, RecursionError, TypeError),
    *(UnboundLocalError, ZeroDivisionError),
)
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_NAME = re.compile(r"'[A-Za-z_][\w.]{0,60}'", re.ASCII)  # of a program's: anything else that is quoted is a value


def render(*, as_json: bool) -> Any:
    """A structlog processor that turns `exc_info` into `exception`: a list of objects, or indented lines."""

    def processor(_logger: Any, _name: str, event: EventDict) -> EventDict:
        error = _exception_of(event.pop("exc_info", None))
        if error is not None:
            links = [_described(link) for link in chain(error)]
            event["exception"] = links if as_json else "\n".join(_lines(links))
        return event

    return processor


def database_details(error: BaseException | None) -> dict[str, str | None]:
    """What a database error's fields say of the schema, and nothing of any row: its text and detail repeat values."""
    diagnostics = getattr(error, "diag", None)
    return {
        "kind": type(error).__name__,
        "sqlstate": getattr(error, "pgcode", None),
        "constraint": getattr(diagnostics, "constraint_name", None),
        "table": getattr(diagnostics, "table_name", None),
        "column": getattr(diagnostics, "column_name", None),
    }


def safe_text(error: BaseException) -> str:
    """Why it was raised, without what anybody sent."""
    match error:
        case DBAPIError(orig=original):
            return _listed(database_details(original))
        case psycopg2.Error():
            return _listed(database_details(error))
        case SyntaxError():
            return f"{error.msg}, {error.filename}:{error.lineno}"
        case OSError(errno=int() as number):
            return errno.errorcode.get(number, str(number))
    if type(error) in _ABOUT_THE_PROGRAM and not _was_raised_by_a_statement(error.__traceback__):
        return _QUOTED.sub(lambda quoted: quoted[0] if _NAME.fullmatch(quoted[0]) else "'…'", str(error))
    return f"(text withheld, {len(str(error))} characters)"


def _listed(details: dict[str, str | None]) -> str:
    return ", ".join(f"{name} {value}" for name, value in details.items() if value)


def _was_raised_by_a_statement(trace: TracebackType | None) -> bool:
    """Whether the program wrote the text, in a `raise`; otherwise the interpreter did."""
    if trace is None:
        return True
    while trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_frame.f_code.co_code[trace.tb_lasti] == dis.opmap["RAISE_VARARGS"]


def _exception_of(exc_info: Any) -> BaseException | None:
    if exc_info is True:
        exc_info = sys.exc_info()
    found = exc_info[1] if isinstance(exc_info, tuple) else exc_info
    return found if isinstance(found, BaseException) else None


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error, what it was raised from or while handling, and so on."""
    for _ in range(MAX_CHAIN):
        if error is None:
            return
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _described(error: BaseException) -> dict[str, Any]:
    frames = traceback.extract_tb(error.__traceback__, limit=-MAX_FRAMES)
    kind = type(error)
    return {
        "exc_type": kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}",
        "exc_value": safe_text(error),
        "frames": [
            {
                "filename": frame.filename,
                "lineno": frame.lineno,
                "name": frame.name,
                "line": linecache.getline(frame.filename, frame.lineno or 0).strip(),
            }
            for frame in frames
        ],
    }


def _lines(links: list[dict[str, Any]]) -> Iterator[str]:
    """As Python prints them, the first cause first; each indented, so that none passes for a record of the log."""
    for number, link in enumerate(reversed(links)):
        if number:
            yield f"{INDENT}Then, from this or while handling it:"
        yield f"{INDENT}Traceback (most recent call last):"
        for frame in link["frames"]:
            yield f'{INDENT}  File "{frame["filename"]}", line {frame["lineno"]}, in {frame["name"]}'
            yield f"{INDENT}    {frame['line']}"
        yield f"{INDENT}{link['exc_type']}: {escaped(link['exc_value'])}"

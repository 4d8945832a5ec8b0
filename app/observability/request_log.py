"""The line that is written for each request. Paths only: a query may hold what nobody should read later.

It takes a shorter way through the same loggers and handlers than other lines do, as every request pays for it: its
fields are known, and all but three are this service's own words or numbers.
"""

import json
import logging
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog
from structlog.contextvars import get_contextvars

from app.observability.redaction import redact

NAME = "app.request"
EVENT = "request"
_CHOSEN_BY_CLIENTS = ("method", "path", "request_id")

_logger = logging.getLogger(NAME)
_readable = structlog.get_logger(NAME)


class RequestLine(dict[str, Any]):
    """The message of a record whose rendering is known; a formatter for JSON gives `as_json`."""

    def as_json(self) -> str:
        """What structlog would make of these fields."""
        for name in _CHOSEN_BY_CLIENTS:
            self[name] = redact(self[name])
        line = orjson.dumps({**self, "timestamp": datetime.now(UTC)}, option=orjson.OPT_UTC_Z)
        # A line separator of Unicode ends no line when it is escaped, which orjson does not do.
        return line.decode() if line.isascii() else json.dumps(orjson.loads(line))


def write(fields: dict[str, Any], *, as_json: bool) -> None:
    """Write a line at level `info`, with what is bound to this greenlet's lines."""
    if not _logger.isEnabledFor(logging.INFO):
        return
    if not as_json:
        _readable.info(EVENT, **fields)
        return
    line = RequestLine(**fields, **get_contextvars(), event=EVENT, level="info", logger=NAME)
    _logger.handle(logging.LogRecord(NAME, logging.INFO, "", 0, line, None, None))

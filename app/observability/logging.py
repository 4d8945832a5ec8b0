"""Logging to standard error, one record a line, as JSON or as plain text.

The service's own loggers are structlog's and write directly. Records of gunicorn and other libraries come through the
standard library's logging and get the same form.
"""

import json
import logging.config
import sys
from contextlib import suppress
from typing import Any, BinaryIO, cast

import gevent
import orjson
import structlog
from sqlalchemy.engine import make_url

from app.observability import exceptions, failures
from app.observability.redaction import escape, keep_secret, redact_event, withhold_requests
from app.settings import Settings

_SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]

log = structlog.get_logger(__name__)


def configure(settings: Settings) -> None:
    """Set up logging for the process, as `LOG_JSON` and `LOG_LEVEL` say."""
    keep_secrets_of(settings)
    gevent.get_hub().print_exception = _log_greenlet_failure  # else it goes to standard error in a form of its own
    logging.config.dictConfig(dict_config(level=settings.log_level, as_json=settings.log_json))
    logging.captureWarnings(True)  # else they go to standard error in a form of their own
    structlog.configure(**structlog_config(level=settings.log_level, as_json=settings.log_json))


def structlog_config(*, level: str, as_json: bool) -> dict[str, Any]:
    """The configuration of the service's own loggers. They are not cached, so a later `structlog.configure` counts."""
    return {
        "processors": [*_SHARED, *_renderers(as_json=as_json), _encode],
        "wrapper_class": structlog.make_filtering_bound_logger(level),
        "logger_factory": structlog.BytesLoggerFactory(cast(BinaryIO, _StandardError())),
    }


class _StandardError:
    """Standard error at the time of each call. A failure to write fails no request, as in the standard library."""

    def write(self, line: bytes) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.buffer.write(line)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.buffer.flush()


def keep_secrets_of(settings: Settings) -> None:
    """Let none of the settings' secrets appear in the log."""
    passwords = (make_url(url).password for url in (settings.database_url, settings.redis_url) if url)
    keep_secret(settings.auth0_client_secret, settings.metrics.admin_token, settings.sentry_dsn, *passwords)


def _log_greenlet_failure(_context: Any, _kind: Any, error: Any, _traceback: Any) -> None:
    """Gevent's hook for an unhandled error of a greenlet. Its context is ignored: it repeats arguments."""
    failures.send(error)
    log.error("greenlet_failed", exc_info=error)


def dict_config(*, level: str, as_json: bool) -> dict[str, Any]:
    """The standard library's configuration: one handler and one format for the loggers of all libraries.

    They log from `warning` up, gunicorn's from `info` up: debug records hold requests, headers, statements and rows.
    """
    formatter = {
        "()": structlog.stdlib.ProcessorFormatter,
        "foreign_pre_chain": [*_SHARED, withhold_requests],
        "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(as_json=as_json)],
    }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"structured": formatter},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "structured"}},
        "root": {"handlers": ["stderr"], "level": _at_least("WARNING", level)},
        # By default gunicorn's loggers have handlers and levels of their own; here the root's handler serves them.
        "loggers": {
            "gunicorn.error": {"handlers": [], "propagate": True, "level": _at_least("INFO", level)},
            "gunicorn.access": {"handlers": [], "propagate": False},
        },
    }


def _at_least(floor: str, level: str) -> str:
    levels = logging.getLevelNamesMapping()
    return max(floor, level.upper(), key=levels.__getitem__)


def _renderers(*, as_json: bool) -> list[Any]:
    render: list[Any] = [escape, structlog.dev.ConsoleRenderer(colors=False)]
    if as_json:
        render = [structlog.processors.JSONRenderer(_to_json)]
    return [exceptions.renderer(as_json=as_json), redact_event, *render]


def _to_json(event: Any, **options: Any) -> str:
    """ASCII JSON. orjson does not escape other characters, so the standard library serialises such records."""
    try:
        text = orjson.dumps(event, **options).decode()
    except TypeError:  # a lone surrogate
        text = ""
    if text and text.isascii() and text.isprintable():
        return text
    return json.dumps(event, separators=(",", ":"), **options)


def _encode(_logger: Any, _name: str, text: Any) -> Any:
    return text.encode(errors="backslashreplace")

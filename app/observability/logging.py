"""Logging to standard error: structlog formats every logger's records, as JSON or as plain lines."""

import logging.config
from typing import Any

import gevent
import structlog
from sqlalchemy.engine import make_url

from app.observability import exceptions, sentry
from app.observability.redaction import escape, keep_secret, redact_event, withhold_requests
from app.settings import Settings

_SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.ExtraAdder(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]

OURS = "app"

log = structlog.get_logger(__name__)


def configure(settings: Settings) -> None:
    """Set up logging for the process, as `LOG_JSON` and `LOG_LEVEL` say."""
    keep_secrets_of(settings)
    gevent.get_hub().print_exception = _log_greenlet_failure  # else it goes to standard error in a form of its own
    logging.config.dictConfig(dict_config(level=settings.log_level, as_json=settings.log_json))
    logging.captureWarnings(True)  # else they go to standard error in a form of their own
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def keep_secrets_of(settings: Settings) -> None:
    """Let none of the settings' secrets appear in the log."""
    passwords = (make_url(url).password for url in (settings.database_url, settings.redis_url) if url)
    keep_secret(settings.auth0_client_secret, settings.metrics.admin_token, settings.sentry_dsn, *passwords)


def _log_greenlet_failure(_context: Any, _kind: Any, error: Any, _traceback: Any) -> None:
    """Gevent's hook for an unhandled error of a greenlet. Its context is ignored: it repeats arguments."""
    sentry.send(error)
    log.error("greenlet_failed", exc_info=error)


def dict_config(*, level: str, as_json: bool) -> dict[str, Any]:
    """The standard library's configuration: one handler and one format for every logger, gunicorn's included.

    Only our own loggers log below `warning`: others' debug records hold requests, headers, statements and rows.
    """
    plain = structlog.dev.ConsoleRenderer(colors=False)
    render: list[Any] = [structlog.processors.JSONRenderer()] if as_json else [escape, plain]
    formatter = {
        "()": structlog.stdlib.ProcessorFormatter,
        "foreign_pre_chain": [*_SHARED, withhold_requests],
        "processors": [
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            exceptions.renderer(as_json=as_json),
            redact_event,
            *render,
        ],
    }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"structured": formatter},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "structured"}},
        "root": {"handlers": ["stderr"], "level": _at_least("WARNING", level)},
        # By default gunicorn's loggers have handlers and levels of their own; here the root's handler serves them.
        "loggers": {
            OURS: {"level": level.upper()},
            "gunicorn.error": {"handlers": [], "propagate": True, "level": _at_least("INFO", level)},
            "gunicorn.access": {"handlers": [], "propagate": False},
        },
    }


def _at_least(floor: str, level: str) -> str:
    levels = logging.getLevelNamesMapping()
    return max(floor, level.upper(), key=levels.__getitem__)

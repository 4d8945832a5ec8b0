"""Logs: structlog for ours and for everyone else's, as JSON lines or for a person to read, to standard error."""

import logging.config
import time
from typing import Any

import structlog
from flask import Flask, Response, g, request
from structlog.tracebacks import ExceptionDictTransformer

from app.settings import Settings

_SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.ExtraAdder(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]

log = structlog.get_logger("app.request")


def configure(settings: Settings) -> None:
    """Set up logging for the process, as `LOG_JSON` and `LOG_LEVEL` say."""
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


def dict_config(*, level: str, as_json: bool) -> dict[str, Any]:
    """The standard library's configuration: one handler and one format for every logger, gunicorn's among them."""
    # Tracebacks without the frames' variables: passwords and tokens are among them.
    traceback = structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False))
    plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    render: list[Any] = [traceback, structlog.processors.JSONRenderer()] if as_json else [plain]
    formatter = {
        "()": structlog.stdlib.ProcessorFormatter,
        "foreign_pre_chain": _SHARED,
        "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
    }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"structured": formatter},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "structured"}},
        "root": {"handlers": ["stderr"], "level": level.upper()},
        # These have handlers or levels of their own by default; here they speak through the root.
        "loggers": {
            "gunicorn.error": {"handlers": [], "propagate": True, "level": level.upper()},
            "gunicorn.access": {"handlers": [], "propagate": False},
        },
    }


def init_app(app: Flask) -> None:
    """Write one line for each request. Paths only: a query may hold what nobody should read later."""

    @app.before_request
    def begin() -> None:
        """Start the clock."""
        g.began_at = time.perf_counter()

    @app.after_request
    def end(response: Response) -> Response:
        """Write the line. A socket writes its own: its life is no request's duration."""
        if g.get("is_socket"):
            return response
        log.info(
            "request",
            method=request.method,
            path=request.path,
            route=request.url_rule.rule if request.url_rule else None,
            status=response.status_code,
            duration_ms=round((time.perf_counter() - g.began_at) * 1000, 1),
            client_address=request.remote_addr,
        )
        return response

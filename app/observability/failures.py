"""Unexpected errors of requests, sockets and background tasks."""

import structlog
from sqlalchemy.exc import DBAPIError

from app.observability import sentry

log = structlog.get_logger(__name__)


def report_unexpected(error: Exception) -> None:
    """Log an error that no handler knows, with its traceback, and send it to Sentry if SENTRY_DSN is set."""
    sentry.send(error)
    log.error("unexpected_database_error" if isinstance(error, DBAPIError) else "unexpected_error", exc_info=error)

"""Unexpected errors of requests, sockets and background tasks."""

import traceback

import structlog
from sqlalchemy.exc import DBAPIError

from app.observability import sentry
from app.observability.exceptions import database_details

log = structlog.get_logger(__name__)


def report_unexpected(error: Exception) -> None:
    """Log an error that no handler knows, with its place, and send it to Sentry if SENTRY_DSN is set."""
    sentry.send(error)
    if not isinstance(error, DBAPIError):
        log.error("unexpected_error", exc_info=error)
        return
    # Without the error itself, whose message and detail repeat values of the failing row.
    frames = [f"{at.filename}:{at.lineno} {at.name}" for at in traceback.extract_tb(error.__traceback__)]
    log.error("unexpected_database_error", **database_details(error.orig), frames=frames)

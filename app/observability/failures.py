"""What nobody expected, taken down in the log: from a request, a socket or a background task alike."""

import traceback

import structlog
from sqlalchemy.exc import DBAPIError

from app.observability import error_tracking
from app.observability.exceptions import database_details

log = structlog.get_logger(__name__)


def report_unexpected(error: Exception) -> None:
    """Log an error that no handler knows, and send it to error tracking where there is one: where, not what was sent.

    Of a database error not its own text: PostgreSQL repeats values there, and puts the failing row into its detail.
    """
    error_tracking.send(error)
    if not isinstance(error, DBAPIError):
        log.error("unexpected_error", exc_info=error)
        return
    frames = traceback.extract_tb(error.__traceback__)
    log.error(
        "unexpected_database_error",
        **database_details(error.orig),
        frames=[f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    )

"""What nobody expected, taken down in the log: from a request, a socket or a background task alike."""

import traceback

import structlog
from sqlalchemy.exc import DBAPIError

log = structlog.get_logger(__name__)


def log_unexpected(error: Exception) -> None:
    """Log an error that no handler knows, with where it happened and without what anybody sent.

    Of a database error not its own text: PostgreSQL puts the failing row into it.
    """
    if not isinstance(error, DBAPIError):
        log.error("unexpected_error", exc_info=error)
        return
    diagnostics = getattr(error.orig, "diag", None)
    log.error(
        "unexpected_database_error",
        sqlstate=getattr(error.orig, "pgcode", None),
        constraint=getattr(diagnostics, "constraint_name", None),
        message=getattr(diagnostics, "message_primary", None),
        stack="".join(traceback.format_tb(error.__traceback__)),
    )

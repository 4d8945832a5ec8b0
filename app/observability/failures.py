"""Unexpected errors of requests, sockets and background tasks: in the log, and at Sentry if `SENTRY_DSN` is set.

An event at Sentry, or a compatible service, has the type of each error, its frames and the request id, and no user
data. The library's integrations stay off, as they collect requests, headers and statements.
"""

import traceback
from typing import Any

import sentry_sdk
import structlog
from sqlalchemy.exc import DBAPIError
from structlog.contextvars import get_contextvars

from app.observability.exceptions import chain, database_details, safe_text
from app.settings import Settings

log = structlog.get_logger(__name__)


def configure(settings: Settings) -> None:
    """Send from now on, if `SENTRY_DSN` is set. Connects to nothing yet; a background thread sends."""
    sentry_sdk.init(
        dsn=settings.sentry_dsn,
        environment=settings.app_env.value,
        default_integrations=False,
        auto_enabling_integrations=False,
        include_local_variables=False,
        max_breadcrumbs=0,
        before_send=_replace_texts,
    )


def report_unexpected(error: Exception) -> None:
    """Log an error that no handler knows, with its place, and send it."""
    send(error)
    if not isinstance(error, DBAPIError):
        log.error("unexpected_error", exc_info=error)
        return
    # Without the error itself, whose message and detail repeat values of the failing row.
    frames = [f"{at.filename}:{at.lineno} {at.name}" for at in traceback.extract_tb(error.__traceback__)]
    log.error("unexpected_database_error", **database_details(error.orig), frames=frames)


def send(error: BaseException) -> None:
    """Send an error with the id of its request or socket; without a DSN, do nothing."""
    request_id = get_contextvars().get("request_id")
    sentry_sdk.capture_exception(error, tags={"request_id": request_id} if request_id else {})


def _replace_texts(event: Any, hint: dict[str, Any]) -> Any:
    """Sentry's `before_send`: each exception has the text that the log has."""
    values = event.get("exception", {}).get("values", [])
    texts = map(safe_text, chain(hint.get("exc_info", (None, None, None))[1]))
    for value in reversed(values):  # the library begins with the first cause
        value["value"] = next(texts, "(text withheld)")
    return event

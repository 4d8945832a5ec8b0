"""Unexpected errors, sent to Sentry or a compatible service if `SENTRY_DSN` is set.

An event has the type of each error, its frames and the request id, and no user data. The library's integrations stay
off, as they collect requests, headers and statements.
"""

from typing import Any

import sentry_sdk
from structlog.contextvars import get_contextvars

from app.observability.exceptions import chain, safe_text
from app.settings import Settings


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

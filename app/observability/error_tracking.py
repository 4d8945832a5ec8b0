"""Errors that nobody expected, sent to Sentry (or what speaks as it does) where `SENTRY_DSN` says so.

What is sent: the kind of error, where it happened, the request's id. Not sent: what anybody sent or is. The library's
integrations stay off, as they collect requests, headers and statements.
"""

from itertools import zip_longest
from typing import Any

import sentry_sdk
from structlog.contextvars import get_contextvars

from app.observability.exceptions import chain, safe_text
from app.settings import Settings

WITHHELD = "(text withheld)"


def configure(settings: Settings) -> None:
    """Send from now on, if `SENTRY_DSN` is set. Connects to nothing yet; sending holds nobody up."""
    sentry_sdk.init(
        dsn=settings.sentry_dsn,
        environment=settings.app_env.value,
        default_integrations=False,
        auto_enabling_integrations=False,
        include_local_variables=False,
        max_breadcrumbs=0,
        before_send=_without_what_was_sent,
    )


def send(error: BaseException) -> None:
    """Send an error, under the id of the request or socket that it happened in. Nothing, where no DSN is set."""
    with sentry_sdk.new_scope() as scope:
        request_id = get_contextvars().get("request_id")
        if request_id is not None:
            scope.set_tag("request_id", request_id)
        scope.capture_exception(error)


def _without_what_was_sent(event: Any, hint: dict[str, Any]) -> Any:
    """Sentry's `before_send`: each exception's text as the log tells it."""
    values = event.get("exception", {}).get("values", [])
    texts = [safe_text(link) for link in chain(hint.get("exc_info", (None, None, None))[1])]
    for value, text in zip_longest(values, reversed(texts)):  # the library begins with the first cause
        if value is not None:
            value["value"] = text if text is not None and len(values) == len(texts) else WITHHELD
    return event

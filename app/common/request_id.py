"""The id of the request that the current greenlet serves; None outside a request. Set by `app.web.request_context`."""

from contextvars import ContextVar

current_request_id: ContextVar[str | None] = ContextVar("current_request_id", default=None)

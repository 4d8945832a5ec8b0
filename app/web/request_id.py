"""`X-Request-Id`: one name for a request in its response, its errors and its log lines."""

import re
import uuid

from flask import Flask, Response, g, request
from structlog.contextvars import bind_contextvars, clear_contextvars

HEADER = "X-Request-Id"
_ACCEPTED = re.compile(r"[A-Za-z0-9._-]{8,128}", re.ASCII)


def init_app(app: Flask) -> None:
    """Take the client's identifier where it is a safe one, else make one; put it on every response."""
    app.before_request(_begin)
    app.after_request(_label)


def current_request_id() -> str:
    """The identifier of the request being served."""
    request_id: str = g.request_id
    return request_id


def _begin() -> None:
    sent = request.headers.get(HEADER, "")
    g.request_id = sent if _ACCEPTED.fullmatch(sent) else uuid.uuid4().hex
    clear_contextvars()
    bind_contextvars(request_id=g.request_id)


def _label(response: Response) -> Response:
    response.headers[HEADER] = current_request_id()
    return response

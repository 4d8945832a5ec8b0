"""Error responses to requests that gunicorn cannot parse, with the body of every other error."""

import uuid
from http import HTTPStatus
from typing import Any

import orjson
from gunicorn import util

from app.web.errors import code_of, error_body
from app.web.headers import HEADERS
from app.web.request_context import HEADER


def install() -> None:
    """Replace gunicorn's HTML error page, for which gunicorn has no setting."""
    util.write_error = _write_error


def _write_error(sock: Any, status_int: int, _reason: str, _message: str) -> None:
    """Respond and close. gunicorn's message is left out, as it repeats the request."""
    request_id = uuid.uuid4().hex
    status = HTTPStatus(status_int)
    body = orjson.dumps(
        error_body(status, code_of(status), "The request could not be read.", request_id=request_id, path="/")
    )
    headers = {
        **HEADERS,
        HEADER: request_id,
        "Cache-Control": "no-store",
        "Connection": "close",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    util.write_nonblock(sock, f"HTTP/1.1 {status.value} {status.phrase}\r\n{lines}\r\n".encode("latin-1") + body)

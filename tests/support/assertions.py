"""Checks that many tests make of a response."""

from collections.abc import Mapping
from typing import Any

ERROR_MEMBERS = {"error", "message", "code", "request_id", "type", "title", "status", "detail", "instance"}


def assert_error(answer: Any, status: int, code: str) -> dict[str, Any]:
    """Check that a response is this error with the one error body (RFC 9457), and return the body.

    Takes a response of Flask's test client, of requests, of `http_raw` or of `ws_raw`.
    """
    body = answer.json() if callable(answer.json) else answer.json
    found = answer.status_code if hasattr(answer, "status_code") else answer.status
    assert (found, (body or {}).get("code")) == (status, code), body
    assert body.keys() >= ERROR_MEMBERS
    assert body["status"] == status
    headers: Mapping[str, str] = answer.headers
    assert headers["X-Request-Id"] == body["request_id"]
    if status == 401:
        assert headers["WWW-Authenticate"].startswith("Bearer ")  # RFC 6750 §3
    if status in (429, 503):
        assert int(headers["Retry-After"]) > 0
    return dict(body)

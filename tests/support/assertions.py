"""Checks that many tests make of a response."""

from collections.abc import Mapping
from typing import Any

ERROR_MEMBERS = {"error", "message", "code", "request_id", "type", "title", "status", "detail", "instance"}


def body_of(answer: Any) -> Any:
    """The parsed body of a response of Flask's test client, of requests, of `http_raw` or of `ws_raw`."""
    return answer.json() if callable(answer.json) else answer.json


def assert_error(answer: Any, status: int, code: str) -> dict[str, Any]:
    """Check that a response is this error with the one error body (RFC 9457), and return the body."""
    body = body_of(answer)
    assert (_status(answer), (body or {}).get("code")) == (status, code), body
    assert body.keys() - {"details"} == ERROR_MEMBERS
    assert body["status"] == status
    assert body["message"] == body["detail"]
    headers: Mapping[str, str] = answer.headers
    assert headers["X-Request-Id"] == body["request_id"]
    if status == 401:
        assert headers["WWW-Authenticate"].startswith("Bearer ")  # RFC 6750 §3
    elif status != 400:  # two tokens are an `invalid_request` (RFC 6750 §3.1)
        assert "WWW-Authenticate" not in headers
    if status in (429, 503):
        assert int(headers["Retry-After"]) > 0
    return dict(body)


def assert_invalid(answer: Any, *fields: str) -> list[dict[str, str]]:
    """Check that a response refuses these fields and no others, and return the details."""
    details: list[dict[str, str]] = assert_error(answer, 400, "VALIDATION_ERROR")["details"]
    assert {problem["field"] for problem in details} == set(fields)
    return details


def assert_ok(answer: Any, status: int = 200) -> Any:
    """Check the status of a response and return its JSON body."""
    assert _status(answer) == status, answer.get_data(as_text=True) if hasattr(answer, "get_data") else answer
    return body_of(answer)


def _status(answer: Any) -> int:
    return int(answer.status_code if hasattr(answer, "status_code") else answer.status)


def problems(answer: Any) -> list[tuple[str, str]]:
    """The field and the code of each problem that a 400 for a validation error names."""
    body = assert_error(answer, 400, "VALIDATION_ERROR")
    return [(problem["field"], problem["code"]) for problem in body["details"]]


def refused_fields(answer: Any) -> set[str]:
    """The fields of the body or the query that a 400 names, without the index of an element."""
    return {field.partition(".")[0] for field, _ in problems(answer)}

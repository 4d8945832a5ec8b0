"""The one table from errors to responses. Every error of every layer leaves through here, with one body."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from itertools import islice
from typing import Any

import structlog
from flask import Flask, Response, request
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException

from app import errors
from app.db.engine import is_unavailable
from app.errors import GearyardError, Problem
from app.observability import metrics
from app.observability.failures import report_unexpected
from app.settings import REALM
from app.web.json import json_response
from app.web.negotiation import JSON, PROBLEM_JSON, best_match
from app.web.request_context import request_id

RETRY_AFTER_SECONDS = 2
# What a client sent comes back in an error, so it is cut.
MAX_PROBLEMS = 20
MAX_FIELD_LENGTH = 100

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class _Row:
    status: HTTPStatus
    code: str


_TABLE: dict[type[GearyardError], _Row] = {
    errors.InvalidInput: _Row(HTTPStatus.BAD_REQUEST, "VALIDATION_ERROR"),
    errors.MalformedRequest: _Row(HTTPStatus.BAD_REQUEST, "BAD_REQUEST"),
    errors.UnsupportedMediaType: _Row(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE"),
    errors.NotAcceptable: _Row(HTTPStatus.NOT_ACCEPTABLE, "NOT_ACCEPTABLE"),
    errors.Unauthenticated: _Row(HTTPStatus.UNAUTHORIZED, "UNAUTHORIZED"),
    errors.TokenExpired: _Row(HTTPStatus.UNAUTHORIZED, "TOKEN_EXPIRED"),
    errors.InvalidToken: _Row(HTTPStatus.UNAUTHORIZED, "INVALID_TOKEN"),
    errors.InvalidCredentials: _Row(HTTPStatus.UNAUTHORIZED, "INVALID_CREDENTIALS"),
    errors.Forbidden: _Row(HTTPStatus.FORBIDDEN, "FORBIDDEN"),
    errors.NotFound: _Row(HTTPStatus.NOT_FOUND, "NOT_FOUND"),
    errors.Conflict: _Row(HTTPStatus.CONFLICT, "CONFLICT"),
    errors.PreconditionFailed: _Row(HTTPStatus.PRECONDITION_FAILED, "PRECONDITION_FAILED"),
    errors.IdempotencyKeyReused: _Row(HTTPStatus.UNPROCESSABLE_ENTITY, "IDEMPOTENCY_KEY_REUSED"),
    errors.TooManyRequests: _Row(HTTPStatus.TOO_MANY_REQUESTS, "RATE_LIMITED"),
    errors.Unavailable: _Row(HTTPStatus.SERVICE_UNAVAILABLE, "SERVICE_UNAVAILABLE"),
}
# What Flask and Werkzeug raise by themselves: an unknown path, a wrong method, a body too large.
_CODES_BY_STATUS = {
    400: "BAD_REQUEST",
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    406: "NOT_ACCEPTABLE",
    409: "CONFLICT",
    412: "PRECONDITION_FAILED",
    413: "PAYLOAD_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    429: "RATE_LIMITED",
    500: "INTERNAL_ERROR",
    503: "SERVICE_UNAVAILABLE",
}
_NOT_IN_A_DESCRIPTION = re.compile(r"[^ !#-\[\]-~]")
_CHALLENGE_CODES = {errors.InvalidToken: "invalid_token", errors.AmbiguousCredentials: "invalid_request"}


def init_app(app: Flask) -> None:
    """Send every exception through the table."""
    app.register_error_handler(GearyardError, _domain_error)
    app.register_error_handler(PoolTimeout, _database_away)
    app.register_error_handler(DBAPIError, _database_error)
    app.register_error_handler(HTTPException, http_error)
    app.register_error_handler(Exception, _unexpected)


def error_body(
    status: HTTPStatus, code: str, message: str, *, request_id: str, path: str, details: Iterable[Problem] = ()
) -> dict[str, Any]:
    """The one error body of this API, which carries RFC 9457's members, too."""
    problems = [{"field": problem.field, "message": problem.message, "code": problem.code} for problem in details]
    return {
        "error": status.phrase,
        "message": message,
        "code": code,
        **({"details": problems} if problems else {}),
        "request_id": request_id,
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": message,
        "instance": path,
    }


def error_response(
    status: HTTPStatus,
    code: str,
    message: str,
    *,
    details: Iterable[Problem] = (),
    retry_after_seconds: int | None = None,
) -> Response:
    """An error of the request being served; its media type goes by `Accept`."""
    body = error_body(status, code, message, request_id=request_id(), path=request.path, details=details)
    response = json_response(body, status, content_type=_media_type())
    if retry_after_seconds is not None:
        response.headers["Retry-After"] = str(retry_after_seconds)
    return response


def code_of(status: HTTPStatus) -> str:
    """The code for a status that carries none of its own."""
    fallback = "INTERNAL_ERROR" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "BAD_REQUEST"
    return _CODES_BY_STATUS.get(status, fallback)


def codes_by_status() -> dict[int, frozenset[str]]:
    """Every code that an error can have, by its status."""
    found: dict[int, set[str]] = {status: {code} for status, code in _CODES_BY_STATUS.items()}
    for row in _TABLE.values():
        found.setdefault(row.status.value, set()).add(row.code)
    return {status: frozenset(codes) for status, codes in sorted(found.items())}


def _media_type() -> str:
    return best_match((JSON, PROBLEM_JSON)) or JSON


def _domain_error(error: GearyardError) -> Response:
    row = next(_TABLE[kind] for kind in type(error).__mro__ if kind in _TABLE)
    metrics.count_refusal(row.code)
    response = error_response(
        row.status, row.code, error.message, details=error.details, retry_after_seconds=error.retry_after_seconds
    )
    if row.status is HTTPStatus.UNAUTHORIZED or isinstance(error, errors.AmbiguousCredentials):
        response.headers["WWW-Authenticate"] = _challenge(error)
    return response


def _challenge(error: GearyardError) -> str:
    """RFC 6750 §3: the realm always; an error code only where a token was presented, in the characters it allows."""
    code = next((code for kind, code in _CHALLENGE_CODES.items() if isinstance(error, kind)), None)
    description = _NOT_IN_A_DESCRIPTION.sub("?", error.message)
    reason = f', error="{code}", error_description="{description}"' if code else ""
    return f'Bearer realm="{REALM}"{reason}'


def http_error(error: HTTPException) -> Response:
    """Werkzeug's errors, with the headers that belong to them (`Allow`), and webargs' with the fields they name."""
    original = error.get_response()
    if original.status_code < HTTPStatus.BAD_REQUEST:
        return Response(response=original.get_data(), status=original.status_code, headers=original.headers)
    messages = (getattr(error, "data", None) or {}).get("messages")
    if messages is not None:
        problems = list(islice(_problems(messages), MAX_PROBLEMS))
        summary = "; ".join(f"{problem.field}: {problem.message}" for problem in problems)
        return _domain_error(errors.InvalidInput(summary, details=problems))
    status = HTTPStatus(original.status_code)
    response = error_response(status, code_of(status), error.description or status.phrase)
    for name in ("Allow", "Retry-After", "Content-Range"):
        if name in original.headers:
            response.headers[name] = original.headers[name]
    return response


def _problems(messages: dict[str, Any]) -> Iterator[Problem]:
    """Flatten webargs' {location: {field: [message]}} into dotted fields."""
    for in_location in messages.values():
        yield from _flatten(in_location, ())


def _flatten(messages: Any, path: tuple[str, ...]) -> Iterator[Problem]:
    if isinstance(messages, dict):
        for name, inner in messages.items():
            yield from _flatten(inner, path if name == "_schema" else (*path, str(name)))
        return
    for message in messages:
        field = ".".join(path)[:MAX_FIELD_LENGTH] or "body"
        yield Problem(field, str(message), _PROBLEM_CODES.get(str(message), "invalid"))


_PROBLEM_CODES = {
    "Missing data for required field.": "required",
    "Unknown field.": "unknown_field",
    "Field may not be null.": "null",
}


def _database_error(error: DBAPIError) -> Response:
    if not is_unavailable(error):
        return _unexpected(error)
    sqlstate = getattr(error.orig, "pgcode", None)
    log.warning("database_unavailable", sqlstate=sqlstate, reason=str(error.orig).strip()[:200])
    return _unavailable()


def _database_away(error: PoolTimeout) -> Response:
    log.warning("database_pool_exhausted", reason=str(error)[:200])
    return _unavailable()


def _unavailable() -> Response:
    return error_response(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "SERVICE_UNAVAILABLE",
        "The service is busy or restarting; try again shortly.",
        retry_after_seconds=RETRY_AFTER_SECONDS,
    )


def _unexpected(error: Exception) -> Response:
    report_unexpected(error)
    message = "Something went wrong on our side; the request id helps us find it."
    return error_response(HTTPStatus.INTERNAL_SERVER_ERROR, "INTERNAL_ERROR", message)

"""The table from errors to responses. Every error of every layer has the same body."""

import re
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from itertools import islice
from typing import Any

import structlog
from flask import Flask, Response, request
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException, InternalServerError, MethodNotAllowed, RequestEntityTooLarge

from app import errors
from app.db.engine import is_unavailable
from app.errors import GearyardError, Problem
from app.observability import metrics
from app.observability.failures import report_unexpected
from app.web.json import json_response
from app.web.negotiation import JSON, PROBLEM_JSON, best_match
from app.web.request_context import request_id

RETRY_AFTER_SECONDS = 2
# An error repeats names that the client sent, so both are bounded.
MAX_PROBLEMS = 20
MAX_FIELD_LENGTH = 100
MAX_REASON_LENGTH = 200
HEADERS_OF_ERRORS = frozenset({"Allow", "Retry-After", "Content-Range"})

log = structlog.get_logger(__name__)

# The first code of a status is also the code of Werkzeug's errors with that status.
_TABLE: dict[type[Exception], tuple[HTTPStatus, str]] = {
    errors.MalformedRequest: (HTTPStatus.BAD_REQUEST, "BAD_REQUEST"),
    errors.InvalidInput: (HTTPStatus.BAD_REQUEST, "VALIDATION_ERROR"),
    errors.Unauthenticated: (HTTPStatus.UNAUTHORIZED, "UNAUTHORIZED"),
    errors.TokenExpired: (HTTPStatus.UNAUTHORIZED, "TOKEN_EXPIRED"),
    errors.InvalidToken: (HTTPStatus.UNAUTHORIZED, "INVALID_TOKEN"),
    errors.InvalidCredentials: (HTTPStatus.UNAUTHORIZED, "INVALID_CREDENTIALS"),
    errors.Forbidden: (HTTPStatus.FORBIDDEN, "FORBIDDEN"),
    errors.NotFound: (HTTPStatus.NOT_FOUND, "NOT_FOUND"),
    MethodNotAllowed: (HTTPStatus.METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED"),
    errors.NotAcceptable: (HTTPStatus.NOT_ACCEPTABLE, "NOT_ACCEPTABLE"),
    errors.Conflict: (HTTPStatus.CONFLICT, "CONFLICT"),
    errors.PreconditionFailed: (HTTPStatus.PRECONDITION_FAILED, "PRECONDITION_FAILED"),
    RequestEntityTooLarge: (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "PAYLOAD_TOO_LARGE"),
    errors.UnsupportedMediaType: (HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE"),
    errors.IdempotencyKeyReused: (HTTPStatus.UNPROCESSABLE_ENTITY, "IDEMPOTENCY_KEY_REUSED"),
    errors.TooManyRequests: (HTTPStatus.TOO_MANY_REQUESTS, "RATE_LIMITED"),
    InternalServerError: (HTTPStatus.INTERNAL_SERVER_ERROR, "INTERNAL_ERROR"),
    errors.Unavailable: (HTTPStatus.SERVICE_UNAVAILABLE, "SERVICE_UNAVAILABLE"),
}
_NOT_IN_A_DESCRIPTION = re.compile(r"[^ !#-\[\]-~]")
_CHALLENGE_CODES = {errors.InvalidToken: "invalid_token", errors.AmbiguousCredentials: "invalid_request"}


def init_app(app: Flask) -> None:
    """Register a handler for every exception."""
    app.register_error_handler(GearyardError, _domain_error)
    app.register_error_handler(PoolTimeout, _database_error)
    app.register_error_handler(DBAPIError, _database_error)
    app.register_error_handler(HTTPException, http_error)
    app.register_error_handler(Exception, _unexpected)


def error_body(
    status: HTTPStatus, code: str, message: str, *, request_id: str, path: str, details: Iterable[Problem] = ()
) -> dict[str, Any]:
    """The error body of this API, with the members of RFC 9457."""
    problems = [vars(problem) for problem in details]
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
    """An error of the current request, in the media type that Accept prefers."""
    body = error_body(status, code, message, request_id=request_id(), path=request.path, details=details)
    response = json_response(body, status, content_type=best_match((JSON, PROBLEM_JSON)) or JSON)
    if retry_after_seconds is not None:
        response.headers["Retry-After"] = str(retry_after_seconds)
    return response


def code_of(status: HTTPStatus) -> str:
    """The code of an error that has a status alone; the fallback of a status without one."""
    fallback = "INTERNAL_ERROR" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "BAD_REQUEST"
    return next((code for known, code in _TABLE.values() if known == status), fallback)


def codes_by_status() -> dict[int, frozenset[str]]:
    """Every code that an error can have, by its status."""
    statuses = sorted({status.value for status, _ in _TABLE.values()})
    return {value: frozenset(code for status, code in _TABLE.values() if status == value) for value in statuses}


def _domain_error(error: GearyardError) -> Response:
    status, code = next(_TABLE[kind] for kind in type(error).__mro__ if kind in _TABLE)
    if status is HTTPStatus.UNAUTHORIZED:
        metrics.AUTHENTICATION_FAILURES.labels(code).inc()
    elif status is HTTPStatus.TOO_MANY_REQUESTS:
        metrics.RATE_LIMIT_REFUSALS.inc()
    response = error_response(
        status, code, error.message, details=error.details, retry_after_seconds=error.retry_after_seconds
    )
    if status is HTTPStatus.UNAUTHORIZED or isinstance(error, errors.AmbiguousCredentials):
        response.headers["WWW-Authenticate"] = _challenge(error)
    return response


def _challenge(error: GearyardError) -> str:
    """RFC 6750 §3: the realm, and an error code if a token was presented, in the characters that it allows."""
    code = next((code for kind, code in _CHALLENGE_CODES.items() if isinstance(error, kind)), None)
    description = _NOT_IN_A_DESCRIPTION.sub("?", error.message)
    reason = f', error="{code}", error_description="{description}"' if code else ""
    return f'Bearer realm="gearyard"{reason}'


def http_error(error: HTTPException) -> Response:
    """The response to an error of Werkzeug, with its headers (`Allow`), or of webargs, with the fields it names."""
    original = error.get_response()
    messages = (getattr(error, "data", None) or {}).get("messages")
    if messages is not None:
        # webargs names the location first: {location: {field: [message]}}
        found = (problem for in_location in messages.values() for problem in _flatten(in_location, ()))
        problems = list(islice(found, MAX_PROBLEMS))
        summary = "; ".join(f"{problem.field}: {problem.message}" for problem in problems)
        return _domain_error(errors.InvalidInput(summary, details=problems))
    status = HTTPStatus(original.status_code)
    response = error_response(status, code_of(status), error.description or status.phrase)
    response.headers.update({name: value for name, value in original.headers if name in HEADERS_OF_ERRORS})
    return response


def _flatten(messages: Any, path: tuple[str, ...]) -> Iterator[Problem]:
    """The problems of a tree of messages, each with its dotted field."""
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


def _database_error(error: DBAPIError | PoolTimeout) -> Response:
    if not is_unavailable(error):
        return _unexpected(error)
    if isinstance(error, PoolTimeout):
        log.warning("database_pool_exhausted", reason=str(error)[:MAX_REASON_LENGTH])
    else:
        sqlstate = getattr(error.orig, "pgcode", None)
        log.warning("database_unavailable", sqlstate=sqlstate, reason=str(error.orig).strip()[:MAX_REASON_LENGTH])
    message = "The service is busy or restarting; try again shortly."
    return _domain_error(errors.Unavailable(message, retry_after_seconds=RETRY_AFTER_SECONDS))


def _unexpected(error: Exception) -> Response:
    report_unexpected(error)
    message = "Something went wrong on our side; the request id helps us find it."
    return error_response(*_TABLE[InternalServerError], message)

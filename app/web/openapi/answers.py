"""What many operations share: headers, and an answer for each error, with a body for each of its codes."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from app.web.accept import JSON, PROBLEM_JSON
from app.web.errors import codes_by_status, error_body
from app.web.idempotency import REPLAYED
from app.web.openapi.examples import ERRORS, ETAG, REQUEST_ID
from app.web.openapi.examples import LINK as LINK_EXAMPLE

# HTTPStatus calls these otherwise in another version of Python.
_NAMES = {413: "PayloadTooLarge", 422: "UnprocessableContent"}
ERROR_SCHEMA = "Error"
_UNAUTHORIZED, _BAD_REQUEST, _NOT_ALLOWED, _CONFLICT = 401, 400, 405, 409
_WITH_RETRY_AFTER = frozenset({429, 503})


def _header(description: str, example: str | int, *, required: bool = True, **schema: Any) -> dict[str, Any]:
    kind = "integer" if isinstance(example, int) else "string"
    found = {"description": description, "schema": {"type": kind, **schema}, "example": example}
    return {**found, "required": True} if required else found


HEADERS: dict[str, dict[str, Any]] = {
    "X-Request-Id": _header(
        "The name of this request in answers and logs: the one it was sent with, or a new one.",
        REQUEST_ID, pattern="^[A-Za-z0-9._-]{8,128}$",
    ),
    "ETag": _header("Stands for this state of the thing; goes into If-None-Match and If-Match (RFC 9110 §8.8.3).", ETAG,
                    pattern='^(W/)?"[!#-~]+"$'),
    "Cache-Control": _header("Who may keep it. Nobody's cache uses it without asking.", "no-store"),
    "Location": _header("Where the thing is (a path).", "/api/v1/equipment/0d5f0e0c-5a0b-4b42-9a53-6f0f2c7e8a11",
                        format="uri-reference"),
    "Link": _header("Where the list goes on, by `rel` (RFC 8288): next, prev, first.", LINK_EXAMPLE, required=False),
    "Retry-After": _header("Seconds to wait before the next attempt.", 2, minimum=0),
    "WWW-Authenticate": _header("How to say who is calling (RFC 6750 §3).", 'Bearer realm="gearyard"',
                                pattern="^Bearer "),
    "Allow": _header("The methods of this path.", "GET, HEAD, OPTIONS"),
    "X-RateLimit-Limit": _header("Requests of the tightest window.", 120, required=False, minimum=0),
    "X-RateLimit-Remaining": _header("How many of them are left.", 119, required=False, minimum=0),
    "X-RateLimit-Reset": _header("When the window ends: seconds since the epoch.", 1795600000, required=False),
    REPLAYED: _header("This is the answer of an earlier time, to the same request with the same Idempotency-Key.",
                      "true", required=False, enum=["true"]),
    "Gearyard-Degraded": _header("What does not answer, while the service is ready without it.", "tenant",
                                 required=False),
}  # fmt: skip
EVERYWHERE = ("X-Request-Id",)
COUNTED = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")


def headers(*names: str) -> dict[str, Any]:
    """References to headers of the table, for an answer that has them."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def not_modified() -> dict[str, Any]:
    """The answer 304."""
    names = (*EVERYWHERE, *COUNTED, "ETag", "Cache-Control")
    return {"description": "Not Modified: the client has this already.", "headers": headers(*names)}


def error_name(status: int) -> str:
    """What the answer for this error is called among the components."""
    return _NAMES.get(status) or HTTPStatus(status).phrase.title().replace(" ", "")


def error_reference(status: int) -> dict[str, str]:
    """A reference to the answer for this error."""
    return {"$ref": f"#/components/responses/{error_name(status)}"}


def all_codes() -> list[str]:
    """Every code that an error can have."""
    return sorted({code for codes in codes_by_status().values() for code in codes})


def error_answers() -> dict[str, Any]:
    """An answer for each error that the table of errors knows, by its name."""
    return {error_name(status): _error_answer(status, codes) for status, codes in codes_by_status().items()}


def _error_answer(status: int, codes: Iterable[str]) -> dict[str, Any]:
    schema = {
        "allOf": [
            {"$ref": f"#/components/schemas/{ERROR_SCHEMA}"},
            {"type": "object", "properties": {"status": {"const": status}, "code": {"enum": sorted(codes)}}},
        ]
    }
    content = {"schema": schema, "examples": {code: {"value": _error_example(status, code)} for code in sorted(codes)}}
    names = [*EVERYWHERE, *COUNTED]
    names += ["Retry-After"] if status in _WITH_RETRY_AFTER else []
    names += ["WWW-Authenticate"] if status == _UNAUTHORIZED else []
    names += ["Allow"] if status == _NOT_ALLOWED else []
    found = headers(*names)
    if status == _BAD_REQUEST:  # RFC 6750 §3.1: invalid_request, where two tokens were sent
        found["WWW-Authenticate"] = {**HEADERS["WWW-Authenticate"], "required": False}
    if status == _CONFLICT:  # where it is over in a moment: the same request is being answered
        found["Retry-After"] = {**HEADERS["Retry-After"], "required": False}
    return {
        "description": f"{HTTPStatus(status).phrase}: {ERRORS_IN_WORDS.get(status, 'refused')}",
        "headers": found,
        "content": {JSON: content, PROBLEM_JSON: content},
    }


def _error_example(status: int, code: str) -> dict[str, Any]:
    found = ERRORS.get(code)
    message, path, details = found or (HTTPStatus(status).description or HTTPStatus(status).phrase, "/api/v1", ())
    return error_body(HTTPStatus(status), code, message, request_id=REQUEST_ID, path=path, details=details)


ERRORS_IN_WORDS = {
    400: "what was sent cannot be read, or breaks a rule; `details` name the fields.",
    401: "there is no access token, or none that holds.",
    403: "who is calling is known, and may not do this.",
    404: "there is no such thing, or none that the caller may know of.",
    405: "the path has no such method; `Allow` names those it has.",
    406: "it is given in no form that `Accept` takes.",
    409: "it clashes with what is already there.",
    412: "it is not in the state that the request made a condition of.",
    413: "the body is above 1 MiB.",
    415: "the body is of a type that is not read here.",
    422: "the Idempotency-Key came with another request before.",
    429: "too many requests; `Retry-After` says for how long.",
    500: "something went wrong in the service; `request_id` helps to find it.",
    503: "what the service stands on does not answer; `Retry-After` says when to try again.",
}

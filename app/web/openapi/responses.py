"""Shared parts of responses: references to headers, and one response for each error status."""

import json
from collections.abc import Iterable
from http import HTTPStatus
from pathlib import Path
from typing import Any

from app.errors import Problem
from app.web import rate_limits, request_context
from app.web.errors import codes_by_status, error_body
from app.web.negotiation import JSON, PROBLEM_JSON

ERROR_SCHEMA = "Error"
# The phrases of these statuses depend on the version of Python.
_NAMES = {413: "PayloadTooLarge", 422: "UnprocessableContent"}
_REQUIRED_HEADERS = {401: ("WWW-Authenticate",), 405: ("Allow",), 429: ("Retry-After",), 503: ("Retry-After",)}
# 400 carries it for RFC 6750 §3.1's invalid_request; 409 while the first request with an Idempotency-Key is served.
_OPTIONAL_HEADERS = {400: ("WWW-Authenticate",), 409: ("Retry-After",)}


def load(name: str) -> dict[str, Any]:
    """Read a JSON file of this package."""
    found: dict[str, Any] = json.loads(Path(__file__).with_name(name).read_text(encoding="utf-8"))
    return found


BASE = load("base.json")
HEADERS: dict[str, dict[str, Any]] = BASE["components"]["headers"]
_ERRORS = load("errors.json")


def headers(*names: str) -> dict[str, Any]:
    """References to headers of the components: those of every response, and these."""
    found = (request_context.HEADER, *rate_limits.HEADERS, *names)
    return {name: {"$ref": f"#/components/headers/{name}"} for name in found}


def error_reference(status: int) -> dict[str, str]:
    """A reference to the response of an error status."""
    return {"$ref": f"#/components/responses/{_name(status)}"}


def error_responses() -> dict[str, Any]:
    """A response for each error status, by its name among the components."""
    return {_name(status): _error_response(status, codes) for status, codes in codes_by_status().items()}


def _name(status: int) -> str:
    return _NAMES.get(status) or HTTPStatus(status).phrase.title().replace(" ", "")


def _error_response(status: int, codes: Iterable[str]) -> dict[str, Any]:
    schema = {
        "allOf": [
            {"$ref": f"#/components/schemas/{ERROR_SCHEMA}"},
            {"type": "object", "properties": {"status": {"const": status}, "code": {"enum": sorted(codes)}}},
        ]
    }
    content = {"schema": schema, "examples": {code: {"value": _error_example(status, code)} for code in sorted(codes)}}
    optional = {name: {**HEADERS[name], "required": False} for name in _OPTIONAL_HEADERS.get(status, ())}
    return {
        "description": f"{HTTPStatus(status).phrase}: {_ERRORS['descriptions'][str(status)]}",
        "headers": headers(*_REQUIRED_HEADERS.get(status, ())) | optional,
        "content": {JSON: content, PROBLEM_JSON: content},
    }


def _error_example(status: int, code: str) -> dict[str, Any]:
    example = _ERRORS["examples"][code]
    return error_body(
        HTTPStatus(status),
        code,
        example["message"],
        request_id=HEADERS["X-Request-Id"]["example"],
        path=example["path"],
        details=[Problem(**problem) for problem in example.get("details", ())],
    )

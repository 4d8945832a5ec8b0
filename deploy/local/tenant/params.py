"""Request parameters: JSON or form, bounded, every value a string where a string is due."""

from __future__ import annotations

import json
from typing import Any

from flask import request

MAX_BODY_BYTES = 64 * 1024


class BadParameters(Exception):
    """The request's parameters cannot be read; the message says why and repeats none of them."""


def json_body() -> Any:
    """The body as JSON. Raises BadParameters for anything else, too deep a nesting included."""
    try:
        return json.loads(request.get_data(cache=False) or b"{}")
    except (ValueError, RecursionError):
        raise BadParameters("Invalid JSON body") from None


def body_parameters() -> dict[str, Any]:
    """The parameters of a JSON object or of a form (RFC 6749 §3.2: none of them twice). Raises BadParameters."""
    if request.mimetype != "application/json":
        if any(len(values) > 1 for values in request.form.listvalues()):
            raise BadParameters("A parameter was given more than once")
        return request.form.to_dict()
    body = json_body()
    if not isinstance(body, dict):
        raise BadParameters("The body must be a JSON object")
    try:
        json.dumps(body, ensure_ascii=False).encode()
    except ValueError:  # a lone surrogate such as "\ud800" is JSON, but no text that could be stored or hashed
        raise BadParameters("The body must be valid Unicode") from None
    return body


def text(parameters: dict[str, Any], name: str) -> str | None:
    """The parameter's value; None if it is absent, null or empty. Raises BadParameters if it is no string."""
    value = parameters.get(name)
    if value is not None and not isinstance(value, str):
        raise BadParameters(f"Parameter '{name}' must be a string")
    return value or None


def required(parameters: dict[str, Any], name: str) -> str:
    """The parameter's value. Raises BadParameters in Auth0's words if it is absent."""
    value = text(parameters, name)
    if value is None:
        raise BadParameters(f"Missing required parameter: {name}")
    return value

"""Every frame that a test's client hears is held against `/asyncapi.json`."""

from functools import cache
from typing import Any

import jsonschema_rs

from app.messages.asyncapi import document


def check_frame(frame: dict[str, Any]) -> None:
    """Raise AssertionError unless the frame is one that the service is described to send."""
    validator = _validators().get(frame["type"])
    assert validator is not None, f"a frame that is not described: {frame}"
    error = next(validator.iter_errors(frame), None)
    assert error is None, f"not as described: {error}"


@cache
def _validators() -> dict[str, Any]:
    """By type, for what the service sends. Members that are not named are none."""
    found = {
        message["name"]: jsonschema_rs.Draft202012Validator(closed(message["payload"]), validate_formats=True)
        for name, message in document()["components"]["messages"].items()
        if name.startswith("server-")
    }
    return dict(found)


def closed(schema: Any) -> Any:
    """The schema, with no members but those it names."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: closed(part) for name, part in schema.items()}
    if schema.get("type") == "object" and isinstance(schema.get("properties"), dict):
        inner.setdefault("additionalProperties", False)
    return inner

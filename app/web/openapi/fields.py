"""The JSON Schema of this API's own field classes."""

from typing import Any

from apispec.ext.marshmallow.openapi import OpenAPIConverter
from marshmallow import fields

from app.web.schemas import Body, Email, HttpsUrl, JsonObject, Money

MONEY = "^[0-9]{1,8}([.][0-9]{1,2})?$"


def install(converter: OpenAPIConverter) -> None:
    """Add the description of these fields to apispec's converter."""
    converter.add_attribute_function(_describe)  # type: ignore[no-untyped-call]


def _describe(_: Any, field: fields.Field[Any], **__: Any) -> dict[str, Any]:
    match field:
        case fields.Enum():  # the values of every enumeration here are strings
            return {"type": ["string", "null"] if field.allow_none else "string"}
        case Money():  # a decimal string; in a request also a number
            found = {"type": "string", "pattern": MONEY, "examples": ["25.00"]}
            return found | ({"type": ["string", "number"], **field.bounds()} if isinstance(field.parent, Body) else {})
        case Email():
            return {"format": "email"}
        case HttpsUrl():
            return {"format": "uri", "pattern": "^[Hh][Tt][Tt][Pp][Ss]://"}
        case JsonObject():
            return {"additionalProperties": True}
    return {}

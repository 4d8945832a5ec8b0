"""The JSON Schema of this API's own field classes."""

from typing import Any

from apispec.ext.marshmallow.openapi import OpenAPIConverter
from marshmallow import fields

from app.web.schemas import Body, Email, HttpsUrl, JsonObject, Money

MONEY = "^[0-9]{1,8}([.][0-9]{1,2})?$"


def install(converter: OpenAPIConverter) -> None:
    """Add the functions to apispec's converter."""
    for describe in (_enumeration, _money, _email, _url, _object):
        converter.add_attribute_function(describe)  # type: ignore[no-untyped-call]


def _enumeration(_: Any, field: fields.Field[Any], **__: Any) -> dict[str, Any]:
    """The values of every enumeration here are strings."""
    if not isinstance(field, fields.Enum):
        return {}
    return {"type": ["string", "null"] if field.allow_none else "string"}


def _money(_: Any, field: fields.Field[Any], **__: Any) -> dict[str, Any]:
    """A decimal string; in a request also a number."""
    if not isinstance(field, Money):
        return {}
    found = {"type": "string", "pattern": MONEY, "examples": ["25.00"]}
    return found | ({"type": ["string", "number"], **field.bounds()} if isinstance(field.parent, Body) else {})


def _email(_: Any, field: fields.Field[Any], **__: Any) -> dict[str, Any]:
    return {"format": "email"} if isinstance(field, Email) else {}


def _url(_: Any, field: fields.Field[Any], **__: Any) -> dict[str, Any]:
    return {"format": "uri", "pattern": "^[Hh][Tt][Tt][Pp][Ss]://"} if isinstance(field, HttpsUrl) else {}


def _object(_: Any, field: fields.Field[Any], **__: Any) -> dict[str, Any]:
    return {"additionalProperties": True} if isinstance(field, JsonObject) else {}

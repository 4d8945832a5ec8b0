"""Completes flask-smorest's document with what follows from a route's method and marks."""

import re
from collections.abc import Callable, Iterable
from copy import deepcopy
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any

import flask_smorest
import orjson
from flask import Flask

from app.web import idempotency
from app.web.access import is_public
from app.web.errors import codes_by_status
from app.web.etags import CONDITIONAL_METHODS, MATCH, NONE_MATCH, READS
from app.web.negotiation import JSON
from app.web.openapi.responses import BASE, ERROR_SCHEMA, error_reference, error_responses, headers, load
from app.web.schemas import Body

METHODS = frozenset({"get", "post", "put", "patch", "delete"})
MAX_SUCCESS = 399
FINGERPRINT_BYTES = 3
DESCRIPTION = Path(__file__).with_name("description.md")
_EXAMPLES = load("examples.json")
_REQUEST_HEADERS = BASE["request_headers"]
_PLACE = re.compile(r"<(?:[^:<>]+:)?([^<>]+)>")


class Description:
    """The OpenAPI document of an app, built on first use, when every route is registered."""

    def __init__(self, app: Flask, api: flask_smorest.Api) -> None:
        self._app = app
        self._api = api

    @cached_property
    def document(self) -> dict[str, Any]:
        """The document. Do not change it."""
        schemas = self._api.ma_plugin.converter.refs.items()
        bodies = {name for (schema, *_), name in schemas if issubclass(schema, Body)}
        return _complete(deepcopy(self._api.spec.to_dict()), self._app, bodies)

    @cached_property
    def fingerprint(self) -> str:
        """A digest of the document, the same in every process."""
        text = orjson.dumps(self.document, option=orjson.OPT_SORT_KEYS)
        return blake2b(text, digest_size=FINGERPRINT_BYTES).hexdigest()


def _complete(document: dict[str, Any], app: Flask, bodies: set[str]) -> dict[str, Any]:
    """Add to flask-smorest's document what it cannot derive. `bodies` names the schemas of requests."""
    endpoints = {
        (_PLACE.sub(r"{\1}", rule.rule), method.lower()): rule.endpoint
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
    }
    for path, item in document["paths"].items():
        for method in METHODS & item.keys():
            endpoint = endpoints[path, method]
            _complete_operation(item[method], item, app.view_functions[endpoint], endpoint, method.upper())
        for parameter in item.get("parameters", ()):
            parameter.update(_EXAMPLES["path_parameters"][parameter["name"]])
    _complete_components(document, bodies)
    document["paths"] |= deepcopy(BASE["paths"])
    document["paths"]["/openapi.json"]["get"]["parameters"] = [_REQUEST_HEADERS[NONE_MATCH]]
    document["tags"] += BASE["tags"]
    document["info"] |= {**BASE["info"], "description": DESCRIPTION.read_text(encoding="utf-8")}
    return document | {"servers": BASE["servers"]}


def _complete_operation(
    operation: dict[str, Any], item: dict[str, Any], view: Callable[..., Any], endpoint: str, method: str
) -> None:
    operation.setdefault("operationId", _operation_id(endpoint))
    operation["summary"] = operation["summary"].rstrip(".")
    access = "For admins." if endpoint.startswith("admin.") else "Needs an access token."
    sentences = (
        operation.get("description"),
        "Open to everyone." if is_public(view) else access,
        "Has a rate limit of its own." if hasattr(view, "rate_limit") else None,
    )
    operation["description"] = " ".join(filter(None, sentences))
    if is_public(view):
        operation["security"] = []
    _complete_parameters(operation, view, method)
    for content in operation.get("requestBody", {}).get("content", {}).values():
        content["example"] = _example(content["schema"])
    is_of_a_list = any(parameter.get("name") == "limit" for parameter in operation["parameters"])
    answers = {str(status): answer for status, answer in operation["responses"].items() if int(status) <= MAX_SUCCESS}
    for answer in answers.values():
        _complete_success(answer, view, method, is_of_a_list=is_of_a_list)
    declared = {int(status) for status in operation["responses"] if int(status) > MAX_SUCCESS}
    errors = sorted(declared.union(_errors(operation, item, view, method)))
    if method in READS:
        description = "Not Modified: the client has this already."
        answers["304"] = {"description": description, "headers": headers("ETag", "Cache-Control")}
    operation["responses"] = answers | {str(status): error_reference(status) for status in errors}


def _operation_id(endpoint: str) -> str:
    """The name of a function of a generated client: `equipment.get_equipment` is getEquipment."""
    slice_name, _, function = endpoint.rpartition(".")
    first, *more = f"admin_{function}".split("_") if slice_name == "admin" else function.split("_")
    return first + "".join(map(str.title, more))


def _complete_parameters(operation: dict[str, Any], view: Callable[..., Any], method: str) -> None:
    parameters = operation.setdefault("parameters", [])
    for parameter in parameters:
        if parameter["in"] == "query":
            parameter["example"] = _EXAMPLES["query_parameters"][parameter["name"]]
            # A query parameter is absent if it is left out or blank; it cannot be null.
            parameter["schema"] = _without_null(parameter["schema"])
    if hasattr(view, "is_conditional"):
        parameters.append(_REQUEST_HEADERS[MATCH])
    if hasattr(view, "is_idempotent"):
        parameters.append(_REQUEST_HEADERS[idempotency.HEADER])
    if method in READS:
        parameters.append(_REQUEST_HEADERS[NONE_MATCH])
    parameters.append({"$ref": "#/components/parameters/RequestId"})


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(schema.get("type"), list):
        return schema
    kinds = [kind for kind in schema["type"] if kind != "null"]
    found = {**schema, "type": kinds[0] if len(kinds) == 1 else kinds}
    if found.get("default", 0) is None:
        del found["default"]
    return found


def _errors(operation: dict[str, Any], item: dict[str, Any], view: Callable[..., Any], method: str) -> Iterable[int]:
    yield from (400, 406, 429, 500, 503)
    if not is_public(view):
        yield from (401, 403)
    if item.get("parameters") or (method not in READS and not is_public(view)):
        yield 404  # also for a caller who is deleted before the change is made
    if method in READS | CONDITIONAL_METHODS:
        yield 412
    if hasattr(view, "is_idempotent"):
        yield from (409, 422)
    if "requestBody" in operation:
        yield from (413, 415)


def _complete_success(answer: dict[str, Any], view: Callable[..., Any], method: str, *, is_of_a_list: bool) -> None:
    names = []
    if answer.get("content") and (method in READS or hasattr(view, "is_conditional")):
        names.append("ETag")
    if hasattr(view, "is_idempotent"):
        names.append(idempotency.REPLAYED)
    if method in READS:
        names += ["Cache-Control", "Link"] if is_of_a_list else ["Cache-Control"]
    answer["headers"] = headers(*names) | answer.get("headers", {})
    for content in answer.get("content", {}).values():
        content["example"] = _example(content["schema"])


def _example(schema: dict[str, Any]) -> Any:
    """The example of a component schema, or of a list of it."""
    if schema.get("type") == "array":
        return [_example(schema["items"])]
    return _EXAMPLES["bodies"][schema["$ref"].rpartition("/")[2]]


def _complete_components(document: dict[str, Any], bodies: set[str]) -> None:
    components = document["components"]
    schemas = components["schemas"]
    schemas.pop("PaginationMetadata", None)  # flask-smorest's own, for a header that is not sent here
    schemas[ERROR_SCHEMA]["properties"]["code"]["enum"] = sorted(set().union(*codes_by_status().values()))
    operations = [item[method] for item in document["paths"].values() for method in METHODS & item.keys()]
    for body in (operation["requestBody"] for operation in operations if "requestBody" in operation):
        # One without a required member may be left out.
        name = body["content"][JSON]["schema"]["$ref"].rpartition("/")[2]
        body["required"] = bool(schemas[name].get("required"))
    for name in schemas.keys() - bodies:
        # Responses may gain members; requests refuse unknown ones.
        schemas[name].pop("additionalProperties", None)
    document["components"] = {
        **BASE["components"],
        "responses": error_responses(),
        "schemas": dict(sorted(schemas.items())),
    }

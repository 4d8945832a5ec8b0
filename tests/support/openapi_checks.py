"""Every answer that a test gets is held against `/openapi.json`: its status, type, headers and body."""

import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import jsonschema_rs
from flask.testing import FlaskClient
from requests.structures import CaseInsensitiveDict
from werkzeug.test import TestResponse

from tests.support.processes import run

ERROR, BODILESS = 400, {204, 304}
WITHOUT_OPERATION = {"OPTIONS"}
# Of every HTTP answer, of browsers' rules, and of CORS: they are no part of what an operation says.
# For people, and what these pages are made of.
PAGES = re.compile(r"/|/docs(/.*)?")
GENERAL_HEADERS = re.compile(
    r"(?i)date|server|connection|keep-alive|content-.*|transfer-encoding|vary|cache-control|accept-ranges|allow|upgrade"
    r"|sec-websocket-.*|strict-transport-security|x-content-type-options|x-frame-options|referrer-policy"
    r"|cross-origin-.*|access-control-.*|last-modified"
)
# What makes an app outside of any test: nothing is connected to.
BUILD = "import json; from app import create_app; print(json.dumps(create_app().extensions['api_spec'].document))"
NOWHERE = {
    "APP_ENV": "test",
    "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
    "AUTH0_ISSUER": "http://127.0.0.1:2/",
    "AUTH0_AUDIENCE": "audience",
    "AUTH0_CLIENT_ID": "client",
    "AUTH0_CLIENT_SECRET": "secret",
}


class NotDescribed(AssertionError):
    """The service and its description disagree."""


@dataclass(frozen=True)
class Answer:
    method: str
    path: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def media_type(self) -> str:
        return self.headers.get("Content-Type", "").partition(";")[0].strip()

    def __str__(self) -> str:
        return f"{self.method} {self.path} → {self.status}"


class Description:
    """The document, made ready to compare answers with. An object has no members but those it names."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._paths = sorted(
            ((_pattern(path), path) for path in document["paths"]), key=lambda found: found[1].count("{")
        )
        self._validators: dict[str, Any] = {}

    @cached_property
    def _components(self) -> dict[str, Any]:
        closed = json.loads(json.dumps(self._document["components"]))
        for schema in closed["schemas"].values():
            if "properties" in schema:
                schema.setdefault("additionalProperties", False)
        return dict(closed)

    def check(self, answer: Answer) -> None:
        """Raise NotDescribed unless the answer is as it is described."""
        if answer.method in WITHOUT_OPERATION and answer.status < ERROR:
            return
        operation = self._operation(answer)
        if operation is None:
            self._check_without_operation(answer)
            return
        if str(answer.status) not in operation["responses"]:
            raise NotDescribed(f"{answer}: this status is not described. {answer.body[:300]!r}")
        described = resolved(self._document, operation["responses"][str(answer.status)])
        self._check_headers(answer, described)
        self._check_body(answer, described)

    def _operation(self, answer: Answer) -> dict[str, Any] | None:
        path = answer.path.removesuffix("/") if answer.path.startswith("/api/") else answer.path
        method = "get" if answer.method == "HEAD" else answer.method.lower()
        for pattern, template in self._paths:
            if pattern.fullmatch(path):
                found: dict[str, Any] | None = self._document["paths"][template].get(method)
                return found
        return None

    def _check_without_operation(self, answer: Answer) -> None:
        """A path or method that is not described answers with an error, or is a page that people look at."""
        if answer.status >= ERROR:
            self._check_schema(answer, {"$ref": "#/components/schemas/Error"})
        elif answer.media_type == "application/json" and not PAGES.fullmatch(answer.path):
            raise NotDescribed(f"{answer}: this path is not described")

    def _check_headers(self, answer: Answer, described: dict[str, Any]) -> None:
        headers = described.get("headers", {})
        known = {name.lower() for name in headers}
        for name in answer.headers:
            if name.lower() not in known and not GENERAL_HEADERS.fullmatch(name):
                raise NotDescribed(f"{answer}: the header {name} is not described")
        for name, reference in headers.items():
            header = resolved(self._document, reference)
            value = answer.headers.get(name)
            if value is not None:
                self._validate(answer, header["schema"], _read(value, header["schema"]), name)
            elif header.get("required"):
                raise NotDescribed(f"{answer}: there is no {name}")

    def _check_body(self, answer: Answer, described: dict[str, Any]) -> None:
        content = described.get("content", {})
        if not content:
            if answer.body:
                raise NotDescribed(f"{answer}: there is a body, and none is described")
            return
        types = {media_type.partition(";")[0]: media for media_type, media in content.items()}
        if answer.media_type not in types:
            raise NotDescribed(f"{answer}: {answer.media_type!r} is not described")
        self._check_schema(answer, types[answer.media_type]["schema"])

    def _check_schema(self, answer: Answer, schema: dict[str, Any]) -> None:
        if answer.method == "HEAD" or answer.status in BODILESS:
            return
        is_json = answer.media_type.endswith("json")
        self._validate(answer, schema, json.loads(answer.body) if is_json else answer.body.decode(), "the body")

    def _validate(self, answer: Answer, schema: dict[str, Any], value: Any, what: str) -> None:
        error = next(self._validator(schema).iter_errors(value), None)
        if error is not None:
            place = "/".join(map(str, error.instance_path))
            raise NotDescribed(f"{answer}: {what} is not as described: {place}: {error.message[:500]}")

    def _validator(self, schema: dict[str, Any]) -> Any:
        key = json.dumps(schema, sort_keys=True)
        if key not in self._validators:
            whole = {**schema, "components": self._components}
            self._validators[key] = jsonschema_rs.Draft202012Validator(whole, validate_formats=True)
        return self._validators[key]


def resolved(document: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """A part of the document, or the component that it refers to."""
    if "$ref" not in found:
        return found
    _, _, kind, name = found["$ref"].split("/")
    return dict(document["components"][kind][name])


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile("[^/]+".join(re.escape(part) for part in re.split(r"\{\w+\}", path)))


def _read(value: str, schema: dict[str, Any]) -> Any:
    return int(value) if schema["type"] == "integer" and value.isdecimal() else value


@cache
def described() -> Description:
    """The description that this checkout's service gives of itself; made in a process of its own, asking no service."""
    made = run(sys.executable, "-c", BUILD, env={"PATH": os.environ["PATH"], **NOWHERE})
    assert made.returncode == 0, made.stderr
    return Description(json.loads(made.stdout))


class CheckedClient(FlaskClient):
    def open(self, *args: Any, **options: Any) -> TestResponse:
        """Send a request. Raises NotDescribed."""
        answer = super().open(*args, **options)
        request = answer.request
        # A file of the docs is handed through, to be read by who asked for it.
        body = b"" if answer.direct_passthrough else answer.get_data()
        described().check(
            Answer(request.method, request.path, answer.status_code, CaseInsensitiveDict(answer.headers.items()), body)
        )
        return answer

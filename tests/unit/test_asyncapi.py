"""`/asyncapi.json` is a file: it names every frame, payload, error code and close code of the code, and no other."""

import json
import re
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import jsonschema
import pytest
from apispec import APISpec
from apispec.ext.marshmallow.openapi import OpenAPIConverter
from marshmallow import Schema

from app.messages import frames, handlers, schemas
from app.messages.asyncapi import document
from app.messages.socket import PATHS
from app.messages.values import MessageView
from app.observability import metrics
from app.observability.metrics import FRAME_TYPES_RECEIVED, FRAME_TYPES_SENT
from app.realtime.close_codes import CloseCode
from app.realtime.connection import encode
from app.web.openapi import fields
from tests.support.asyncapi_checks import check_frame, closed

MESSAGES: dict[str, Any] = document()["components"]["messages"]


@pytest.mark.parametrize("name", MESSAGES)
def test_each_example_fits(name: str) -> None:
    message = MESSAGES[name]
    schema = closed(message["payload"])
    jsonschema.Draft202012Validator.check_schema(schema)
    checked = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    for example in message["examples"]:
        checked.validate(example["payload"])


@pytest.mark.parametrize("name", [name for name in MESSAGES if name.startswith("client-")])
def test_each_frame_that_is_shown_can_be_read(name: str) -> None:
    frame = MESSAGES[name]["examples"][0]["payload"]
    kind, payload = handlers.parse(json.dumps(frame))
    assert (kind, payload) == (frame["type"], frame.get("payload", {}))


def converted(schema: type[Schema] | Schema) -> dict[str, Any]:
    spec = APISpec("", "", "3.1.0")
    converter = OpenAPIConverter("3.1.0", schema_name_resolver=lambda _: None, spec=spec)
    fields.install(converter)
    return dict(converter.schema2jsonschema(schema))  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("kind", sorted(FRAME_TYPES_RECEIVED))
def test_each_payload_of_a_client_is_what_its_schema_takes(kind: str) -> None:
    schema, _ = handlers.HANDLERS[kind]
    described = MESSAGES[f"client-{kind}"]["payload"]
    if isinstance(schema, schemas.EmptyPayload):
        assert described["properties"].keys() == {"type"}
        return
    expected = converted(schema)
    if kind == "auth":  # apispec cannot tell what this field of its own kind holds
        cursors = {"type": "integer", "minimum": 0}
        expected["properties"]["cursors"] = {
            "type": "object", "additionalProperties": cursors, "maxProperties": schemas.MAX_CURSORS,
        }  # fmt: skip
    assert described["properties"]["payload"] == expected


def test_a_message_is_described_as_over_rest() -> None:
    expected = converted(schemas.Message)
    del expected["additionalProperties"]  # it may gain members
    assert MESSAGES["server-message"]["payload"]["properties"]["payload"] == expected
    sync = MESSAGES["server-sync"]["payload"]["properties"]["payload"]
    assert sync["properties"]["messages"]["items"] == expected


@pytest.mark.parametrize("microseconds", [0, 120_000])
@pytest.mark.parametrize("name", ["ada", None])
def test_a_frame_holds_a_message_as_its_schema_dumps_it(microseconds: int, name: str | None) -> None:
    message = MessageView(
        id=uuid4(),
        conversation_id=uuid4(),
        sender_id=uuid4() if name else None,
        sender_name=name,
        content="Grüße",
        created_at=datetime(2026, 11, 25, 3, 5, 15, microseconds, tzinfo=UTC),
        seq=7,
        client_msg_id=name,
    )
    assert json.loads(encode("message", message))["payload"] == schemas.Message().dump(message)


def test_every_frame_is_described_and_no_other() -> None:
    described = {*(f"client-{kind}" for kind in FRAME_TYPES_RECEIVED), *(f"server-{kind}" for kind in FRAME_TYPES_SENT)}
    assert set(handlers.HANDLERS) == FRAME_TYPES_RECEIVED
    assert set(MESSAGES) == described
    operations = document()["operations"]
    for channel in document()["channels"].values():
        assert set(channel["messages"]) == described
    for name, action in (("takeFrame", "client-"), ("giveFrame", "server-")):
        references = {reference["$ref"].rpartition("/")[2] for reference in operations[name]["messages"]}
        assert references == {message for message in MESSAGES if message.startswith(action)}


def test_every_error_code_is_described_and_no_other() -> None:
    error = MESSAGES["server-error"]["payload"]["properties"]["payload"]
    assert set(error["properties"]["code"]["enum"]) == set(frames.ErrorCode)


def test_every_close_code_is_described_and_no_other_of_our_own() -> None:
    _, _, ends = document()["info"]["description"].partition("\n## Ends\n")
    described = {int(code) for row in re.findall(r"^\| (\d[\d, ]*) \|", ends, re.MULTILINE) for code in row.split(",")}
    assert set(CloseCode) <= described
    own = {code for code in CloseCode if code >= 3000}
    assert {code for code in described if code >= 3000} == own
    assert own == metrics.OWN_CLOSE_CODES
    assert metrics.TOO_SLOW == CloseCode.TOO_SLOW


def test_every_path_is_a_channel() -> None:
    channels = document()["channels"].values()
    assert {channel["address"] for channel in channels} == set(PATHS)
    for channel in channels:
        assert channel["bindings"]["ws"]["query"]["properties"]["v"]["enum"] == list(handlers.VERSIONS)


def test_every_reference_leads_somewhere() -> None:
    for reference in set(re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document()))):
        found = document()
        for part in reference.split("/"):
            found = found[part]


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "shout"},
        {"type": "pong", "payload": {}},
        {"type": "error", "payload": {"code": "NO_SUCH", "message": "x"}},
        {"type": "token_expiring", "payload": {"in": 60, "more": 1}},
        {"type": "typing", "payload": {"conversation_id": "7", "user_id": "7", "is_typing": True}},
    ],
)
def test_a_frame_that_is_not_described_is_noticed(frame: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        check_frame(frame)

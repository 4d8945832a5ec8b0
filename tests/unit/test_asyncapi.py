"""`/asyncapi.json`: every frame there is, with examples that fit, and references that lead somewhere."""

import json
import re
from typing import Any

import jsonschema
import pytest

from app.messages import handlers
from app.messages.asyncapi import ADDRESSES, document
from app.messages.socket import PATHS
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


def test_every_path_is_a_channel() -> None:
    assert set(ADDRESSES.values()) == set(PATHS)


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

"""The chat's protocol as an AsyncAPI 3 document, at `/asyncapi.json`; PROTOCOL.md tells the same to people.

What clients send is described by the schemas that read it, and a message by that of REST.
"""

from functools import cache
from pathlib import Path
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow.openapi import OpenAPIConverter
from flask import Flask, Response

from app.auth.identity import public
from app.messages import schemas
from app.realtime.meter import MAX_MESSAGE_BYTES
from app.web.json import json_response
from app.web.openapi import fields
from app.web.openapi.examples import BEN, BODIES, CONVERSATION, MESSAGE, REQUEST_ID, SAID, TOKEN

PATH = "/asyncapi.json"
ADDRESSES = {"chat": "/api/v1/ws", "chatBelowApi": "/api/ws", "chatAtRoot": "/ws"}
PROTOCOL = Path(__file__).with_name("PROTOCOL.md")
# What these fields hold, apispec cannot tell.
CURSORS = {"type": "object", "additionalProperties": {"type": "integer", "minimum": 0}, "maxProperties": 1000}
ERROR_CODES = (
    *("BAD_MESSAGE", "UNSUPPORTED_TYPE", "UNSUPPORTED_BINARY", "UNAUTHORIZED", "FORBIDDEN", "TOO_LARGE"),
    *("RATE_LIMITED", "UNAVAILABLE"),
)

Schema = dict[str, Any]
Frame = tuple[str, str, Schema | None, Any]  # type, what it says, the payload's schema, one payload

_ID: Schema = {"type": "string", "format": "uuid"}
_WHOLE: Schema = {"type": "integer", "minimum": 0}
_FLAG: Schema = {"type": "boolean"}
_TEXT: Schema = {"type": "string"}
_TIME: Schema = {"type": "string", "format": "date-time"}
_SECONDS: Schema = {"type": "number", "minimum": 0}
_HEAD = {"id": _ID, "last_seq": _WHOLE, "last_read_seq": _WHOLE, "unread": _WHOLE}
_LIMIT_NAMES = ("messages_per_second", "message_burst", "frames_per_second", "max_frame_bytes")


def init_app(app: Flask) -> None:
    """Serve the document."""

    @app.get(PATH)
    @public
    def asyncapi() -> Response:
        """Show the description of the socket."""
        return json_response(document())


@cache
def document() -> Schema:
    """The whole document. It is the same one each time: not to be changed."""
    messages = {f"client-{frame[0]}": _message(*frame) for frame in _client_frames()}
    messages |= {f"server-{frame[0]}": _message(*frame) for frame in _server_frames()}
    references = {name: {"$ref": f"#/components/messages/{name}"} for name in messages}
    query = _object({"token": _TEXT, "v": {"type": "integer", "enum": [1, 2]}}, optional=("token", "v"))
    channels = {
        name: {"address": address, "messages": references, "bindings": {"ws": {"method": "GET", "query": query}}}
        for name, address in ADDRESSES.items()
    }
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Gearyard chat", "version": "2", "description": PROTOCOL.read_text(encoding="utf-8")},
        "defaultContentType": "application/json",
        "servers": {
            "service": {
                "host": "{host}",
                "protocol": "wss",
                "variables": {"host": {"default": "localhost:8080", "description": "The service's host and port."}},
                "security": [{"$ref": "#/components/securitySchemes/bearer"}],
            }
        },
        "channels": channels,
        "operations": {
            "takeFrame": _operation("receive", "What clients send.", "client-", messages),
            "giveFrame": _operation("send", "What the service sends.", "server-", messages),
        },
        "components": {
            "messages": messages,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT",
                           "description": "An access token, or a first frame `auth` with it."},
            },
        },
    }  # fmt: skip


def _operation(action: str, summary: str, prefix: str, messages: Schema) -> Schema:
    found = [{"$ref": f"#/channels/chat/messages/{name}"} for name in messages if name.startswith(prefix)]
    return {"action": action, "channel": {"$ref": "#/channels/chat"}, "summary": summary, "messages": found}


def _message(kind: str, summary: str, payload: Schema | None, example: Any) -> Schema:
    frame: Schema = {"type": "object", "properties": {"type": {"const": kind}}, "required": ["type"]}
    shown: Schema = {"type": kind}
    if payload is not None:
        frame["properties"]["payload"] = payload
        frame["required"].append("payload")
        shown["payload"] = example
    return {"name": kind, "summary": summary, "payload": frame, "examples": [{"payload": shown}]}


def _object(properties: Schema, optional: tuple[str, ...] = ()) -> Schema:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required}


def _converted(schema: type[Any]) -> Schema:
    """A schema's JSON Schema."""
    spec = APISpec("", "", "3.1.0")
    converter = OpenAPIConverter("3.1.0", schema_name_resolver=lambda _: None, spec=spec)
    fields.install(converter)
    return dict(converter.schema2jsonschema(schema))  # type: ignore[no-untyped-call]


def _client_frames() -> list[Frame]:
    auth = _converted(schemas.AuthPayload)
    auth["properties"]["cursors"] = CURSORS
    here = {"conversation_id": CONVERSATION}
    said = {**here, **BODIES["NewMessage"]}
    message = _converted(schemas.MessagePayload)
    return [
        ("auth", "Say who is calling; again, to renew the token.", auth,
         {"token": TOKEN, "v": 2, "cursors": {CONVERSATION: 1}}),
        ("message", "Send a message.", message, said),
        ("sendMessage", "The same as `message`.", message, said),
        ("typing", "Show that one is typing.", _converted(schemas.TypingPayload), {**here, "is_typing": True}),
        ("read", "Note how far one has read.", _converted(schemas.ReadPayload), {**here, "seq": 1}),
        ("sync", "Ask for what was said behind a number.", _converted(schemas.SyncPayload), {**here, "after_seq": 1}),
        ("ping", "Ask for a sign of life.", None, None),
    ]  # fmt: skip


def _server_frames() -> list[Frame]:
    message = _converted(schemas.Message)
    del message["additionalProperties"]
    who = {"conversation_id": _ID, "user_id": _ID}
    ready = {
        "connection_id": _TEXT, "user_id": _ID, "ping_interval": _SECONDS, "token_expires_in": _WHOLE,
        "limits": _object(dict.fromkeys(_LIMIT_NAMES, _SECONDS)),
        "conversations": {"type": "array", "items": _object(_HEAD)},
    }  # fmt: skip
    error = {"code": {"enum": list(ERROR_CODES)}, "message": _TEXT, "client_msg_id": _TEXT, "retry_after": _SECONDS}
    ack = {"client_msg_id": {"type": ["string", "null"]}, "id": _ID, "conversation_id": _ID, "seq": _WHOLE,
           "created_at": _TIME, "duplicate": _FLAG}  # fmt: skip
    sync = {"conversation_id": _ID, "messages": {"type": "array", "items": message}, "complete": _FLAG, "reset": _FLAG}
    here, they = {"conversation_id": CONVERSATION}, {"conversation_id": CONVERSATION, "user_id": BEN}
    head = {"id": CONVERSATION, "last_seq": 1, "last_read_seq": 0, "unread": 1}
    limits = dict(zip(_LIMIT_NAMES, (5, 10, 30, MAX_MESSAGE_BYTES), strict=True))
    shown = {"connection_id": REQUEST_ID, "user_id": BEN, "ping_interval": 25, "token_expires_in": 86398,
             "limits": limits, "conversations": [head]}  # fmt: skip
    stored = {"client_msg_id": "m-1", "id": MESSAGE, **here, "seq": 1, "created_at": SAID, "duplicate": False}
    return [
        ("message", "A message, to every participant.", message, BODIES["Message"]),
        ("typing", "Somebody is typing.", _object({**who, "is_typing": _FLAG}), {**they, "is_typing": True}),
        ("read", "Somebody has read.", _object({**who, "read_at": _TIME, "last_read_seq": _WHOLE}),
         {**they, "read_at": SAID, "last_read_seq": 1}),
        ("pong", "The answer to `ping`.", None, None),
        ("error", "What went wrong.", _object(error, optional=("client_msg_id", "retry_after")),
         {"code": "RATE_LIMITED", "message": "Too many frames; slow down.", "retry_after": 1}),
        ("ready", "Who the service takes this socket for (version 2).", _object(ready), shown),
        ("ack", "A message is stored (version 2).", _object(ack), stored),
        ("sync", "A part of a conversation, oldest first.", _object(sync),
         {**here, "messages": [BODIES["Message"]], "complete": True, "reset": False}),
        ("token_expiring", "Send `auth` with a fresh token (version 2).", _object({"in": _WHOLE}), {"in": 60}),
        ("draining", "The worker stops (version 2).", _object({"reconnect_in": _SECONDS}), {"reconnect_in": 1.5}),
    ]  # fmt: skip

"""The frames that the service sends, and what each error is called in one."""

import math
from dataclasses import asdict
from enum import StrEnum
from typing import Any
from uuid import UUID

from marshmallow import ValidationError

from app import errors
from app.db.engine import is_unavailable
from app.messages.projection import ConversationHead, MessageView, SentMessage, timestamp
from app.messages.repository import not_a_participant
from app.realtime.bus import Event
from app.realtime.connection import encode
from app.realtime.websocket import MAX_MESSAGE_BYTES
from app.settings import SocketLimits

RETRY_AFTER_SECONDS = 2
# What a message may take up of a `sync` frame, so that the frame stays well within an outbox.
MAX_SYNC_BYTES = 256 * 1024
MAX_PROBLEMS = 5
UNAVAILABLE = "The service is busy or restarting; send it again shortly, with the same client_msg_id."


class ErrorCode(StrEnum):
    """The codes of `error` frames."""

    BAD_MESSAGE = "BAD_MESSAGE"
    UNSUPPORTED_TYPE = "UNSUPPORTED_TYPE"
    UNSUPPORTED_BINARY = "UNSUPPORTED_BINARY"
    UNAUTHORIZED = "UNAUTHORIZED"
    FORBIDDEN = "FORBIDDEN"
    TOO_LARGE = "TOO_LARGE"
    RATE_LIMITED = "RATE_LIMITED"
    UNAVAILABLE = "UNAVAILABLE"


_CODES: dict[type[errors.GearyardError], ErrorCode] = {
    errors.InvalidInput: ErrorCode.BAD_MESSAGE,
    errors.MalformedRequest: ErrorCode.BAD_MESSAGE,
    errors.Conflict: ErrorCode.UNAVAILABLE,
    errors.Unauthenticated: ErrorCode.UNAUTHORIZED,
    errors.InvalidToken: ErrorCode.UNAUTHORIZED,
    errors.Forbidden: ErrorCode.FORBIDDEN,
    errors.TooManyRequests: ErrorCode.RATE_LIMITED,
    errors.Unavailable: ErrorCode.UNAVAILABLE,
}


def message(view: MessageView) -> str:
    """A message, for every participant's sockets."""
    return encode({"type": "message", "payload": view.as_json()})


def passed_on(event: Event) -> str:
    """`typing` or `read`, as the bus brought it."""
    return encode({"type": event.kind, "payload": {"conversation_id": event.conversation_id, **event.data}})


def pong() -> str:
    """The answer to `ping`."""
    return encode({"type": "pong"})


def error(code: ErrorCode, text: str, *, client_msg_id: str | None = None, retry_after: float | None = None) -> str:
    """What went wrong and, where waiting helps, for how many seconds."""
    payload: dict[str, Any] = {"code": code, "message": text}
    if client_msg_id is not None:
        payload["client_msg_id"] = client_msg_id
    if retry_after is not None:
        payload["retry_after"] = retry_after
    return encode({"type": "error", "payload": payload})


def error_of(failure: Exception, client_msg_id: str | None = None) -> str | None:
    """The frame for an error; None for one that nobody expected.

    Whether a conversation exists is no business of those who do not take part in it: both are one answer.
    """
    if is_unavailable(failure):
        return error(ErrorCode.UNAVAILABLE, UNAVAILABLE, client_msg_id=client_msg_id, retry_after=RETRY_AFTER_SECONDS)
    if not isinstance(failure, errors.GearyardError):
        return None
    if isinstance(failure, errors.NotFound):
        failure = not_a_participant()
    code = next(_CODES[kind] for kind in type(failure).__mro__ if kind in _CODES)
    retry_after = failure.retry_after_seconds
    if code == ErrorCode.UNAVAILABLE and retry_after is None:
        retry_after = RETRY_AFTER_SECONDS
    return error(code, failure.message, client_msg_id=client_msg_id, retry_after=retry_after)


def ack(sent: SentMessage) -> str:
    """A message is stored: sent only after COMMIT."""
    view = sent.message
    return encode(
        {
            "type": "ack",
            "payload": {
                "client_msg_id": view.client_msg_id,
                "id": view.id,
                "conversation_id": view.conversation_id,
                "seq": view.seq,
                "created_at": timestamp(view.created_at),
                "duplicate": sent.is_repeated,
            },
        }
    )


def ready(
    *, connection_id: str, user_id: UUID, token_expires_in: float, limits: SocketLimits, heads: list[ConversationHead]
) -> str:
    """Who the service takes this socket for, what it may do, and where the conversations stand."""
    return encode(
        {
            "type": "ready",
            "payload": {
                "connection_id": connection_id,
                "user_id": user_id,
                "ping_interval": limits.ping_interval_seconds,
                "token_expires_in": math.floor(max(0.0, token_expires_in)),
                "limits": {
                    "messages_per_second": limits.messages_per_second,
                    "message_burst": limits.message_burst,
                    "frames_per_second": limits.frames_per_second,
                    "max_frame_bytes": MAX_MESSAGE_BYTES,
                },
                "conversations": [asdict(head) for head in heads],
            },
        }
    )


def sync(conversation_id: UUID, messages: list[MessageView], *, complete: bool, reset: bool = False) -> str:
    """A part of a conversation, oldest first; `complete` if it reaches the end."""
    payload = {
        "conversation_id": conversation_id,
        "messages": [view.as_json() for view in messages],
        "complete": complete,
        "reset": reset,
    }
    return encode({"type": "sync", "payload": payload})


def within_bytes(messages: list[MessageView]) -> list[MessageView]:
    """As many of the first of these as one `sync` frame can hold, at least one."""
    total, fitting = 0, 0
    for view in messages:
        total += 4 * len(view.content) + 400
        if fitting and total > MAX_SYNC_BYTES:
            break
        fitting += 1
    return messages[:fitting]


def all_fit(messages: list[MessageView]) -> bool:
    """Whether one `sync` frame can hold them all."""
    return len(within_bytes(messages)) == len(messages)


def token_expiring(seconds: float) -> str:
    """The token ends in so many seconds: send another `auth`."""
    return encode({"type": "token_expiring", "payload": {"in": math.floor(max(0.0, seconds))}})


def invalid(failure: ValidationError) -> errors.InvalidInput:
    """What a payload's schema refuses, as one sentence."""
    return errors.InvalidInput("; ".join(_sentences(failure.messages)))


def _sentences(messages: Any, path: str = "") -> list[str]:
    if isinstance(messages, dict):
        parts = (
            (inner, path if name == "_schema" else f"{path}.{name}".lstrip(".")) for name, inner in messages.items()
        )
        return [sentence for inner, place in parts for sentence in _sentences(inner, place)][:MAX_PROBLEMS]
    return [f"{path[:100] or 'payload'}: {text}" for text in messages]

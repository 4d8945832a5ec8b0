"""The frames that the service sends, and the error code of each domain error."""

from enum import StrEnum
from itertools import accumulate
from typing import Any
from uuid import UUID

from app import errors
from app.db.engine import is_unavailable
from app.messages.repository import not_a_participant
from app.messages.values import MessageView, SentMessage, SyncPage
from app.realtime.connection import encode

RETRY_AFTER_SECONDS = 2
# The limit of the messages of a `sync` frame: the frame stays well below the outbox's limit.
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


class RefusedFrame(errors.MalformedRequest):
    """A refused frame, with an error code of the protocol."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code


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


def error_of(failure: Exception, client_msg_id: str | None = None) -> str:
    """The `error` frame for a domain error. Raises any other exception.

    An unknown conversation and one without the user get the same frame, so that it does not tell which exist.
    """
    if is_unavailable(failure):
        failure = errors.Unavailable(UNAVAILABLE)
    if isinstance(failure, errors.NotFound):
        failure = not_a_participant()
    if not isinstance(failure, errors.GearyardError):
        raise failure
    code = next(_CODES[kind] for kind in type(failure).__mro__ if kind in _CODES)
    if isinstance(failure, RefusedFrame):
        code = failure.code
    retry_after = failure.retry_after_seconds
    if code == ErrorCode.UNAVAILABLE and retry_after is None:
        retry_after = RETRY_AFTER_SECONDS
    payload = {"code": code, "message": failure.message, "client_msg_id": client_msg_id, "retry_after": retry_after}
    return encode("error", {name: value for name, value in payload.items() if value is not None})


def ack(sent: SentMessage) -> str:
    """A message is stored. Sent only after COMMIT."""
    names = ("client_msg_id", "id", "conversation_id", "seq", "created_at")
    return encode("ack", {**{name: getattr(sent.message, name) for name in names}, "duplicate": sent.is_repeated})


def sync(conversation_id: UUID, page: SyncPage) -> str:
    """A part of a conversation."""
    flags = {"complete": page.is_complete, "reset": page.is_reset}
    return encode("sync", {"conversation_id": conversation_id, "messages": page.messages, **flags})


def within_bytes(messages: list[MessageView]) -> list[MessageView]:
    """The first of these messages that one `sync` frame can hold, at least one."""
    sizes = accumulate(4 * len(view.content) + 400 for view in messages)
    return messages[: max(1, sum(size <= MAX_SYNC_BYTES for size in sizes))]


def sentences(messages: Any, path: str = "") -> list[str]:
    """The first of a schema's error messages, each with its path."""
    if isinstance(messages, dict):
        parts = (
            (inner, path if name == "_schema" else f"{path}.{name}".lstrip(".")) for name, inner in messages.items()
        )
        return [sentence for inner, place in parts for sentence in sentences(inner, place)][:MAX_PROBLEMS]
    return [f"{path[:100] or 'payload'}: {text}" for text in messages]

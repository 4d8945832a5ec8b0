"""The handlers of the clients' frames, and the `error` frames for what they refuse."""

import math
from collections.abc import Callable
from typing import Any
from uuid import UUID

from marshmallow import Schema, ValidationError
from sqlalchemy.exc import SQLAlchemyError

from app import errors
from app.auth.identity import Authenticated, authenticate
from app.common import strict_json
from app.messages import frames, replay, schemas, service
from app.messages.frames import ErrorCode, RefusedFrame
from app.messages.session import ChatSession
from app.observability import metrics
from app.realtime.close_codes import CloseCode
from app.realtime.connection import encode

VERSIONS = (1, 2)

Handler = Callable[[ChatSession, dict[str, Any]], None]


def handle(session: ChatSession, message: str | bytes) -> None:
    """Handle one frame, and send an `error` frame for a domain error. Raises any other error."""
    client_msg_id: str | None = None
    kind = metrics.OTHER
    wait = session.wait_for_frame()
    try:
        try:
            kind, payload = parse(message)
        finally:
            metrics.count_frame_received(kind)
        client_msg_id = _client_msg_id(payload)
        if session.connection.is_closing and kind not in _KINDS_OF_MESSAGE:
            return  # no response can be sent; but messages sent before a close frame are stored
        _refuse_if(wait, "Too many frames; slow down.")
        _dispatch(session, kind, payload)
    except Exception as failure:  # noqa: BLE001 - `refuse` raises all but domain errors
        session.refuse(failure, client_msg_id)
        if isinstance(failure, errors.TooManyRequests) and session.refusals.take():
            session.connection.close(CloseCode.RATE_LIMITED, "slow down, and reconnect after a while")


def parse(message: str | bytes) -> tuple[str, dict[str, Any]]:
    """The type and the payload of a frame. Raises RefusedFrame, MalformedRequest."""
    if isinstance(message, bytes):
        raise RefusedFrame(ErrorCode.UNSUPPORTED_BINARY, "Send text frames of JSON.")
    try:
        frame = strict_json.loads(message)
    except ValueError as error:
        raise errors.MalformedRequest(f"The frame is not valid JSON: {error}.") from error
    match frame:
        case {"type": str(kind), "payload": dict(payload)}:
            return kind, payload
        case {"type": str(kind)} if frame.get("payload") is None:
            return kind, {}
    raise errors.MalformedRequest('A frame is {"type": "…", "payload": {…}}.')


def _refuse_if(wait: float, message: str) -> None:
    if wait:
        raise errors.TooManyRequests(message, retry_after_seconds=math.ceil(wait))


def _client_msg_id(payload: dict[str, Any]) -> str | None:
    """The client_msg_id of a payload, for the `error` frame; None if it is not valid."""
    found = payload.get("client_msg_id")
    return found if isinstance(found, str) and len(found) <= schemas.MAX_CLIENT_MSG_ID_LENGTH else None


def _dispatch(session: ChatSession, kind: str, payload: dict[str, Any]) -> None:
    if kind not in HANDLERS:
        raise RefusedFrame(ErrorCode.UNSUPPORTED_TYPE, f"There is no frame of the type {kind[:50]!r}.")
    if session.caller is None and kind not in _BEFORE_AUTH:
        raise errors.Unauthenticated('Say who you are first: {"type": "auth", "payload": {"token": "…"}}.')
    content = payload.get("content")
    if isinstance(content, str) and len(content) > schemas.MAX_CONTENT_LENGTH:
        message = f"content: at most {schemas.MAX_CONTENT_LENGTH} characters; send it in parts."
        raise RefusedFrame(ErrorCode.TOO_LARGE, message)
    schema, handler = HANDLERS[kind]
    try:
        values: dict[str, Any] = schema.load(payload)
    except ValidationError as failure:
        session.refuse(errors.InvalidInput("; ".join(frames.sentences(failure.messages))), _client_msg_id(payload))
        if session.caller is None:
            # Parsing costs more than sending: a socket without an identity gets one attempt.
            session.connection.close(CloseCode.BAD_PROTOCOL, "this is no auth frame")
        return
    handler(session, values)


def accept(
    session: ChatSession, caller: Authenticated, *, is_v2: bool = False, cursors: dict[UUID, int] | None = None
) -> None:
    """Authenticate the socket as the caller's and send its user's conversations, or renew its token."""
    is_first, was_v2 = session.caller is None, session.version > 1
    if is_first and session.runtime.hub.is_full_for(caller.identity.user_id):
        session.refuse(errors.TooManyRequests("You have too many open sockets; close one."))
        session.connection.close(CloseCode.TOO_MANY_CONNECTIONS, "too many open sockets")
        return
    if is_v2:
        session.version = 2
    session.accept(caller)
    if is_first:
        session.of_user = session.runtime.hub.join(session)
    # Cursors count in the `auth` that starts version 2. Later ones would repeat what was sent.
    begins_v2 = session.version > 1 and (is_first or not was_v2)
    if session.version == 1 and not is_first:
        return
    try:
        replay.begin(session, caller, is_first=is_first, cursors=cursors or {} if begins_v2 else {})
    except SQLAlchemyError as failure:
        session.refuse(failure)
        if is_first or begins_v2:  # the socket has no complete start to go on from
            session.connection.close(CloseCode.TRY_AGAIN_LATER, "the service is busy or restarting")


def _auth(session: ChatSession, values: dict[str, Any]) -> None:
    _refuse_if(session.auths.take(), "Too many tokens; the last one still counts.")
    if values["v"] not in VERSIONS:
        session.refuse(errors.MalformedRequest(f"v: one of {VERSIONS} is spoken here."))
        session.connection.close(CloseCode.BAD_PROTOCOL, "unknown version of the protocol")
        return
    try:
        caller = authenticate(values["token"])
        if session.caller is not None and session.user_id != caller.identity.user_id:
            raise errors.InvalidToken("This token is somebody else's; open another socket for it.")
    except errors.Unavailable:
        raise
    except errors.GearyardError as failure:
        session.refuse(errors.InvalidToken(failure.message))
        session.connection.close(CloseCode.AUTHENTICATION_FAILED, "authentication failed")
        return
    accept(session, caller, is_v2=values["v"] == 2, cursors=values["cursors"])
    if values["conversation_id"] is not None and not session.connection.is_closing:
        service.get(values["conversation_id"], caller.identity.user_id)  # raises if the user takes no part in it


def _message(session: ChatSession, values: dict[str, Any]) -> None:
    _refuse_if(session.wait_for_message(), "Too many messages; send it again later, with the same client_msg_id.")
    sent = service.send(session.runtime.bus, session.who, **values)
    if session.version > 1:
        session.connection.send(frames.ack(sent))


def _typing(session: ChatSession, values: dict[str, Any]) -> None:
    service.show_typing(session.runtime.bus, session.who, **values)


def _read(session: ChatSession, values: dict[str, Any]) -> None:
    service.mark_read(session.runtime.bus, session.who, **values)


def _sync(session: ChatSession, values: dict[str, Any]) -> None:
    session.connection.wait_for_room()
    page = replay.page_after(session.who, **values)
    session.connection.send(frames.sync(values["conversation_id"], page))


def _ping(session: ChatSession, _values: dict[str, Any]) -> None:
    session.connection.send(encode("pong"))


HANDLERS: dict[str, tuple[Schema, Handler]] = {
    "auth": (schemas.AuthPayload(), _auth),
    "message": (schemas.MessagePayload(), _message),
    "sendMessage": (schemas.MessagePayload(), _message),
    "typing": (schemas.TypingPayload(), _typing),
    "read": (schemas.ReadPayload(), _read),
    "sync": (schemas.SyncPayload(), _sync),
    "ping": (schemas.EmptyPayload(), _ping),
}
_KINDS_OF_MESSAGE = frozenset({"message", "sendMessage"})
_BEFORE_AUTH = frozenset({"auth", "ping"})

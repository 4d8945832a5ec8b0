"""The schemas of conversations and messages: bodies of REST and payloads of frames."""

import unicodedata
from typing import Any
from uuid import UUID

import marshmallow as ma
from marshmallow import ValidationError, fields, validate

from app.common.paging import MAX_CURSOR_LENGTH
from app.messages.service import MAX_PARTICIPANTS
from app.messages.values import DEFAULT_LIMIT, MAX_LIMIT, MAX_SEQ, MessagePage
from app.web.schemas import Body, Flag, Integer, Items, Query, Text

MAX_CONTENT_LENGTH = 5000
MAX_CLIENT_MSG_ID_LENGTH = 64
MAX_TOKEN_LENGTH = 16 * 1024
MAX_CURSORS = 1000
MAX_SYNC_MESSAGES = 300


def _seq(**options: Any) -> fields.Integer:
    return fields.Integer(strict=True, validate=validate.Range(min=0, max=MAX_SEQ), **options)


class NewConversation(Body):
    """Whom to write to, about what. The caller takes part without being named; a listing alone means its owner."""

    participant_ids = Items(fields.UUID(), max_items=MAX_PARTICIPANTS, load_default=list)
    equipment_id = fields.UUID(load_default=None, allow_none=True)


class NewMessage(Body):
    """A message to send."""

    content = Text(min_length=1, max_length=MAX_CONTENT_LENGTH, multiline=True, formatted=True, required=True)
    client_msg_id = fields.String(
        load_default=None,
        allow_none=True,
        validate=[
            validate.Length(min=1, max=MAX_CLIENT_MSG_ID_LENGTH),
            validate.Regexp(r"[!-~]*\Z", error="Must be visible ASCII characters."),
        ],
        metadata={
            "description": "Made by the client: sent again with it, a message is the same message.",
            "pattern": "^[!-~]*$",  # \\Z is Python's own
        },
    )

    @ma.validates("content")
    def something_to_see(self, content: str, **_: Any) -> None:
        """Refuse a message of invisible characters only, some of which `content` allows."""
        if all(character.isspace() or unicodedata.category(character) == "Cf" for character in content):
            raise ValidationError("Must hold something to see.")


class Read(Body):
    """How far was read; all, where it is not said."""

    seq = _seq(load_default=None, allow_none=True)


class Message(ma.Schema):
    """A message in its place."""

    id = fields.UUID(required=True)
    conversation_id = fields.UUID(required=True)
    sender_id = fields.UUID(required=True, allow_none=True)
    sender_name = fields.String(required=True, allow_none=True)
    content = fields.String(required=True)
    created_at = fields.AwareDateTime(required=True, format="iso")
    seq = fields.Integer(required=True)
    client_msg_id = fields.String(required=True, allow_none=True)


class Participant(ma.Schema):
    """Who takes part, and how far they have read."""

    user_id = fields.String(required=True, metadata={"format": "uuid"})
    username = fields.String(required=True)
    avatar_url = fields.String(required=True, allow_none=True)
    last_read_at = fields.String(required=True, allow_none=True, metadata={"format": "date-time"})
    last_read_seq = fields.Integer(required=True)


class Conversation(ma.Schema):
    """A conversation as the caller sees it."""

    id = fields.UUID(required=True)
    equipment_id = fields.UUID(required=True, allow_none=True)
    participants = fields.List(fields.Nested(Participant), required=True)
    last_message = fields.Nested(Message, required=True, allow_none=True)
    last_seq = fields.Integer(required=True)
    unread_count = fields.Integer(required=True)
    created_at = fields.AwareDateTime(required=True, format="iso")
    updated_at = fields.AwareDateTime(required=True, format="iso")


def _part(description: str, *, minimum: int, maximum: int = MAX_SEQ, **options: Any) -> Integer:
    within = validate.Range(min=minimum, max=maximum)
    return Integer(validate=within, metadata={"description": description}, **options)


_LIMIT = _part("At most so many.", minimum=1, maximum=MAX_LIMIT, load_default=DEFAULT_LIMIT)


class ConversationQuery(Query):
    """A page of one's conversations."""

    limit = _LIMIT
    cursor = fields.String(
        load_default=None,
        validate=validate.Length(max=MAX_CURSOR_LENGTH),
        metadata={"description": "From the `Link` header of the page before."},
    )


class MessageQuery(Query):
    """A part of a conversation: the newest, those before a number, or, oldest first, those after one."""

    limit = _LIMIT
    offset = _part("Pass over so many of the newest.", minimum=0)
    before_seq = _part("Those before this number, newest first.", minimum=1)
    after_seq = _part("Those after this number, oldest first.", minimum=0)

    @ma.validates_schema
    def one_way_of_paging(self, data: dict[str, Any], **_: Any) -> None:
        """Refuse two ways of paging at once."""
        given = [name for name in ("offset", "before_seq", "after_seq") if name in data]
        if len(given) > 1:
            raise ValidationError(f"Give one of {' and '.join(given)}.", given[-1])

    @ma.post_load
    def to_page(self, data: dict[str, Any], **_: Any) -> MessagePage:
        """Create the value of the service."""
        return MessagePage(**data, oldest_first="after_seq" in data)


class Cursors(fields.Field[dict[UUID, int]]):
    """{conversation: seq}. Checked by hand, up to the first error, as there may be many."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **options: Any) -> dict[UUID, int]:  # noqa: ARG002
        if not isinstance(value, dict) or len(value) > MAX_CURSORS:
            raise ValidationError(f"Must be an object of at most {MAX_CURSORS} conversations.")
        cursors: dict[UUID, int] = {}
        for conversation_id, seq in value.items():
            if isinstance(seq, bool) or not isinstance(seq, int) or not 0 <= seq <= MAX_SEQ:
                raise ValidationError("Must hold the number of a message for each conversation.")
            try:
                cursors[UUID(conversation_id)] = seq
            except ValueError:
                raise ValidationError("Must name conversations by their ids.") from None
        return cursors


class _InConversation(Body):
    conversation_id = fields.UUID(required=True)


class AuthPayload(Body):
    """Who is calling, from where on a conversation's messages are wanted, and in which version of the protocol."""

    token = fields.String(required=True, validate=validate.Length(min=1, max=MAX_TOKEN_LENGTH))
    conversation_id = fields.UUID(load_default=None, allow_none=True)
    v = fields.Integer(strict=True, load_default=1, validate=validate.Range(min=1, max=MAX_SEQ))
    cursors = Cursors(load_default=dict)


class MessagePayload(_InConversation, NewMessage):
    """A message to send."""


class TypingPayload(_InConversation):
    """Whether the sender is typing."""

    is_typing = Flag(load_default=True)


class ReadPayload(_InConversation, Read):
    """How far the sender has read."""


class SyncPayload(_InConversation):
    """The messages after a number."""

    after_seq = _seq(required=True)
    limit = fields.Integer(
        strict=True, load_default=MAX_SYNC_MESSAGES, validate=validate.Range(min=1, max=MAX_SYNC_MESSAGES)
    )


class EmptyPayload(Body):
    """Nothing to say."""

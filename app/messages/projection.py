"""What messages and conversations look like from outside, the same over REST and over WebSocket."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID


@dataclass(frozen=True, kw_only=True)
class MessageView:
    """A message in its place. Sender and name are None once that user is gone."""

    id: UUID
    conversation_id: UUID
    sender_id: UUID | None
    sender_name: str | None
    content: str
    created_at: datetime
    seq: int
    client_msg_id: str | None

    def as_json(self) -> dict[str, Any]:
        """The body of REST and the payload of a frame; what is in it orjson can write."""
        return {
            "id": self.id,
            "conversation_id": self.conversation_id,
            "sender_id": self.sender_id,
            "sender_name": self.sender_name,
            "content": self.content,
            "created_at": timestamp(self.created_at),
            "seq": self.seq,
            "client_msg_id": self.client_msg_id,
        }


@dataclass(frozen=True, kw_only=True)
class SentMessage:
    """A message that is stored; `is_repeated` if it was before, under the same client_msg_id."""

    message: MessageView
    participant_ids: tuple[UUID, ...]
    is_repeated: bool


@dataclass(frozen=True, kw_only=True)
class MessageList:
    """A part of a conversation, and the number that the whole has come to."""

    messages: list[MessageView]
    last_seq: int


@dataclass(frozen=True, kw_only=True)
class ReadMark:
    """How far a participant has read, and when that was said."""

    last_read_seq: int
    read_at: datetime
    participant_ids: tuple[UUID, ...]


@dataclass(frozen=True, kw_only=True)
class ConversationHead:
    """Where a conversation stands for one of its participants."""

    id: UUID
    last_seq: int
    last_read_seq: int
    unread: int


@dataclass(frozen=True, kw_only=True)
class Change:
    """What a user's conversation has come to since a moment, and what it had come to by then."""

    user_id: UUID
    conversation_id: UUID
    last_seq: int
    seq_before: int


@dataclass(frozen=True, kw_only=True)
class ConversationView:
    """A conversation as one of its participants sees it."""

    id: UUID
    equipment_id: UUID | None
    participants: list[dict[str, Any]]
    last_message: MessageView | None
    last_seq: int
    unread_count: int
    created_at: datetime
    updated_at: datetime


def timestamp(moment: datetime) -> str:
    """RFC 3339, in UTC."""
    return moment.astimezone(UTC).isoformat()

"""The values of conversations and messages. orjson serialises those that REST and the socket send."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

DEFAULT_LIMIT = 50
MAX_LIMIT = 100
MAX_SEQ = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class MessagePage:
    """Messages between two numbers, both exclusive, newest first; `offset` skips that many of the newest."""

    limit: int = DEFAULT_LIMIT
    offset: int = 0
    before_seq: int = MAX_SEQ
    after_seq: int = 0
    oldest_first: bool = False


@dataclass(frozen=True, kw_only=True)
class MessageView:
    """A message, as REST and the socket send it. The sender and the name are None after that user's deletion."""

    id: UUID
    conversation_id: UUID
    sender_id: UUID | None
    sender_name: str | None
    content: str
    created_at: datetime
    seq: int
    client_msg_id: str | None


@dataclass(frozen=True, kw_only=True)
class SentMessage:
    """A stored message; `is_repeated` if its client_msg_id was stored before."""

    message: MessageView
    participant_ids: list[UUID]
    is_repeated: bool


@dataclass(frozen=True, kw_only=True)
class MessageList:
    """A page of a conversation's messages, and the conversation's last number."""

    messages: list[MessageView]
    last_seq: int


@dataclass(frozen=True, kw_only=True)
class MessageBatch(MessageList):
    """The next messages of a conversation, and its current participants. `last_seq` is 0 if it is unknown."""

    participant_ids: list[UUID]


@dataclass(frozen=True)
class SyncPage:
    """Messages after `after_seq`, oldest first, of a conversation that ends at `last_seq`.

    A reset replaces what the client holds, up to the end.
    """

    messages: list[MessageView]
    after_seq: int
    last_seq: int
    is_reset: bool = False

    @property
    def reached(self) -> int:
        """The number up to which the client holds the conversation after this page."""
        return self.messages[-1].seq if self.messages else self.after_seq

    @property
    def is_complete(self) -> bool:
        """Whether the page reaches the end."""
        return self.is_reset or self.reached >= self.last_seq


@dataclass(frozen=True, kw_only=True)
class ConversationHead:
    """A conversation's last number and one participant's read mark."""

    id: UUID
    last_seq: int
    last_read_seq: int
    unread: int

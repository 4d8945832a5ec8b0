"""Which part of a conversation, and of somebody's conversations, is asked for."""

from dataclasses import dataclass
from functools import cached_property
from uuid import UUID

from app.paging import Position, decode_cursor, fingerprint

DEFAULT_LIMIT = 50
MAX_LIMIT = 100
MAX_SEQ = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class MessagePage:
    """Messages between two numbers, both exclusive, newest first; `offset` passes over so many of the newest."""

    limit: int = DEFAULT_LIMIT
    offset: int = 0
    before_seq: int = MAX_SEQ
    after_seq: int = 0
    oldest_first: bool = False


@dataclass(frozen=True, kw_only=True)
class ConversationPage:
    """A user's conversations, latest activity first: from the start, or behind a cursor."""

    user_id: UUID
    limit: int = DEFAULT_LIMIT
    cursor: str | None = None

    @property
    def list_name(self) -> str:
        """What a cursor is bound to."""
        return fingerprint("conversations", self.user_id)

    @cached_property
    def position(self) -> Position | None:
        """Where a cursor says the page begins. Raises InvalidInput for one of another list."""
        return decode_cursor(self.cursor, of_list=self.list_name) if self.cursor else None

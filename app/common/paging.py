"""Pages of a list, and the cursors between them. Knows no HTTP."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Generic, TypeVar

import orjson

from app.errors import InvalidInput

DEFAULT_LIMIT = 20
MAX_LIMIT = 100
MAX_PAGE = 1_000_000
MAX_CURSOR_LENGTH = 512
_TAG_BYTES = 9

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class PageRequest:
    """A page by its number, or after a cursor, which repeats and skips no item at any depth."""

    page: int = 1
    limit: int = DEFAULT_LIMIT
    cursor: str | None = None

    @property
    def offset(self) -> int:
        """The number of items before the page; 0 with a cursor."""
        return 0 if self.cursor else (self.page - 1) * self.limit


@dataclass(frozen=True, kw_only=True)
class Page(Generic[Item]):
    """A page of a list. `total` is the exact number of all matches; `next_cursor` is None on the last page."""

    items: Sequence[Item]
    total: int
    page: int
    limit: int
    next_cursor: str | None

    @property
    def total_pages(self) -> int:
        """The number of pages of this size."""
        return -(-self.total // self.limit)


@dataclass(frozen=True, kw_only=True)
class Position:
    """The start of a page: its number, and the sort key and the id of the item before it."""

    page: int
    key: str | None
    id: str


def encode_cursor(position: Position, *, of_list: object) -> str:
    """Encode an opaque cursor. `of_list` is the name, the filters and the order of its list."""
    payload = orjson.dumps([position.page, position.key, position.id])
    return _text(_tag(payload, of_list) + payload)


def decode_cursor(cursor: str, *, of_list: object) -> Position:
    """Decode a cursor. Raises InvalidInput for a damaged one, or one of another list.

    A cursor is no secret: a client that forges one chooses a position.
    """
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        tag, payload = raw[:_TAG_BYTES], raw[_TAG_BYTES:]
        if tag != _tag(payload, of_list) or _text(raw) != cursor:
            raise ValueError("damaged, or of another list")
        match orjson.loads(payload):
            case [int(page), str() | None as key, str(identifier)] if page is not True and 0 < page <= MAX_PAGE:
                return Position(page=page, key=key, id=identifier)
        raise ValueError("not a position")
    except ValueError as error:
        raise invalid_cursor() from error


def time_of_key(key: str | None) -> datetime:
    """The time of a cursor's key, written by `datetime.isoformat` in UTC. Raises ValueError.

    A forged offset is refused here, as PostgreSQL reads fewer offsets than Python.
    """
    time = datetime.fromisoformat(key or "")
    if time.utcoffset() != timedelta():
        raise ValueError("not a time in UTC")
    return time


def invalid_cursor() -> InvalidInput:
    """The error of every invalid cursor."""
    return InvalidInput.of("cursor", "Not a cursor of this list with these filters; start again without it.")


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _tag(payload: bytes, of_list: object) -> bytes:
    key = blake2b(repr(of_list).encode(), digest_size=32).digest()
    return blake2b(payload, digest_size=_TAG_BYTES, key=key).digest()

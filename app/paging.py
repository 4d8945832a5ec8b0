"""Pages of a list: what is asked for, what is given, and the cursor between two of them. Knows no HTTP."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any, Generic, TypeVar

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
    """Which part of a list: by number, or after a cursor, which repeats and skips nothing at any depth."""

    page: int = 1
    limit: int = DEFAULT_LIMIT
    cursor: str | None = None


@dataclass(frozen=True, kw_only=True)
class Page(Generic[Item]):
    """A part of a list; `total` counts all that match, exactly; `next_cursor` is None on the last page."""

    items: Sequence[Item]
    total: int
    page: int
    limit: int
    next_cursor: str | None

    @property
    def total_pages(self) -> int:
        """How many pages of this size the whole list has."""
        return -(-self.total // self.limit)


@dataclass(frozen=True, kw_only=True)
class Position:
    """Where a page begins: behind this sort key and identifier, being the page of this number."""

    page: int
    key: str | None
    id: str


def encode_cursor(position: Position, *, of_list: str) -> str:
    """Make an opaque cursor, bound to the list it was made for: the same filters in the same order."""
    payload = orjson.dumps([position.page, position.key, position.id])
    return _text(_tag(payload, of_list) + payload)


def decode_cursor(cursor: str, *, of_list: str) -> Position:
    """Read a cursor back.

    Raises:
        InvalidInput: it was damaged, or made for another list. (It is no secret: who forges one picks a position.)
    """
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        tag, payload = raw[:_TAG_BYTES], raw[_TAG_BYTES:]
        if tag != _tag(payload, of_list) or _text(raw) != cursor:
            raise ValueError("not of this list, or not as it was given")
        match orjson.loads(payload):
            case [int(page), str() | None as key, str(identifier)] if page is not True and 0 < page <= MAX_PAGE:
                return Position(page=page, key=key, id=identifier)
    except (ValueError, binascii.Error) as error:
        raise invalid_cursor() from error
    raise invalid_cursor()


def time_of_key(key: str | None) -> datetime:
    """The time that a cursor's key holds, as `datetime.isoformat` wrote it in UTC. Raises ValueError for all else.

    PostgreSQL reads fewer offsets than Python: one that was made up must not get that far.
    """
    time = datetime.fromisoformat(key or "")
    if time.utcoffset() != timedelta():
        raise ValueError("not a time that was given out")
    return time


def invalid_cursor() -> InvalidInput:
    """The one error of every cursor that cannot be followed."""
    return InvalidInput.of("cursor", "Not a cursor of this list with these filters; start again without it.")


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _tag(payload: bytes, of_list: str) -> bytes:
    return blake2b(payload, digest_size=_TAG_BYTES, key=blake2b(of_list.encode(), digest_size=32).digest()).digest()


def fingerprint(*parts: Any) -> str:
    """A text that is equal for equal filters, to bind a cursor to them."""
    return repr(parts)

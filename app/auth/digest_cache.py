"""Values remembered by a secret text, of which nothing but a digest is kept. Bounded in number and in bytes."""

from collections import OrderedDict
from hashlib import blake2b
from typing import Generic, NamedTuple, TypeVar

DIGEST_BYTES = 32  # nobody finds two texts of one digest (RFC 7693 §4)
# Of an entry, beside what its value weighs: the digest, the entry itself, its place in the dictionary.
ENTRY_BYTES = 400

Value = TypeVar("Value")


class _Entry(NamedTuple, Generic[Value]):
    value: Value
    size_bytes: int


class DigestCache(Generic[Value]):
    """`most` values that weigh `most_bytes` together, at the most; who was not asked for longest goes first.

    Nothing in it waits, so greenlets need no lock.
    """

    def __init__(self, *, most: int, most_bytes: int) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._entries: OrderedDict[bytes, _Entry[Value]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        """How many values there are."""
        return len(self._entries)

    @property
    def size_bytes(self) -> int:
        """What they weigh together."""
        return self._bytes

    def find(self, text: str) -> Value | None:
        """The value that was kept for exactly this text, if it is still there."""
        digest = _digest(text)
        entry = self._entries.get(digest)
        if entry is None:
            return None
        self._entries.move_to_end(digest)
        return entry.value

    def keep(self, text: str, value: Value, *, size_bytes: int) -> None:
        """Remember it, in place of what was kept for this text; what does not fit beside it is forgotten."""
        digest = _digest(text)
        replaced = self._entries.pop(digest, None)
        entry = _Entry(value, size_bytes + ENTRY_BYTES)
        self._entries[digest] = entry
        self._bytes += entry.size_bytes - (replaced.size_bytes if replaced is not None else 0)
        while len(self._entries) > self._most or self._bytes > self._most_bytes:
            _, forgotten = self._entries.popitem(last=False)
            self._bytes -= forgotten.size_bytes


def _digest(text: str) -> bytes:
    # A text that UTF-8 has no form for, with a lone surrogate in it, is kept apart from all others, too.
    return blake2b(text.encode(errors="surrogatepass"), digest_size=DIGEST_BYTES).digest()

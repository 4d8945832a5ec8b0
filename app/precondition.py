"""What must be so for a change to be made: that whoever makes it has seen what there is. Knows no HTTP.

A thing's token is a text that is another one whenever the thing is: most often the version of its row, which the
database counts. Two editors who read the same token and then write have one winner; the other one learns of it.
"""

from dataclasses import dataclass
from hashlib import blake2b

from app.errors import PreconditionFailed

DIGEST_BYTES = 12


def digest(*parts: object) -> str:
    """A text that is another one for other parts: a token of what has no version."""
    return blake2b(repr(parts).encode(errors="surrogatepass"), digest_size=DIGEST_BYTES).hexdigest()


@dataclass(frozen=True)
class Tokens:
    """Some tokens, or, with `any_there_is`, whatever token the thing has, as long as there is the thing."""

    tokens: frozenset[str] = frozenset()
    any_there_is: bool = False

    def hold(self, current: str | None) -> bool:
        """Tell whether this token, None for a thing that does not exist, is one of them."""
        return current is not None and (self.any_there_is or current in self.tokens)


@dataclass(frozen=True, kw_only=True)
class Precondition:
    """What a caller asked for (RFC 9110 §13.1): the state to be one of `match`, and none of `none_match`."""

    match: Tokens | None = None
    none_match: Tokens | None = None

    def check(self, current: str | None) -> None:
        """Compare with the token that a thing has now; None says that it does not exist.

        Inside the transaction that makes the change, and under the lock of what is changed: else another change could
        come between.

        Raises:
            PreconditionFailed: it is not as the caller asked for.
        """
        if self.match is not None and not self.match.hold(current):
            raise PreconditionFailed("This has changed since you read it; read it again, and then change it.")
        if self.none_match is not None and self.none_match.hold(current):
            raise PreconditionFailed("This exists already as it should not.")


UNCONDITIONAL = Precondition()

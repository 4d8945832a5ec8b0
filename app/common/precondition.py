"""The condition on which a resource is read or changed. Knows no HTTP.

A version is a text that changes whenever the resource does: most often the count of its row's changes.
"""

from dataclasses import dataclass
from hashlib import blake2b

from app.errors import PreconditionFailed

DIGEST_BYTES = 12


def digest(*parts: object) -> str:
    """A version for a resource that has none: changes whenever one of the parts does."""
    return blake2b(repr(parts).encode(errors="surrogatepass"), digest_size=DIGEST_BYTES).hexdigest()


@dataclass(frozen=True)
class EntityTags:
    """Versions of a resource, or, with `wildcard`, any version of an existing resource."""

    versions: frozenset[str] = frozenset()
    wildcard: bool = False

    def match(self, version: str | None) -> bool:
        """Tell whether this version is among them; None is that of a missing resource, and matches nothing."""
        return version is not None and (self.wildcard or version in self.versions)


@dataclass(frozen=True, kw_only=True)
class Precondition:
    """If-Match and If-None-Match (RFC 9110 §13.1): None where the client sent none."""

    match: EntityTags | None = None
    none_match: EntityTags | None = None

    def check(self, version: str | None) -> None:
        """Compare with the current version of a resource, None if it does not exist.

        A writer calls this inside its transaction, holding the lock of the row, so that no other change comes between.
        Raises PreconditionFailed: the version is not in `match`, or is in `none_match`.
        """
        if self.match is not None and not self.match.match(version):
            raise PreconditionFailed(
                "The resource has changed since you read it. Read it again, then repeat the change."
            )
        if self.none_match is not None and self.none_match.match(version):
            raise PreconditionFailed("The resource already exists.")


UNCONDITIONAL = Precondition()

"""What can go wrong, in the words of the domain. Knows no HTTP: `app/web/errors.py` holds the one table that does."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing wrong with one field: its dotted path, a sentence for a person, a word for a program."""

    field: str
    message: str
    code: str = "invalid"


class GearyardError(Exception):
    """The base of every error this service raises on purpose; its message may be shown to a client."""

    def __init__(
        self, message: str, *, details: Sequence[Problem] = (), retry_after_seconds: int | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details = tuple(details)
        self.retry_after_seconds = retry_after_seconds


class InvalidInput(GearyardError):
    """What was sent breaks a rule; `details` name the fields."""

    @classmethod
    def of(cls, field: str, message: str, code: str = "invalid") -> "InvalidInput":
        """The usual case: one field, one problem."""
        return cls(f"{field}: {message}", details=[Problem(field, message, code)])


class MalformedRequest(GearyardError):
    """What was sent cannot be read at all: broken JSON, a repeated Authorization header."""


class AmbiguousCredentials(MalformedRequest):
    """More than one access token was given."""


class UnsupportedMediaType(GearyardError):
    """The body is of a type this service does not read."""


class NotAcceptable(GearyardError):
    """None of the forms that this is given in is one that the caller takes."""


class Unauthenticated(GearyardError):
    """No credentials were given."""


class InvalidToken(GearyardError):
    """An access token was given and does not hold."""


class TokenExpired(InvalidToken):
    """The access token was good once."""


class InvalidCredentials(GearyardError):
    """E-mail, password or refresh token are not accepted by the tenant."""


class Forbidden(GearyardError):
    """Who is calling is known, and may not do this."""


class NotFound(GearyardError):
    """There is no such thing, or none that the caller may know of."""


class Conflict(GearyardError):
    """It clashes with what is already there."""


class PreconditionFailed(GearyardError):
    """It is not in the state that the caller made a condition of: most often, somebody else has changed it."""


class IdempotencyKeyReused(GearyardError):
    """The key of a request that was answered came with another request."""


class UsernameTaken(Conflict):
    """Another user has this name."""

    def __init__(self) -> None:
        message = "This username is taken."
        super().__init__(message, details=[Problem("username", message, "taken")])


class TooManyRequests(GearyardError):
    """Slow down; `retry_after_seconds` says for how long."""


class Unavailable(GearyardError):
    """Something this service stands on does not answer; trying again later helps."""

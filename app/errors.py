"""Domain errors. They know no HTTP: `app/web/errors.py` holds the table of their responses."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

Found = TypeVar("Found")


@dataclass(frozen=True)
class Problem:
    """A problem with one field: its dotted path, a sentence for a person, a code for a program."""

    field: str
    message: str
    code: str = "invalid"


class GearyardError(Exception):
    """The base of the errors that the service raises on purpose. A client receives the message."""

    def __init__(
        self, message: str, *, details: Sequence[Problem] = (), retry_after_seconds: int | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details = tuple(details)
        self.retry_after_seconds = retry_after_seconds


class InvalidInput(GearyardError):
    """The input breaks a rule; `details` name the fields."""

    @classmethod
    def of(cls, field: str, message: str, code: str = "invalid") -> "InvalidInput":
        """An error with one problem of one field."""
        return cls(f"{field}: {message}", details=[Problem(field, message, code)])


class MalformedRequest(GearyardError):
    """The request cannot be parsed: broken JSON, a repeated Authorization header."""


class AmbiguousCredentials(MalformedRequest):
    """The request holds more than one access token."""


class UnsupportedMediaType(GearyardError):
    """The service does not read this type of body."""


class NotAcceptable(GearyardError):
    """The client accepts no media type that the resource is available in."""


class Unauthenticated(GearyardError):
    """The request has no credentials."""


class InvalidToken(GearyardError):
    """The access token is invalid."""


class TokenExpired(InvalidToken):
    """The access token has expired."""


class InvalidCredentials(GearyardError):
    """The identity provider refuses the e-mail, the password or the refresh token."""


class Forbidden(GearyardError):
    """The caller lacks the permission."""


class NotFound(GearyardError):
    """The resource does not exist, or the caller may not know that it does."""


class Conflict(GearyardError):
    """The request conflicts with the state of a resource."""


class PreconditionFailed(GearyardError):
    """The resource is not in the state that the client made a condition of."""


class IdempotencyKeyReused(GearyardError):
    """The Idempotency-Key belongs to another request."""


class UsernameTaken(Conflict):
    """Another user has this username."""

    def __init__(self) -> None:
        message = "This username is taken."
        super().__init__(message, details=[Problem("username", message, "taken")])


class TooManyRequests(GearyardError):
    """The client exceeds a limit; it may retry after `retry_after_seconds`."""


class Unavailable(GearyardError):
    """A dependency does not answer; the client may retry later."""


def existing(found: Found | None, noun: str) -> Found:
    """The value, unless it is None. Raises NotFound."""
    if found is None:
        raise NotFound(f"There is no such {noun}.")
    return found

"""Identities as frozen values, which outlive a request, for example for the life of a socket."""

from dataclasses import dataclass
from uuid import UUID

from app.models import Role


@dataclass(frozen=True, kw_only=True)
class Identity:
    """A user at the time of the request. The role is the database's, never a token's."""

    user_id: UUID
    email: str | None
    email_verified: bool
    role: Role
    username: str
    full_name: str | None
    avatar_url: str | None

    @property
    def is_admin(self) -> bool:
        """Whether the user may do to all listings what their owners may."""
        return self.role is Role.ADMIN


@dataclass(frozen=True, kw_only=True, slots=True)
class SubjectClaims:
    """An issuer's claims about a subject. `email_verified` is true only with an acceptable e-mail address."""

    issuer: str
    subject: str
    email: str | None
    email_verified: bool

    @property
    def verified_email(self) -> str | None:
        """The e-mail if the issuer has verified it. Only this one links an identity to a user."""
        return self.email if self.email_verified else None

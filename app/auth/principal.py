"""Who somebody is, as frozen values: safe to carry anywhere, a socket's whole life included."""

from dataclasses import dataclass
from uuid import UUID

from app.models import Role


@dataclass(frozen=True, kw_only=True)
class Identity:
    """A user as known at the moment of the request; the role is the database's, never a token's."""

    user_id: UUID
    email: str | None
    email_verified: bool
    role: Role
    username: str
    full_name: str | None
    avatar_url: str | None

    @property
    def is_admin(self) -> bool:
        """Admins may do what owners may, to anyone's listings."""
        return self.role is Role.ADMIN


@dataclass(frozen=True, kw_only=True)
class SubjectClaims:
    """What an issuer says of a subject; `email_verified` is never true without an e-mail."""

    issuer: str
    subject: str
    email: str | None
    email_verified: bool

    @property
    def verified_email(self) -> str | None:
        """The e-mail, if the issuer vouches for it; the only one that may link or prove anything."""
        return self.email if self.email_verified else None

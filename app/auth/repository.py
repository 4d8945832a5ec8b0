"""SQL of identities and their users."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ARRAY, Connection, Text, bindparam, exists, insert, select, text, update
from sqlalchemy.orm import Session

from app.auth.principal import Identity, SubjectClaims
from app.common.email import is_same_email
from app.db import prepared
from app.db.prepared import PreparedStatement
from app.db.session import translate_integrity_errors
from app.errors import Conflict, InvalidToken, NotFound, UsernameTaken
from app.models import ExternalIdentity, Role, User

IdentityKey = tuple[str, str]  # issuer, subject

_FIND_IDENTITIES = PreparedStatement(
    "find_identities",
    text("""
SELECT wanted.issuer, wanted.subject, u.id, u.email, u.email_verified, u.role, u.username, u.full_name, u.avatar_url
FROM unnest(:issuers, :subjects) AS wanted (issuer, subject)
JOIN identities i ON i.issuer = wanted.issuer AND i.subject = wanted.subject
LEFT JOIN users u ON u.id = i.user_id
""").bindparams(bindparam("issuers", type_=ARRAY(Text)), bindparam("subjects", type_=ARRAY(Text))),
)


class IdentityTaken(Conflict):
    """Another transaction has just inserted this identity or verified this e-mail."""

    def __init__(self) -> None:
        super().__init__("This account is being set up by another request; try again.")


class KnownIdentity(NamedTuple):
    """A stored identity and its user, who is None if deleted."""

    user: Identity | None

    def existing_user(self) -> Identity:
        """Return the user. Raises InvalidToken if it was deleted, which is final."""
        if self.user is None:
            raise InvalidToken("The account of this token was deleted.")
        return self.user


@dataclass(frozen=True, kw_only=True)
class EmailHolder:
    """The user with a verified address, which is unique."""

    user_id: UUID
    email: str

    def has_verified(self, email: str) -> bool:
        """Whether it is this address, and not another one that the database's collation takes for the same."""
        return is_same_email(self.email, email)


def find_identities(
    executor: Session | Connection, identities: Sequence[IdentityKey]
) -> dict[IdentityKey, KnownIdentity]:
    """The stored ones of these identities: one query, by primary key."""
    issuers, subjects = ([key[part] for key in identities] for part in (0, 1))
    rows = prepared.execute(executor, _FIND_IDENTITIES, {"issuers": issuers, "subjects": subjects})
    return {(issuer, subject): KnownIdentity(_identity(*user)) for issuer, subject, *user in rows}


def _identity(user_id: UUID | None, email: str | None, email_verified: bool, role: str, *names: Any) -> Identity | None:
    if user_id is None:
        return None
    username, full_name, avatar_url = names
    return Identity(
        user_id=user_id,
        email=email,
        email_verified=email_verified,
        role=Role(role),
        username=username,
        full_name=full_name,
        avatar_url=avatar_url,
    )


def find_identity(session: Session, issuer: str, subject: str) -> Identity | None:
    """The user of one identity, if it is stored. Raises InvalidToken if the user was deleted."""
    known = find_identities(session, [(issuer, subject)]).get((issuer, subject))
    return known.existing_user() if known is not None else None


def get_identity(session: Session, issuer: str, subject: str) -> Identity:
    """As `find_identity`; raises NotFound if it is not stored."""
    identity = find_identity(session, issuer, subject)
    if identity is None:
        raise NotFound("There is no such account.")
    return identity


def find_holder(executor: Session | Connection, email: str) -> EmailHolder | None:
    """The user with this verified address by the database's comparison: see `EmailHolder.has_verified`."""
    row = executor.execute(select(User.id, User.email).where(User.email == email, User.email_verified)).one_or_none()
    return EmailHolder(user_id=row.id, email=row.email) if row is not None else None


def add_user(session: Session, claims: SubjectClaims, *, username: str | None, full_name: str | None) -> UUID:
    """Insert a renter. Without a username the database generates one that does not reveal the e-mail.

    Raises:
        UsernameTaken, IdentityTaken: by the violated unique constraint.
    """
    values = {"email": claims.email, "email_verified": claims.email_verified, "full_name": full_name}
    if username is not None:
        values["username"] = username
    with translate_integrity_errors(uq_users_username=UsernameTaken, uq_users_verified_email=IdentityTaken):
        return session.execute(insert(User).values(**values).returning(User.id)).scalar_one()


def add_identity(session: Session, issuer: str, subject: str, user_id: UUID) -> None:
    """Bind a subject to a user, which is final.

    Raises:
        IdentityTaken: the subject is bound already, or the user was deleted since it was read.
    """
    with translate_integrity_errors(pk_identities=IdentityTaken, fk_identities_user_id=IdentityTaken):
        session.execute(insert(ExternalIdentity).values(issuer=issuer, subject=subject, user_id=user_id))


def confirm_email(session: Session, user_id: UUID, email: str) -> None:
    """Store an address that the issuer has verified. Raises IdentityTaken if another user has verified it."""
    with translate_integrity_errors(uq_users_verified_email=IdentityTaken):
        session.execute(update(User).where(User.id == user_id).values(email=email, email_verified=True))


def refuse_taken_username(session: Session, username: str) -> None:
    """Raise UsernameTaken if a user has this name now."""
    if session.scalar(select(exists().where(User.username == username))):
        raise UsernameTaken

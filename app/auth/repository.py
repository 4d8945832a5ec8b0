"""SQL of identities and their users."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ARRAY, Connection, Row, Text, bindparam, exists, insert, select, text, update
from sqlalchemy.orm import Session

from app.auth.principal import Identity, SubjectClaims
from app.db import prepared
from app.db.prepared import PreparedStatement
from app.db.session import translate_integrity_errors
from app.errors import Conflict, InvalidToken, UsernameTaken
from app.models import ExternalIdentity, Role, User

IdentityKey = tuple[str, str]  # issuer, subject

_FIND_IDENTITIES = PreparedStatement(
    "find_identities",
    text("""
SELECT wanted.issuer, wanted.subject,
    u.id AS user_id, u.email, u.email_verified, u.role, u.username, u.full_name, u.avatar_url
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


def find_identities(
    executor: Session | Connection, identities: Sequence[IdentityKey]
) -> dict[IdentityKey, KnownIdentity]:
    """The stored ones of these identities: one query, by primary key."""
    issuers, subjects = zip(*identities, strict=True)
    rows = prepared.execute(executor, _FIND_IDENTITIES, {"issuers": [*issuers], "subjects": [*subjects]})
    return {(row.issuer, row.subject): KnownIdentity(_identity(row) if row.user_id else None) for row in rows}


def _identity(row: Any) -> Identity:
    return Identity(
        user_id=row.user_id,
        email=row.email,
        email_verified=row.email_verified,
        role=Role(row.role),
        username=row.username,
        full_name=row.full_name,
        avatar_url=row.avatar_url,
    )


def find_identity(session: Session, key: IdentityKey) -> Identity | None:
    """The user of one identity, if it is stored. Raises InvalidToken if the user was deleted."""
    known = find_identities(session, [key]).get(key)
    return known.existing_user() if known is not None else None


def get_identity(session: Session, key: IdentityKey) -> Identity:
    """The user of an identity that is stored. Raises InvalidToken if the user was deleted."""
    return find_identities(session, [key])[key].existing_user()


def find_holder(executor: Session | Connection, email: str) -> Row[UUID, str | None] | None:
    """The `id` and `email` of the user with this verified address, compared by the database: see `is_same_email`."""
    return executor.execute(select(User.id, User.email).where(User.email == email, User.email_verified)).one_or_none()


def add_user(session: Session, claims: SubjectClaims, *, username: str | None, full_name: str | None) -> UUID:
    """Insert a renter. Without a username the database generates one that does not reveal the e-mail.

    Raises UsernameTaken, IdentityTaken (another user has verified the e-mail).
    """
    values = {"email": claims.email, "email_verified": claims.email_verified, "full_name": full_name}
    if username is not None:
        values["username"] = username
    with translate_integrity_errors(uq_users_username=UsernameTaken, uq_users_verified_email=IdentityTaken):
        return session.execute(insert(User).values(**values).returning(User.id)).scalar_one()


def add_identity(session: Session, key: IdentityKey, user_id: UUID) -> None:
    """Bind a subject to a user, which is final. Raises IdentityTaken if it is bound, or the user was just deleted."""
    issuer, subject = key
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

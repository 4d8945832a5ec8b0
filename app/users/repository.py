"""SQL of users and their profiles."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session

from app.common.email import is_same_email
from app.db.session import translate_integrity_errors
from app.errors import NotFound, UsernameTaken
from app.models import OwnerProfile, RenterProfile, Role, User


def get_user(session: Session, user_id: UUID) -> User:
    """One user. Raises NotFound."""
    user = session.get(User, user_id)
    if user is None:
        raise _no_such_user()
    return user


def get_version(session: Session, user_id: UUID) -> int:
    """A user's version. Raises NotFound."""
    version = session.scalar(select(User.version).where(User.id == user_id))
    if version is None:
        raise _no_such_user()
    return version


def lock_user(session: Session, user_id: UUID) -> User:
    """One user, whose row and profiles no other transaction changes until this one ends. Raises NotFound.

    Other transactions may still insert rows that refer to the user.
    """
    user = session.get(User, user_id, with_for_update={"key_share": True})
    if user is None:
        raise _no_such_user()
    return user


def update_user(session: Session, user: User, values: Mapping[str, Any]) -> None:
    """Change a locked user; equal values write nothing. Raises UsernameTaken."""
    with translate_integrity_errors(uq_users_username=UsernameTaken):
        _save(session, user, values)


def get_id_by_email(session: Session, email: str) -> UUID:
    """The user whose verified e-mail this is. Raises NotFound."""
    found = session.execute(select(User.id, User.email).where(User.email == email, User.email_verified)).one_or_none()
    if found is None or not is_same_email(found.email, email):
        raise NotFound("No user has this as a verified e-mail.")
    user_id: UUID = found.id
    return user_id


def lock_with_admins(session: Session, user_id: UUID) -> tuple[User | None, set[UUID]]:
    """A user, if there is one, and the ids of all admins; whoever changes one of them waits until this is over.

    One statement takes all these locks, in one order, so that no two of such changes wait for each other. It waits for
    a change in progress, and then sees what that made of them.
    """
    wanted = select(User).where(or_(User.id == user_id, User.role == Role.ADMIN)).order_by(User.id)
    found = {user.id: user for user in session.scalars(wanted.with_for_update())}
    return found.get(user_id), {user.id for user in found.values() if user.role is Role.ADMIN}


def set_role(session: Session, user_id: UUID, role: Role) -> None:
    """Give a user that the transaction has locked a role."""
    session.execute(update(User).where(User.id == user_id).values(role=role))


def delete_user(session: Session, user_id: UUID) -> None:
    """Remove a user; what refers to one goes too, or goes on without, as each foreign key says."""
    session.execute(delete(User).where(User.id == user_id))


def find_owner_profile(session: Session, user_id: UUID) -> OwnerProfile | None:
    """The owner profile with its user, or None before it is first saved."""
    return session.get(OwnerProfile, user_id)


def find_renter_profile(session: Session, user_id: UUID) -> RenterProfile | None:
    """The renter profile, or None before it is first saved."""
    return session.get(RenterProfile, user_id)


def save_profile(session: Session, profile: OwnerProfile | RenterProfile, values: Mapping[str, Any]) -> None:
    """Insert or change a profile of a locked user; equal values write nothing."""
    _save(session, profile, values)


def _save(session: Session, row: User | OwnerProfile | RenterProfile, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        setattr(row, name, value)
    session.add(row)
    session.flush()


def _no_such_user() -> NotFound:
    return NotFound("There is no such user.")

"""SQL of users and their profiles."""

from collections.abc import Mapping
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session

from app.common.email import is_same_email
from app.db.session import translate_integrity_errors
from app.errors import NotFound, UsernameTaken, existing
from app.models import OwnerProfile, RenterProfile, Role, User

Profile = TypeVar("Profile", OwnerProfile, RenterProfile)


def get_user(session: Session, user_id: UUID) -> User:
    """One user. Raises NotFound."""
    return existing(session.get(User, user_id), "user")


def get_version(session: Session, user_id: UUID) -> int:
    """A user's version. Raises NotFound."""
    return existing(session.scalar(select(User.version).where(User.id == user_id)), "user")


def lock_user(session: Session, user_id: UUID) -> User:
    """Lock a user and the profiles against changes, but not against new rows that refer to them. Raises NotFound."""
    return existing(session.get(User, user_id, with_for_update={"key_share": True}), "user")


def save(session: Session, row: User | OwnerProfile | RenterProfile, values: Mapping[str, Any]) -> None:
    """Insert or change a locked user, or a profile of one; equal values write nothing. Raises UsernameTaken."""
    for name, value in values.items():
        setattr(row, name, value)
    session.add(row)
    with translate_integrity_errors(uq_users_username=UsernameTaken):
        session.flush()


def get_id_by_email(session: Session, email: str) -> UUID:
    """The user whose verified e-mail this is. Raises NotFound."""
    found = session.execute(select(User.id, User.email).where(User.email == email, User.email_verified)).one_or_none()
    if found is None or not is_same_email(found.email, email):
        raise NotFound("No user has this as a verified e-mail.")
    user_id: UUID = found.id
    return user_id


def lock_with_admins(session: Session, user_id: UUID) -> tuple[User | None, set[UUID]]:
    """Lock a user, if it exists, and all admins; return the user and the ids of the admins.

    One statement takes the locks in the order of the ids, so two such transactions cannot deadlock. It waits for a
    change in progress, and then reads its result.
    """
    wanted = select(User).where(or_(User.id == user_id, User.role == Role.ADMIN)).order_by(User.id)
    found = {user.id: user for user in session.scalars(wanted.with_for_update())}
    return found.get(user_id), {user.id for user in found.values() if user.role is Role.ADMIN}


def delete_user(session: Session, user_id: UUID) -> None:
    """Delete a user. Each foreign key says whether rows that refer to the user are deleted or kept."""
    session.execute(delete(User).where(User.id == user_id))


def find_profile(session: Session, kind: type[Profile], user_id: UUID) -> Profile | None:
    """A profile of a user, or None before it is first saved."""
    return session.get(kind, user_id)

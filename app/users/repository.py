"""SQL of users and their profiles."""

from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import func, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.database import refusing
from app.errors import NotFound, UsernameTaken
from app.models import OwnerProfile, RenterProfile, Role, User

Profile = TypeVar("Profile", OwnerProfile, RenterProfile)


def get_user(session: Session, user_id: UUID) -> User:
    """One user. Raises NotFound."""
    user = session.get(User, user_id)
    if user is None:
        raise _no_such_user()
    return user


def update_user(session: Session, user_id: UUID, values: dict[str, Any]) -> User:
    """Change a user. Raises NotFound, UsernameTaken."""
    statement = update(User).where(User.id == user_id).values(**values).returning(User)
    with refusing(uq_users_username=UsernameTaken):
        user = session.scalars(statement).one_or_none()
    if user is None:
        raise _no_such_user()
    return user


def set_role_by_email(session: Session, email: str, role: Role) -> User:
    """Give the user whose verified e-mail this is a role. Raises NotFound."""
    statement = update(User).where(User.email == email, User.email_verified).values(role=role).returning(User)
    user = session.scalars(statement).one_or_none()
    if user is None:
        raise NotFound("No user has this as a verified e-mail.")
    return user


def make_owner(session: Session, user_id: UUID) -> None:
    """Turn a renter into an owner; any other role stays."""
    session.execute(update(User).where(User.id == user_id, User.role == Role.RENTER).values(role=Role.OWNER))


def find_owner_profile(session: Session, user_id: UUID) -> OwnerProfile | None:
    """The owner profile, if it was ever saved."""
    return session.get(OwnerProfile, user_id)


def save_owner_profile(session: Session, user_id: UUID, values: dict[str, Any]) -> OwnerProfile:
    """Make the profile, or change what is given of it; two at once end as one."""
    return _upsert(session, OwnerProfile, user_id, values)


def find_renter_profile(session: Session, user_id: UUID) -> RenterProfile | None:
    """The renter profile, if it was ever saved."""
    return session.get(RenterProfile, user_id)


def save_renter_profile(session: Session, user_id: UUID, values: dict[str, Any]) -> RenterProfile:
    """Make the profile, or change what is given of it; two at once end as one."""
    return _upsert(session, RenterProfile, user_id, values)


def _upsert(session: Session, profile: type[Profile], user_id: UUID, values: dict[str, Any]) -> Profile:
    statement = insert(profile).values(user_id=user_id, **values)
    changes = {**values, "updated_at": func.now()}
    saved = statement.on_conflict_do_update(index_elements=["user_id"], set_=changes).returning(profile)
    return session.scalars(saved).one()


def _no_such_user() -> NotFound:
    return NotFound("There is no such user.")

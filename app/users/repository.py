"""SQL of users and their profiles."""

from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.db.session import refusing
from app.email_address import is_same_email
from app.errors import NotFound, UsernameTaken
from app.models import OwnerProfile, RenterProfile, Role, User

Profile = TypeVar("Profile", OwnerProfile, RenterProfile)


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


def lock_version(session: Session, user_id: UUID) -> int:
    """A user's version; the user and the profiles change by no other hand until the transaction ends. Raises NotFound.

    What refers to the user may be added meanwhile.
    """
    version = session.scalar(select(User.version).where(User.id == user_id).with_for_update(key_share=True))
    if version is None:
        raise _no_such_user()
    return version


def update_user(session: Session, user_id: UUID, values: dict[str, Any]) -> User:
    """Change a user. Raises NotFound, UsernameTaken."""
    statement = update(User).where(User.id == user_id).values(**values).returning(User)
    with refusing(uq_users_username=UsernameTaken):
        user = session.scalars(statement).one_or_none()
    if user is None:
        raise _no_such_user()
    return user


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


def make_owner(session: Session, user_id: UUID) -> None:
    """Turn a renter into an owner; any other role stays."""
    session.execute(update(User).where(User.id == user_id, User.role == Role.RENTER).values(role=Role.OWNER))


def find_owner_profile(session: Session, user_id: UUID) -> OwnerProfile | None:
    """The owner profile, if it was ever saved."""
    return session.get(OwnerProfile, user_id)


def save_owner_profile(session: Session, user_id: UUID, values: dict[str, Any]) -> OwnerProfile:
    """Make the profile, or change what is given of it; two at once end as one. Raises NotFound: the user is gone."""
    return _upsert(session, OwnerProfile, user_id, values)


def find_renter_profile(session: Session, user_id: UUID) -> RenterProfile | None:
    """The renter profile, if it was ever saved."""
    return session.get(RenterProfile, user_id)


def save_renter_profile(session: Session, user_id: UUID, values: dict[str, Any]) -> RenterProfile:
    """Make the profile, or change what is given of it; two at once end as one. Raises NotFound: the user is gone."""
    return _upsert(session, RenterProfile, user_id, values)


def _upsert(session: Session, profile: type[Profile], user_id: UUID, values: dict[str, Any]) -> Profile:
    statement = insert(profile).values(user_id=user_id, **values)
    changes = {**values, "updated_at": func.now()}
    saved = statement.on_conflict_do_update(index_elements=["user_id"], set_=changes).returning(profile)
    with refusing(fk_owner_profiles_user_id=_no_such_user, fk_renter_profiles_user_id=_no_such_user):
        # A profile that the transaction has read before is to be as it is now.
        return session.scalars(saved, execution_options={"populate_existing": True}).one()


def _no_such_user() -> NotFound:
    return NotFound("There is no such user.")

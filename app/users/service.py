"""Users, their profiles and their roles."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from app.auth.principal import Identity
from app.common import audit
from app.common.audit import OPERATOR, Action
from app.common.precondition import Precondition
from app.db.session import run_in, transaction
from app.errors import Conflict, Forbidden, NotFound, existing
from app.models import OwnerProfile, RenterProfile, Role, User
from app.settings import OwnerSignup
from app.users import repository


def can_change(identity: Identity, user_id: UUID) -> bool:
    """Users change themselves; admins change anyone."""
    return identity.is_admin or identity.user_id == user_id


get = run_in(transaction, repository.get_user)
version = run_in(transaction, repository.get_version)


def change(identity: Identity, user_id: UUID, values: Mapping[str, Any], *, only_if: Precondition) -> User:
    """Change the given fields of a user. The audit log records a change of another user's account.

    Raises Forbidden, NotFound, PreconditionFailed, UsernameTaken.
    """
    if not can_change(identity, user_id):
        raise Forbidden("You may change only your own account.")
    with transaction() as session:
        user = repository.lock_user(session, user_id)
        only_if.check(str(user.version))
        repository.save(session, user, values)
        if user_id != identity.user_id:
            after = audit.changed_fields(values)
            audit.record(session, identity.user_id, Action.USER_CHANGED, user_id, after=after)
        return user


def promote(email: str, role: Role) -> User:
    """Give the user with this verified e-mail a role, as an operator.

    Raises NotFound, Conflict (the last admin would lose the role).
    """
    with transaction() as session:
        user_id = repository.get_id_by_email(session, email)
        give_role(session, OPERATOR, lock_for_role_change(session, OPERATOR, user_id, role), role)
        return repository.get_user(session, user_id)


def lock_for_role_change(session: Session, actor_id: UUID | None, user_id: UUID, role: Role | None) -> User:
    """Lock a user and all admins, for `give_role`, or, with None, for `delete`.

    No row that refers to the user is added meanwhile. The actor's role is read again: it may have changed since the
    request began. Raises NotFound, Forbidden (the actor is no longer an admin), Conflict (the actor, or the last admin,
    would lose the role).
    """
    user, admin_ids = repository.lock_with_admins(session, user_id)
    if actor_id is not None and actor_id not in admin_ids:
        raise Forbidden("Only admins may do this.")
    user = existing(user, "user")
    if role is not Role.ADMIN:
        if user_id == actor_id:
            raise Conflict("This is your own account. Another admin may change it.")
        if admin_ids == {user_id}:
            raise Conflict("This is the last admin. Give the role to another user first.")
    return user


def give_role(session: Session, actor_id: UUID | None, user: User, role: Role) -> None:
    """Give a locked user a role, with an audit entry. An equal role writes nothing."""
    if user.role is role:
        return
    before, after = {"role": user.role.value}, {"role": role.value}
    repository.save(session, user, {"role": role})
    audit.record(session, actor_id, Action.USER_ROLE_CHANGED, user.id, before=before, after=after)


def delete(session: Session, actor_id: UUID | None, user: User) -> None:
    """Delete a locked user with personal data and listings, with an audit entry. Messages to other users stay."""
    before = {"role": user.role.value, "username": user.username}
    repository.delete_user(session, user.id)
    audit.record(session, actor_id, Action.USER_DELETED, user.id, before=before)


def owner_profile_version(profile: OwnerProfile) -> str:
    """The version of a profile and of its user's role, which the response shows."""
    return f"{profile.version}-{profile.user.role.value}"


def get_owner_profile(identity: Identity) -> OwnerProfile:
    """The caller's owner profile. Raises NotFound before it is first saved."""
    with transaction() as session:
        profile = repository.find_profile(session, OwnerProfile, identity.user_id)
    if profile is None:
        raise NotFound("There is no owner profile yet; save one to become an owner.")
    return profile


def save_owner_profile(
    identity: Identity, values: Mapping[str, Any], *, signup: OwnerSignup, only_if: Precondition
) -> OwnerProfile:
    """Save the caller's owner profile.

    With `OwnerSignup.OPEN` this makes a renter an owner. With `APPROVAL` an admin gives the role later.
    Raises PreconditionFailed, NotFound (the caller was deleted).
    """
    with transaction() as session:
        # The user before the profile, in the order that a deletion locks them.
        user = repository.lock_user(session, identity.user_id)
        profile = repository.find_profile(session, OwnerProfile, identity.user_id)
        only_if.check(None if profile is None else owner_profile_version(profile))
        if signup is OwnerSignup.OPEN and user.role is Role.RENTER:
            user.role = Role.OWNER
        profile = profile or OwnerProfile(user=user)
        repository.save(session, profile, values)
        return profile


def get_renter_profile(identity: Identity) -> RenterProfile:
    """The caller's renter profile, which is empty before it is first saved."""
    with transaction() as session:
        return repository.find_profile(session, RenterProfile, identity.user_id) or _empty_profile(identity.user_id)


def save_renter_profile(identity: Identity, values: Mapping[str, Any], *, only_if: Precondition) -> RenterProfile:
    """Save the given fields of the caller's renter profile. Raises PreconditionFailed, NotFound (a deleted caller)."""
    with transaction() as session:
        repository.lock_user(session, identity.user_id)
        profile = repository.find_profile(session, RenterProfile, identity.user_id)
        shown = profile or _empty_profile(identity.user_id)
        only_if.check(str(shown.version))
        if not values:
            return shown
        profile = profile or RenterProfile(user_id=identity.user_id, preferences={})
        repository.save(session, profile, values)
        return profile


def _empty_profile(user_id: UUID) -> RenterProfile:
    return RenterProfile(user_id=user_id, preferences={}, experience_level=None, version=0)

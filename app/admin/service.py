"""Moderation by admins. The service that makes a change records it in the audit log."""

from typing import Any
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.orm import Session

from app.admin import repository
from app.auth.principal import Identity
from app.common.precondition import UNCONDITIONAL, Precondition
from app.db.session import run_in, transaction
from app.equipment import service as equipment
from app.errors import Forbidden
from app.messages import service as messages
from app.models import Role
from app.users import service as users


def can_moderate(identity: Identity) -> bool:
    """Admins moderate."""
    return identity.is_admin


def check_access(identity: Identity) -> None:
    """Raise Forbidden, unless the caller moderates."""
    if not can_moderate(identity):
        raise Forbidden("Only admins may do this.")


get_stats = run_in(transaction, repository.get_stats)
list_users = run_in(transaction, repository.list_users)
get_user = run_in(transaction, repository.get_user)
list_equipment = run_in(transaction, repository.list_equipment)
list_entries = run_in(transaction, repository.list_entries)


def user_version(user: Row[Any]) -> str:
    """The version of a user and of the count of listings, which changes without the user's row."""
    return f"{user.version}-{user.equipment_count}"


def change_role(identity: Identity, user_id: UUID, role: Role, *, only_if: Precondition) -> Row[Any]:
    """Give a user a role. Raises PreconditionFailed, and as `users.service.lock_for_role_change`."""
    with transaction() as session:
        user = users.lock_for_role_change(session, identity.user_id, user_id, role)
        _check(session, user_id, only_if)
        users.give_role(session, identity.user_id, user, role)
        return repository.get_user(session, user_id)


def delete_user(identity: Identity, user_id: UUID, *, only_if: Precondition) -> None:
    """Delete a user and the listings. Raises PreconditionFailed, and as `users.service.lock_for_role_change`."""
    with transaction() as session:
        user = users.lock_for_role_change(session, identity.user_id, user_id, None)
        _check(session, user_id, only_if)
        messages.leave_all(session, user_id)
        users.delete(session, identity.user_id, user)


def _check(session: Session, user_id: UUID, only_if: Precondition) -> None:
    """Compare with the version of a locked user. A transaction that adds a listing waits for this lock as well."""
    if only_if != UNCONDITIONAL:
        only_if.check(user_version(repository.get_user(session, user_id)))


def set_availability(identity: Identity, equipment_id: UUID, *, is_available: bool, only_if: Precondition) -> Row[Any]:
    """Make a listing available or not. Raises as `equipment.service.set_availability`."""
    with transaction() as session:
        equipment.set_availability(session, identity, equipment_id, is_available=is_available, only_if=only_if)
        return repository.get_equipment(session, equipment_id)

"""What admins may do. Every change is in the audit log, written by the service that makes it."""

from uuid import UUID

from sqlalchemy.orm import Session

from app.admin import repository
from app.admin.criteria import AuditSearch, EquipmentFilters, UserFilters
from app.admin.projection import AuditRow, EquipmentRow, Stats, UserRow
from app.audit import Actor
from app.auth.principal import Identity
from app.common.precondition import UNCONDITIONAL, Precondition
from app.db.session import transaction
from app.equipment import categories
from app.equipment import service as equipment
from app.errors import Forbidden
from app.messages import service as messages
from app.models import Role
from app.paging import Page, PageRequest
from app.users import service as users


def can_moderate(who: Identity) -> bool:
    """Admins do."""
    return who.is_admin


def check_access(who: Identity) -> None:
    """Raise Forbidden, unless the caller moderates."""
    if not can_moderate(who):
        raise Forbidden("This is for admins.")


def get_stats() -> Stats:
    """How much there is."""
    with transaction() as session:
        return repository.get_stats(session)


def list_users(filters: UserFilters, page: PageRequest) -> Page[UserRow]:
    """Users, newest first."""
    with transaction() as session:
        return repository.list_users(session, filters, page)


def get_user(user_id: UUID) -> UserRow:
    """One user. Raises NotFound."""
    with transaction() as session:
        return repository.get_user(session, user_id)


def change_role(actor: Actor, user_id: UUID, role: Role, *, only_if: Precondition = UNCONDITIONAL) -> UserRow:
    """Give a user a role. Raises PreconditionFailed, and as `users.service.lock_for_role_change`."""
    with transaction() as session:
        user = users.lock_for_role_change(session, actor, user_id, role)
        _check(session, user_id, only_if)
        users.give_role(session, actor, user, role)
        return repository.get_user(session, user_id)


def delete_user(actor: Actor, user_id: UUID, *, only_if: Precondition = UNCONDITIONAL) -> None:
    """Delete a user. Raises PreconditionFailed, and as `users.service.lock_for_deletion`.

    A condition is one of the listings, too, which go with the user: nobody is deleted with more than was seen.
    """
    with transaction() as session:
        user = users.lock_for_deletion(session, actor, user_id)
        _check(session, user_id, only_if)
        messages.leave_all(session, user_id)
        users.delete(session, actor, user)


def _check(session: Session, user_id: UUID, only_if: Precondition) -> None:
    """Compare with the user, whom the transaction holds: who lists something waits for that, too."""
    if only_if != UNCONDITIONAL:
        only_if.check(repository.get_user(session, user_id).token)


def list_equipment(filters: EquipmentFilters, page: PageRequest) -> Page[EquipmentRow]:
    """Listings, newest first. A category means those below it, too."""
    with transaction() as session:
        wanted = filters.category_id
        category_ids = None if wanted is None else categories.ids_within(session, wanted)
        return repository.list_equipment(session, filters, page, category_ids=category_ids)


def set_availability(
    actor: Actor, equipment_id: UUID, *, is_available: bool, only_if: Precondition = UNCONDITIONAL
) -> EquipmentRow:
    """Offer a listing, or not. Raises as `equipment.service.set_availability`."""
    with transaction() as session:
        equipment.set_availability(session, actor, equipment_id, is_available=is_available, only_if=only_if)
        return repository.get_equipment(session, equipment_id)


def delete_equipment(actor: Actor, equipment_id: UUID, *, only_if: Precondition = UNCONDITIONAL) -> None:
    """Take a listing down for good. Raises as `equipment.service.take_down`."""
    with transaction() as session:
        equipment.take_down(session, actor, equipment_id, only_if=only_if)


def list_entries(wanted: AuditSearch) -> Page[AuditRow]:
    """What was changed by whom, newest first. Raises InvalidInput for a cursor of another list."""
    with transaction() as session:
        return repository.list_entries(session, wanted)

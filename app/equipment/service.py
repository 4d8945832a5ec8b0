"""Listings: who may do what with them."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy.orm import Session

from app import audit
from app.audit import Action, Actor
from app.auth.principal import Identity
from app.common.precondition import UNCONDITIONAL, Precondition
from app.db.batching import BatchLoader, SingleFlight
from app.db.session import single_statement, transaction
from app.equipment import repository
from app.equipment.document import EquipmentDocument, EquipmentPage, EquipmentState
from app.equipment.search import Filters, Search, Sort
from app.errors import Forbidden
from app.models import Role
from app.paging import PageRequest

Found = TypeVar("Found")


def can_list_equipment(role: Role) -> bool:
    """Owners rent things out; admins may, too."""
    return role in (Role.OWNER, Role.ADMIN)


def can_edit(who: Identity, owner_id: UUID) -> bool:
    """A listing is its owner's to change, and an admin's."""
    return who.is_admin or who.user_id == owner_id


def search(wanted: Search) -> EquipmentPage:
    """Find listings; those who ask for the same at once share one search. Raises InvalidInput for a bad cursor."""
    return _searches.get(wanted)


def list_own(who: Identity, page: PageRequest) -> EquipmentPage:
    """The caller's own listings, newest first."""
    return search(Search(filters=Filters(owner_id=who.user_id), sort=Sort.NEWEST, page=page))


def get(equipment_id: UUID) -> EquipmentDocument:
    """One listing, read together with those that others ask for at once. Raises NotFound."""
    return _there(_items.get(equipment_id))


def version(equipment_id: UUID) -> int:
    """A listing's version: another one whenever it shows anything else, its photos among it. Raises NotFound."""
    return _there(_versions.get(equipment_id))


def _search(wanted: Search) -> EquipmentPage:
    with single_statement() as connection:
        return repository.search(connection, wanted)


def _get_items(ids: Sequence[UUID]) -> Mapping[UUID, EquipmentDocument]:
    with single_statement() as connection:
        return repository.get_items(connection, ids)


def _get_versions(ids: Sequence[UUID]) -> Mapping[UUID, int]:
    with single_statement() as connection:
        return repository.get_versions(connection, ids)


_searches = SingleFlight(_search)
_items = BatchLoader(_get_items)
_versions = BatchLoader(_get_versions)


def _there(found: Found | None) -> Found:
    if found is None:
        raise repository.no_such_equipment()
    return found


def create(who: Identity, values: Mapping[str, Any]) -> EquipmentDocument:
    """List something, as the caller's. The caller's role cannot change before the listing is committed.

    Raises:
        Forbidden: the caller is a renter. InvalidInput: the category is unknown. NotFound: the caller was deleted.
    """
    with transaction() as session:
        if not can_list_equipment(repository.lock_role(session, who.user_id)):
            raise Forbidden("Only owners list equipment: save an owner profile first.")
        equipment_id = repository.add_equipment(session, who.user_id, _columns(values))
        return repository.get_item(session, equipment_id)


def change(
    who: Identity, equipment_id: UUID, values: Mapping[str, Any], *, only_if: Precondition = UNCONDITIONAL
) -> EquipmentDocument:
    """Change what is given, and nothing else.

    Raises:
        NotFound, Forbidden, PreconditionFailed. InvalidInput: for an unknown category.
    """
    with transaction() as session:
        lock_for(
            who, session, equipment_id, Action.EQUIPMENT_CHANGED, after=audit.changed_fields(values), only_if=only_if
        )
        repository.update_equipment(session, equipment_id, _columns(values))
        return repository.get_item(session, equipment_id)


def delete(who: Identity, equipment_id: UUID, *, only_if: Precondition = UNCONDITIONAL) -> None:
    """Take a listing down for good. Raises NotFound, Forbidden, PreconditionFailed."""
    with transaction() as session:
        lock_for(who, session, equipment_id, Action.EQUIPMENT_DELETED, only_if=only_if)
        repository.delete_equipment(session, equipment_id)


def set_availability(
    session: Session, actor: Actor, equipment_id: UUID, *, is_available: bool, only_if: Precondition = UNCONDITIONAL
) -> None:
    """Offer anyone's listing or not, for a moderator, and write it down; where it is so already, do neither.

    Raises:
        NotFound, PreconditionFailed.
    """
    listing = repository.lock_state(session, equipment_id)
    only_if.check(str(listing.version))
    if listing.is_available is is_available:
        return
    repository.update_equipment(session, equipment_id, {"is_available": is_available})
    before = _details(listing)
    after = {**before, "is_available": is_available}
    audit.record(session, actor, Action.EQUIPMENT_AVAILABILITY_CHANGED, equipment_id, before=before, after=after)


def take_down(session: Session, actor: Actor, equipment_id: UUID, *, only_if: Precondition = UNCONDITIONAL) -> None:
    """Remove anyone's listing for good, for a moderator, and write it down. Raises NotFound, PreconditionFailed."""
    listing = repository.lock_state(session, equipment_id)
    only_if.check(str(listing.version))
    repository.delete_equipment(session, equipment_id)
    audit.record(session, actor, Action.EQUIPMENT_DELETED, equipment_id, before=_details(listing))


def _details(listing: EquipmentState) -> dict[str, str | bool]:
    return {"owner_id": str(listing.owner_id), "title": listing.title, "is_available": listing.is_available}


def lock_for(
    who: Identity,
    session: Session,
    equipment_id: UUID,
    action: Action,
    *,
    after: audit.Details | None = None,
    only_if: Precondition = UNCONDITIONAL,
) -> None:
    """Hold the listing for a change by this caller; one of somebody else's, by an admin, is written down.

    Raises:
        NotFound, Forbidden, PreconditionFailed.
    """
    listing = repository.lock_state(session, equipment_id)
    if not can_edit(who, listing.owner_id):
        raise Forbidden("This is somebody else's equipment.")
    only_if.check(str(listing.version))
    if listing.owner_id != who.user_id:
        owner = {"owner_id": str(listing.owner_id)}
        audit.record(session, audit.actor(who.user_id), action, equipment_id, before=owner, after=after)


def _columns(values: Mapping[str, Any]) -> dict[str, Any]:
    """A listing's fields as its table has them."""
    columns = dict(values)
    if columns.get("coordinates") is not None:
        columns["coordinates"] = columns["coordinates"].as_geography()
    return columns

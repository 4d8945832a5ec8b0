"""Listings: reads, writes and permissions."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from app.auth.principal import Identity
from app.common import audit
from app.common.audit import Action
from app.common.paging import PageRequest
from app.common.precondition import Precondition
from app.db.batching import BatchLoader, SingleFlight
from app.db.session import run_in, single_statement, transaction
from app.equipment import repository
from app.equipment.criteria import Filters, Search, Sort
from app.equipment.document import EquipmentDocument, EquipmentPage
from app.errors import Forbidden, existing
from app.models import Equipment, Role


def can_list_equipment(role: Role) -> bool:
    """Owners and admins may offer equipment."""
    return role in (Role.OWNER, Role.ADMIN)


def can_edit(identity: Identity, owner_id: UUID) -> bool:
    """A listing's owner and admins may change it."""
    return identity.is_admin or identity.user_id == owner_id


def search(wanted: Search) -> EquipmentPage:
    """Find listings. Raises InvalidInput for an invalid cursor."""
    if wanted.filters.point:  # clients have the same first pages in common, and hardly ever a point
        return _search(wanted)
    # By its repr, which is the scope of its cursors: 0.0 and -0.0 are equal, and their cursors are not.
    return _shared_searches.get(repr(wanted), lambda: _search(wanted))


def list_own(identity: Identity, page: PageRequest) -> EquipmentPage:
    """The caller's own listings, newest first."""
    return search(Search(filters=Filters(owner_id=identity.user_id), sort=Sort.NEWEST, page=page))


def get(equipment_id: UUID) -> EquipmentDocument:
    """One listing; concurrent reads share a batch. Raises NotFound."""
    return existing(_items.get(equipment_id), "equipment")


def version(equipment_id: UUID) -> int:
    """A listing's version, which changes with the listing and with its photos. Raises NotFound."""
    return existing(_versions.get(equipment_id), "equipment")


_search = run_in(single_statement, repository.search)
_shared_searches: SingleFlight[str, EquipmentPage] = SingleFlight()
_items = BatchLoader(run_in(single_statement, repository.get_items))
_versions = BatchLoader(run_in(single_statement, repository.get_versions))


def create(identity: Identity, values: Mapping[str, Any]) -> EquipmentDocument:
    """Add a listing of the caller, whose role cannot change before the commit.

    Raises Forbidden (the caller is a renter), InvalidInput (unknown category), NotFound (the caller was deleted).
    """
    with transaction() as session:
        if not can_list_equipment(repository.lock_role(session, identity.user_id)):
            raise Forbidden("Only owners list equipment: save an owner profile first.")
        equipment_id = repository.add_equipment(session, identity.user_id, _columns(values))
        return repository.get_item(session, equipment_id)


def change(
    identity: Identity, equipment_id: UUID, values: Mapping[str, Any], *, only_if: Precondition
) -> EquipmentDocument:
    """Change the given fields. Equal values write nothing.

    Raises NotFound, Forbidden, PreconditionFailed, InvalidInput (the category is unknown).
    """
    with transaction() as session:
        listing = lock_for_edit(session, identity, equipment_id, only_if=only_if)
        if repository.update_equipment(session, equipment_id, _columns(values)):
            after = audit.changed_fields(values)
            record_edit(session, identity, listing, Action.EQUIPMENT_CHANGED, after=after)
        return repository.get_item(session, equipment_id)


def delete(identity: Identity, equipment_id: UUID, *, only_if: Precondition) -> None:
    """Delete a listing. Raises NotFound, Forbidden, PreconditionFailed."""
    with transaction() as session:
        listing = lock_for_edit(session, identity, equipment_id, only_if=only_if)
        record_edit(session, identity, listing, Action.EQUIPMENT_DELETED)
        repository.delete_equipment(session, equipment_id)


def set_availability(
    session: Session, identity: Identity, equipment_id: UUID, *, is_available: bool, only_if: Precondition
) -> None:
    """Set whether a listing is available, as an admin, with an audit entry. Raises NotFound, PreconditionFailed."""
    listing = lock_for_edit(session, identity, equipment_id, only_if=only_if)
    before = _details(listing)
    if repository.update_equipment(session, equipment_id, {"is_available": is_available}):
        details = {"before": before, "after": {**before, "is_available": is_available}}
        audit.record(session, identity.user_id, Action.EQUIPMENT_AVAILABILITY_CHANGED, equipment_id, **details)


def take_down(identity: Identity, equipment_id: UUID, *, only_if: Precondition) -> None:
    """Delete a listing, as an admin, with an audit entry. Raises NotFound, PreconditionFailed."""
    with transaction() as session:
        listing = lock_for_edit(session, identity, equipment_id, only_if=only_if)
        repository.delete_equipment(session, equipment_id)
        audit.record(session, identity.user_id, Action.EQUIPMENT_DELETED, equipment_id, before=_details(listing))


def lock_for_edit(session: Session, identity: Identity, equipment_id: UUID, *, only_if: Precondition) -> Equipment:
    """Lock a listing for a change by this caller. Raises NotFound, Forbidden, PreconditionFailed."""
    listing = repository.lock_equipment(session, equipment_id)
    if not can_edit(identity, listing.owner_id):
        raise Forbidden("This is somebody else's equipment.")
    only_if.check(str(listing.version))
    return listing


def record_edit(
    session: Session, identity: Identity, listing: Equipment, action: Action, *, after: audit.Details | None = None
) -> None:
    """Add an audit entry, unless the caller is the listing's owner."""
    if listing.owner_id != identity.user_id:
        before = {"owner_id": str(listing.owner_id)}
        audit.record(session, identity.user_id, action, listing.id, before=before, after=after)


def _details(listing: Equipment) -> dict[str, str | bool]:
    return {"owner_id": str(listing.owner_id), "title": listing.title, "is_available": listing.is_available}


def _columns(values: Mapping[str, Any]) -> dict[str, Any]:
    columns = dict(values)
    if columns.get("coordinates") is not None:
        columns["coordinates"] = columns["coordinates"].as_geography()
    return columns

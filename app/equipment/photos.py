"""A listing's photos: in a stable order, exactly one of them primary unless there is none."""

from uuid import UUID

from app.auth.principal import Identity
from app.common.audit import Action
from app.common.precondition import UNCONDITIONAL, Precondition
from app.db.session import transaction
from app.equipment import repository, service
from app.errors import Conflict
from app.models import EquipmentPhoto

MAX_PHOTOS = 20


def add(identity: Identity, equipment_id: UUID, *, photo_url: str, is_primary: bool) -> EquipmentPhoto:
    """Add a photo after the others. The first photo is primary; a new primary photo replaces the previous one.

    Raises NotFound, Forbidden, Conflict (the listing has `MAX_PHOTOS` photos).
    """
    with transaction() as session:
        listing = service.lock_for_edit(session, identity, equipment_id, only_if=UNCONDITIONAL)
        photos = repository.list_photos(session, equipment_id)
        if len(photos) >= MAX_PHOTOS:
            raise Conflict(f"A listing has at most {MAX_PHOTOS} photos; remove one first.")
        service.record_edit(session, identity, listing, Action.PHOTO_ADDED)
        if is_primary:
            repository.clear_primary_photo(session, equipment_id)
        return repository.add_photo(
            session,
            equipment_id,
            photo_url=photo_url,
            is_primary=is_primary or not photos,
            order_index=photos[-1].order_index + 1 if photos else 0,
        )


def remove(identity: Identity, equipment_id: UUID, photo_id: UUID, *, only_if: Precondition) -> None:
    """Remove a photo. After the primary one, the first of the others becomes primary. `only_if` is of the listing.

    Raises NotFound, Forbidden, PreconditionFailed.
    """
    with transaction() as session:
        listing = service.lock_for_edit(session, identity, equipment_id, only_if=only_if)
        was_primary = repository.delete_photo(session, equipment_id, photo_id)
        service.record_edit(session, identity, listing, Action.PHOTO_REMOVED)
        remaining = repository.list_photos(session, equipment_id)
        if was_primary and remaining:
            repository.set_primary_photo(session, remaining[0].id)

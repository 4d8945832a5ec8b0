"""A listing's photos: in a stable order, one of them primary as long as there is any."""

from uuid import UUID

from app.audit import Action
from app.auth.principal import Identity
from app.common.precondition import UNCONDITIONAL, Precondition
from app.db.session import transaction
from app.equipment import repository, service
from app.errors import Conflict
from app.models import EquipmentPhoto

MAX_PHOTOS = 20


def add(who: Identity, equipment_id: UUID, *, photo_url: str, is_primary: bool) -> EquipmentPhoto:
    """Add a photo behind the others. The first is primary by itself; a new primary one takes the old one's place.

    Raises:
        NotFound, Forbidden. Conflict: the listing has `MAX_PHOTOS` already.
    """
    with transaction() as session:
        service.lock_for(who, session, equipment_id, Action.PHOTO_ADDED)
        photos = repository.list_photos(session, equipment_id)
        if len(photos) >= MAX_PHOTOS:
            raise Conflict(f"A listing has at most {MAX_PHOTOS} photos; remove one first.")
        if is_primary:
            repository.clear_primary_photo(session, equipment_id)
        return repository.add_photo(
            session,
            equipment_id,
            photo_url=photo_url,
            is_primary=is_primary or not photos,
            order_index=photos[-1].order_index + 1 if photos else 0,
        )


def remove(who: Identity, equipment_id: UUID, photo_id: UUID, *, only_if: Precondition = UNCONDITIONAL) -> None:
    """Remove a photo; was it the primary one, the next in order becomes it. The condition is one of the listing.

    Raises:
        NotFound, Forbidden, PreconditionFailed.
    """
    with transaction() as session:
        service.lock_for(who, session, equipment_id, Action.PHOTO_REMOVED, only_if=only_if)
        was_primary = repository.delete_photo(session, equipment_id, photo_id)
        remaining = repository.list_photos(session, equipment_id)
        if was_primary and remaining:
            repository.set_primary_photo(session, remaining[0].id)

"""SQL of listings and their photos."""

from typing import Any
from uuid import UUID

from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from app.database import refusing
from app.equipment import search as query
from app.equipment.criteria import Search
from app.equipment.projection import EquipmentItem, EquipmentState, item, item_columns
from app.errors import InvalidInput, NotFound
from app.models import Equipment, EquipmentPhoto
from app.paging import Page, Position, encode_cursor


def search(session: Session, wanted: Search) -> Page[EquipmentItem]:
    """One page and the exact total, in one statement."""
    rows = session.execute(query.statement(wanted)).all()
    found = [row for row in rows if row.id is not None]
    shown = found[: wanted.page.limit]
    number = wanted.position.page if wanted.position else wanted.page.page
    next_cursor = None
    if len(found) > len(shown):
        last = shown[-1]
        position = Position(page=number + 1, key=last.sort_key, id=str(last.id))
        next_cursor = encode_cursor(position, of_list=wanted.list_name)
    has_distance = wanted.filters.point is not None
    return Page(
        items=[item(row, has_distance=has_distance) for row in shown],
        total=rows[0].total,
        page=number,
        limit=wanted.page.limit,
        next_cursor=next_cursor,
    )


def get_item(session: Session, equipment_id: UUID) -> EquipmentItem:
    """One listing with its photos, in one statement."""
    row = session.execute(select(*item_columns()).where(Equipment.id == equipment_id)).one_or_none()
    if row is None:
        raise _no_such_equipment()
    return item(row)


def get_version(session: Session, equipment_id: UUID) -> int:
    """A listing's version, which its photos are part of. Raises NotFound."""
    version = session.scalar(select(Equipment.version).where(Equipment.id == equipment_id))
    if version is None:
        raise _no_such_equipment()
    return version


def lock_state(session: Session, equipment_id: UUID) -> EquipmentState:
    """What a listing is at this moment; it and its photos change by no other hand until the transaction ends.

    Raises:
        NotFound.
    """
    columns = Equipment.owner_id, Equipment.title, Equipment.is_available, Equipment.version
    row = session.execute(select(*columns).where(Equipment.id == equipment_id).with_for_update()).one_or_none()
    if row is None:
        raise _no_such_equipment()
    return EquipmentState(**row._mapping)


def add_equipment(session: Session, owner_id: UUID, values: dict[str, Any]) -> UUID:
    """A new listing's id.

    Raises:
        InvalidInput: its category is unknown. NotFound: its owner was deleted meanwhile.
    """
    with refusing(fk_equipment_category_id=_unknown_category, fk_equipment_owner_id=_no_such_owner):
        return session.execute(
            insert(Equipment).values(owner_id=owner_id, **values).returning(Equipment.id)
        ).scalar_one()


def update_equipment(session: Session, equipment_id: UUID, values: dict[str, Any]) -> None:
    """Change a listing. Raises InvalidInput when its new category is unknown."""
    with refusing(fk_equipment_category_id=_unknown_category):
        session.execute(update(Equipment).where(Equipment.id == equipment_id).values(**values))


def delete_equipment(session: Session, equipment_id: UUID) -> None:
    """Remove a listing; its photos go with it."""
    session.execute(delete(Equipment).where(Equipment.id == equipment_id))


def _no_such_equipment() -> NotFound:
    return NotFound("There is no such equipment.")


def _no_such_owner() -> NotFound:
    return NotFound("There is no such user.")


def _unknown_category() -> InvalidInput:
    return InvalidInput.of("category_id", "There is no such category.", "unknown_reference")


def list_photos(session: Session, equipment_id: UUID) -> list[EquipmentPhoto]:
    """A listing's photos in their order (`photos.MAX_PHOTOS` at most)."""
    of_this = select(EquipmentPhoto).where(EquipmentPhoto.equipment_id == equipment_id)
    return list(session.scalars(of_this.order_by(EquipmentPhoto.order_index)))


def add_photo(session: Session, equipment_id: UUID, **values: Any) -> EquipmentPhoto:
    """A new photo of a listing that the transaction has locked."""
    statement = insert(EquipmentPhoto).values(equipment_id=equipment_id, **values).returning(EquipmentPhoto)
    return session.scalars(statement).one()


def delete_photo(session: Session, equipment_id: UUID, photo_id: UUID) -> bool:
    """Remove a photo of this listing, and tell whether it was the primary one. Raises NotFound."""
    was_primary: bool | None = session.scalar(
        delete(EquipmentPhoto)
        .where(EquipmentPhoto.equipment_id == equipment_id, EquipmentPhoto.id == photo_id)
        .returning(EquipmentPhoto.is_primary)
    )
    if was_primary is None:
        raise NotFound("There is no such photo of this equipment.")
    return was_primary


def clear_primary_photo(session: Session, equipment_id: UUID) -> None:
    """Leave a listing without a primary photo, for the one that comes next in the transaction."""
    primary = EquipmentPhoto.equipment_id == equipment_id, EquipmentPhoto.is_primary
    session.execute(update(EquipmentPhoto).where(*primary).values(is_primary=False))


def set_primary_photo(session: Session, photo_id: UUID) -> None:
    """Make a photo the primary one; there must be no other."""
    session.execute(update(EquipmentPhoto).where(EquipmentPhoto.id == photo_id).values(is_primary=True))

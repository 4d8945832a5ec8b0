"""SQL of listings and their photos."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Connection, Uuid, any_, bindparam, delete, insert, select, update
from sqlalchemy.orm import Session

from app.db import prepared
from app.db.prepared import PreparedStatement
from app.db.session import translate_integrity_errors
from app.equipment.document import EquipmentDocument, EquipmentPage, EquipmentState, document_columns
from app.equipment.search import Search, query_shape, query_values, search_statement
from app.errors import InvalidInput, NotFound
from app.models import Equipment, EquipmentPhoto, Role, User
from app.paging import Position, encode_cursor

_IS_ONE_OF = Equipment.id == any_(bindparam("ids", type_=ARRAY(Uuid)))
_GET_ITEMS = PreparedStatement("get_items", select(*document_columns()).where(_IS_ONE_OF))
_GET_VERSIONS = PreparedStatement("get_versions", select(Equipment.id, Equipment.version).where(_IS_ONE_OF))


def search(executor: Session | Connection, wanted: Search) -> EquipmentPage:
    """One page and the exact total, in one statement. Raises InvalidInput for a cursor of another scope."""
    rows = prepared.execute(executor, search_statement(query_shape(wanted)), query_values(wanted))
    total = rows[0].total
    found = [(key, EquipmentDocument(*document)) for _, key, *document in rows if document[0] is not None]
    shown = found[: wanted.page.limit]
    number = wanted.position.page if wanted.position else wanted.page.page
    is_last = len(found) == len(shown) if wanted.position else wanted.offset + len(shown) >= total
    next_cursor = None
    if shown and not is_last:
        key, last = shown[-1]
        next_cursor = encode_cursor(Position(page=number + 1, key=key, id=str(last.id)), of_list=wanted.cursor_scope)
    items = [document for _, document in shown]
    return EquipmentPage(items=items, total=total, page=number, limit=wanted.page.limit, next_cursor=next_cursor)


def get_items(executor: Session | Connection, ids: Sequence[UUID]) -> dict[UUID, EquipmentDocument]:
    """Those of these listings that there are, with their photos, in one statement."""
    rows = prepared.execute(executor, _GET_ITEMS, {"ids": list(ids)})
    return {row.id: EquipmentDocument(*row) for row in rows}


def get_versions(executor: Session | Connection, ids: Sequence[UUID]) -> dict[UUID, int]:
    """The versions of those of these listings that there are; a listing's photos are part of it."""
    rows = prepared.execute(executor, _GET_VERSIONS, {"ids": list(ids)})
    return {row.id: row.version for row in rows}


def get_item(executor: Session | Connection, equipment_id: UUID) -> EquipmentDocument:
    """One listing with its photos. Raises NotFound."""
    found = get_items(executor, [equipment_id]).get(equipment_id)
    if found is None:
        raise no_such_equipment()
    return found


def lock_state(session: Session, equipment_id: UUID) -> EquipmentState:
    """What a listing is at this moment; it and its photos change by no other hand until the transaction ends.

    Raises:
        NotFound.
    """
    columns = Equipment.owner_id, Equipment.title, Equipment.is_available, Equipment.version
    row = session.execute(select(*columns).where(Equipment.id == equipment_id).with_for_update()).one_or_none()
    if row is None:
        raise no_such_equipment()
    return EquipmentState(**row._mapping)


def lock_role(session: Session, user_id: UUID) -> Role:
    """A user's role, which no other transaction changes until this one ends. Raises NotFound."""
    role = session.scalar(select(User.role).where(User.id == user_id).with_for_update(read=True))
    if role is None:
        raise _no_such_owner()
    return role


def add_equipment(session: Session, owner_id: UUID, values: dict[str, Any]) -> UUID:
    """A new listing's id.

    Raises:
        InvalidInput: its category is unknown. NotFound: its owner was deleted meanwhile.
    """
    with translate_integrity_errors(fk_equipment_category_id=_unknown_category, fk_equipment_owner_id=_no_such_owner):
        return session.execute(
            insert(Equipment).values(owner_id=owner_id, **values).returning(Equipment.id)
        ).scalar_one()


def update_equipment(session: Session, equipment_id: UUID, values: dict[str, Any]) -> None:
    """Change a listing. Raises InvalidInput when its new category is unknown."""
    with translate_integrity_errors(fk_equipment_category_id=_unknown_category):
        session.execute(update(Equipment).where(Equipment.id == equipment_id).values(**values))


def delete_equipment(session: Session, equipment_id: UUID) -> None:
    """Remove a listing; its photos go with it."""
    session.execute(delete(Equipment).where(Equipment.id == equipment_id))


def no_such_equipment() -> NotFound:
    """The one error of an unknown listing."""
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

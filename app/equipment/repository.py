"""SQL of listings, their photos and categories."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection, Row, delete, insert, select, text, update
from sqlalchemy.orm import Session

from app.common.paging import Position, encode_cursor
from app.db import prepared
from app.db.prepared import PreparedStatement
from app.db.session import translate_integrity_errors
from app.equipment.criteria import Search, query_shape, query_values
from app.equipment.document import EquipmentDocument, EquipmentPage, document_columns
from app.equipment.search import search_statement
from app.errors import Conflict, InvalidInput, NotFound, Problem, existing
from app.models import Category, Equipment, EquipmentPhoto, Role, User

MAX_CATEGORIES = 5_000

_IS_ONE_OF = Equipment.id == sa.any_(sa.bindparam("ids", type_=sa.ARRAY(sa.Uuid)))
_GET_ITEMS = PreparedStatement("get_items", select(*document_columns()).where(_IS_ONE_OF))
_GET_VERSIONS = PreparedStatement("get_versions", select(Equipment.id, Equipment.version).where(_IS_ONE_OF))

# The errors of violated constraints.
_unknown_owner = partial(NotFound, "There is no such user.")
_unknown_category = partial(InvalidInput.of, "category_id", "There is no such category.", "unknown_reference")
_unknown_parent = partial(InvalidInput.of, "parent_id", "There is no such category.", "unknown_reference")
_has_listings = partial(Conflict, "There are listings in this category; move them to another one first.")
_has_children = partial(Conflict, "There are categories below this one; move or delete them first.")


def _name_taken() -> Conflict:
    message = "There is a category of this name in the same place."
    return Conflict(message, details=[Problem("name", message, "taken")])


_translates_category_errors = translate_integrity_errors(
    fk_categories_parent_id=_unknown_parent,
    uq_categories_root_name=_name_taken,
    uq_categories_parent_id_name=_name_taken,
)


def search(executor: Session | Connection, wanted: Search) -> EquipmentPage:
    """One page and the exact total, in one statement. Raises InvalidInput for a cursor of another scope."""
    rows = prepared.execute(executor, search_statement(query_shape(wanted)), query_values(wanted))
    total = rows[0].total
    found = [(key, EquipmentDocument(*document)) for _, key, *document in rows if document[0] is not None]
    shown = found[: wanted.page.limit]
    number = wanted.position.page if wanted.position else wanted.page.page
    is_last = len(found) == len(shown) if wanted.position else wanted.page.offset + len(shown) >= total
    next_cursor = None
    if shown and not is_last:
        key, last = shown[-1]
        next_cursor = encode_cursor(Position(page=number + 1, key=key, id=str(last.id)), of_list=wanted.cursor_scope)
    items = [document for _, document in shown]
    return EquipmentPage(items=items, total=total, page=number, limit=wanted.page.limit, next_cursor=next_cursor)


def get_items(executor: Session | Connection, ids: Sequence[UUID]) -> dict[UUID, EquipmentDocument]:
    """The existing ones of these listings, with their photos."""
    rows = prepared.execute(executor, _GET_ITEMS, {"ids": list(ids)})
    return {row.id: EquipmentDocument(*row) for row in rows}


def get_versions(executor: Session | Connection, ids: Sequence[UUID]) -> dict[UUID, int]:
    """The versions of the existing ones of these listings. A version covers the photos."""
    rows = prepared.execute(executor, _GET_VERSIONS, {"ids": list(ids)})
    return {row.id: row.version for row in rows}


def get_item(executor: Session | Connection, equipment_id: UUID) -> EquipmentDocument:
    """One listing with its photos. Raises NotFound."""
    return existing(get_items(executor, [equipment_id]).get(equipment_id), "equipment")


def lock_equipment(session: Session, equipment_id: UUID) -> Equipment:
    """Lock a listing and its photos against changes by other transactions. Raises NotFound."""
    return existing(session.get(Equipment, equipment_id, with_for_update=True), "equipment")


def lock_role(session: Session, user_id: UUID) -> Role:
    """Lock a user's role against changes by other transactions. Raises NotFound."""
    role = select(User.role).where(User.id == user_id).with_for_update(read=True)
    return existing(session.scalar(role), "user")


def add_equipment(session: Session, owner_id: UUID, values: Mapping[str, Any]) -> UUID:
    """Insert a listing and return its id. Raises InvalidInput (unknown category), NotFound (the owner was deleted)."""
    statement = insert(Equipment).values(owner_id=owner_id, **values).returning(Equipment.id)
    with translate_integrity_errors(fk_equipment_category_id=_unknown_category, fk_equipment_owner_id=_unknown_owner):
        return session.execute(statement).scalar_one()


def update_equipment(session: Session, equipment_id: UUID, values: Mapping[str, Any]) -> bool:
    """Change a listing and return whether a value differs. Equal values write nothing: the version stays.

    Raises InvalidInput (the category is unknown).
    """
    differs = sa.or_(sa.false(), *(getattr(Equipment, name).is_distinct_from(value) for name, value in values.items()))
    statement = update(Equipment).where(Equipment.id == equipment_id, differs).values(**values).returning(Equipment.id)
    with translate_integrity_errors(fk_equipment_category_id=_unknown_category):
        return session.scalar(statement, execution_options={"synchronize_session": False}) is not None


def delete_equipment(session: Session, equipment_id: UUID) -> None:
    """Delete a listing with its photos."""
    session.execute(delete(Equipment).where(Equipment.id == equipment_id))


def list_photos(session: Session, equipment_id: UUID) -> list[EquipmentPhoto]:
    """A listing's photos in their order: `photos.MAX_PHOTOS` at most."""
    photos = select(EquipmentPhoto).where(EquipmentPhoto.equipment_id == equipment_id)
    return list(session.scalars(photos.order_by(EquipmentPhoto.order_index)))


def add_photo(session: Session, equipment_id: UUID, **values: Any) -> EquipmentPhoto:
    """Insert a photo of a locked listing."""
    statement = insert(EquipmentPhoto).values(equipment_id=equipment_id, **values).returning(EquipmentPhoto)
    return session.scalars(statement).one()


def delete_photo(session: Session, equipment_id: UUID, photo_id: UUID) -> bool:
    """Delete a photo of a listing and return whether it was the primary one. Raises NotFound."""
    photo = EquipmentPhoto.equipment_id == equipment_id, EquipmentPhoto.id == photo_id
    was_primary: bool | None = session.scalar(delete(EquipmentPhoto).where(*photo).returning(EquipmentPhoto.is_primary))
    return existing(was_primary, "photo of this equipment")


def clear_primary_photo(session: Session, equipment_id: UUID) -> None:
    """Make a listing's primary photo an ordinary one."""
    primary = EquipmentPhoto.equipment_id == equipment_id, EquipmentPhoto.is_primary
    session.execute(update(EquipmentPhoto).where(*primary).values(is_primary=False))


def set_primary_photo(session: Session, photo_id: UUID) -> None:
    """Make a photo the primary one of a listing that has none."""
    session.execute(update(EquipmentPhoto).where(EquipmentPhoto.id == photo_id).values(is_primary=True))


def list_categories(session: Session) -> Sequence[Row[UUID, str, UUID | None, datetime]]:
    """Id, name, parent id and creation time of every category, by name: `MAX_CATEGORIES` at most."""
    columns = Category.id, Category.name, Category.parent_id, Category.created_at
    return session.execute(select(*columns).order_by(Category.name, Category.id).limit(MAX_CATEGORIES)).all()


def lock_categories(session: Session) -> None:
    """Lock all categories against changes, but not against reads and new listings (PostgreSQL, "Table-Level Locks")."""
    session.execute(text("LOCK TABLE categories IN SHARE ROW EXCLUSIVE MODE"))


@_translates_category_errors
def add_category(session: Session, **values: Any) -> UUID:
    """Insert a category and return its id. Raises InvalidInput (unknown parent), Conflict (a sibling has its name)."""
    return session.execute(insert(Category).values(**values).returning(Category.id)).scalar_one()


@_translates_category_errors
def update_category(session: Session, category_id: UUID, values: Mapping[str, Any]) -> None:
    """Change a category. Raises as `add_category`."""
    session.execute(update(Category).where(Category.id == category_id).values(**values))


def delete_category(session: Session, category_id: UUID) -> None:
    """Delete a category. Raises Conflict (it has listings or child categories)."""
    with translate_integrity_errors(fk_equipment_category_id=_has_listings, fk_categories_parent_id=_has_children):
        session.execute(delete(Category).where(Category.id == category_id))

"""SQL of categories."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, delete, insert, select, text, update
from sqlalchemy.orm import Session

from app.db.session import translate_integrity_errors
from app.errors import Conflict, InvalidInput, Problem
from app.models import Category

MAX_CATEGORIES = 5_000


def list_categories(session: Session) -> Sequence[Row[UUID, str, UUID | None, datetime]]:
    """Id, name, parent and age of every category, by name: `MAX_CATEGORIES` at most."""
    columns = Category.id, Category.name, Category.parent_id, Category.created_at
    return session.execute(select(*columns).order_by(Category.name, Category.id).limit(MAX_CATEGORIES)).all()


def lock_tree(session: Session) -> None:
    """Let nobody else change any category until the transaction ends, whatever way they come.

    Whoever reads goes on, and so does whoever lists equipment in one (PostgreSQL, "Table-Level Locks").
    """
    session.execute(text("LOCK TABLE categories IN SHARE ROW EXCLUSIVE MODE"))


def add_category(session: Session, values: dict[str, Any]) -> UUID:
    """A new category's id. Raises InvalidInput: its parent is unknown. Conflict: a sibling has its name."""
    with _translate_place_errors():
        return session.execute(insert(Category).values(**values).returning(Category.id)).scalar_one()


def update_category(session: Session, category_id: UUID, values: dict[str, Any]) -> None:
    """Change a category. Raises as `add_category`."""
    with _translate_place_errors():
        session.execute(update(Category).where(Category.id == category_id).values(**values))


def delete_category(session: Session, category_id: UUID) -> None:
    """Remove a category. Raises Conflict: there is a listing in it, or a category below it."""
    with translate_integrity_errors(fk_equipment_category_id=_has_listings, fk_categories_parent_id=_has_children):
        session.execute(delete(Category).where(Category.id == category_id))


def _translate_place_errors() -> AbstractContextManager[None]:
    return translate_integrity_errors(
        fk_categories_parent_id=unknown_parent,
        uq_categories_root_name=_name_taken,
        uq_categories_parent_id_name=_name_taken,
    )


def unknown_parent() -> InvalidInput:
    """The one error of a parent that is not there."""
    return InvalidInput.of("parent_id", "There is no such category.", "unknown_reference")


def _name_taken() -> Conflict:
    message = "There is a category of this name in the same place."
    return Conflict(message, details=[Problem("name", message, "taken")])


def _has_listings() -> Conflict:
    return Conflict("There are listings in this category; move them to another one first.")


def _has_children() -> Conflict:
    return Conflict("There are categories below this one; move or delete them first.")

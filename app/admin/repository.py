"""SQL of moderation. A row has the fields of its schema in `app.admin.schemas`, and the version for its ETag."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, SQLColumnExpression, Subquery, any_, func, or_, select, true
from sqlalchemy.orm import Session

from app.common.paging import Page, PageRequest, Position, decode_cursor, encode_cursor, invalid_cursor
from app.equipment.search import category_subtree
from app.errors import existing
from app.models import AuditEntry, Category, Equipment, User

Filters = Mapping[str, Any]

_EQUIPMENT_COUNT = select(func.count()).select_from(Equipment).where(Equipment.owner_id == User.id).correlate(User)
_USERS = select(
    *(User.id, User.email, User.role, User.username, User.full_name, User.created_at, User.version),
    _EQUIPMENT_COUNT.label("equipment_count"),
)
_EQUIPMENT: Select[*tuple[Any, ...]] = (
    select(
        *(Equipment.id, Equipment.title, Equipment.owner_id, User.email.label("owner_email")),
        *(Equipment.category_id, Category.name.label("category_name")),
        *(Equipment.daily_rate, Equipment.is_available, Equipment.created_at, Equipment.version),
    )
    .join(User, User.id == Equipment.owner_id)
    .join(Category, Category.id == Equipment.category_id)
)
_ENTRIES = select(
    *(AuditEntry.id, AuditEntry.created_at, AuditEntry.actor_id, User.username.label("actor_username")),
    *(AuditEntry.action, AuditEntry.subject_id, AuditEntry.before, AuditEntry.after, AuditEntry.request_id),
).outerjoin(User, User.id == AuditEntry.actor_id)


def _contains(*columns: SQLColumnExpression[Any]) -> Callable[[str], ColumnElement[bool]]:
    """A condition that one of the columns contains a text, in any case; the text holds no wildcards.

    It reads every row, without an index: half a second for 200,000 users.
    """
    return lambda text: or_(*(func.strpos(func.lower(column), func.lower(text)) > 0 for column in columns))


# The condition of each filter, by the filter's name.
_USER_CONDITIONS: dict[str, Callable[[Any], ColumnElement[bool]]] = {
    "search": _contains(User.email, User.username, User.full_name),
    "role": User.role.__eq__,
}
_EQUIPMENT_CONDITIONS: dict[str, Callable[[Any], ColumnElement[bool]]] = {
    "search": _contains(Equipment.title, User.email),
    "owner_id": Equipment.owner_id.__eq__,
    "category_id": lambda category_id: Equipment.category_id == any_(category_subtree(category_id)),
    "is_available": Equipment.is_available.is_,
}
_ENTRY_CONDITIONS: dict[str, Callable[[Any], ColumnElement[bool]]] = {
    "actor_id": AuditEntry.actor_id.__eq__,
    "action": AuditEntry.action.__eq__,
    "subject_id": AuditEntry.subject_id.__eq__,
    "since": AuditEntry.created_at.__ge__,
    "until": AuditEntry.created_at.__lt__,
}


def get_stats(session: Session) -> Row[Any]:
    """Exact counts at one moment."""
    equipment = select(
        func.count().label("total_equipment"),
        func.count().filter(Equipment.is_available).label("available_equipment"),
    ).subquery()
    users = select(func.count()).select_from(User).scalar_subquery()
    categories = select(func.count()).select_from(Category).scalar_subquery()
    return session.execute(select(users.label("total_users"), categories.label("total_categories"), *equipment.c)).one()


def get_user(session: Session, user_id: UUID) -> Row[Any]:
    """One user. Raises NotFound."""
    return existing(session.execute(_USERS.where(User.id == user_id)).one_or_none(), "user")


def list_users(session: Session, filters: Filters, page: PageRequest) -> Page[Row[Any]]:
    """A page of the users, newest first, and the exact total, in one statement."""
    conditions = (_USER_CONDITIONS[name](value) for name, value in filters.items())
    return _numbered_page(session, page, select(User.id, User.created_at).where(*conditions), _USERS, User.id)


def get_equipment(session: Session, equipment_id: UUID) -> Row[Any]:
    """One listing. Raises NotFound."""
    return existing(session.execute(_EQUIPMENT.where(Equipment.id == equipment_id)).one_or_none(), "equipment")


def list_equipment(session: Session, filters: Filters, page: PageRequest) -> Page[Row[Any]]:
    """A page of the listings, newest first, and the exact total, in one statement."""
    conditions = (_EQUIPMENT_CONDITIONS[name](value) for name, value in filters.items())
    matching = select(Equipment.id, Equipment.created_at).where(*conditions)
    if "search" in filters:  # otherwise the owners are joined for the page alone
        matching = matching.join(User, User.id == Equipment.owner_id)
    return _numbered_page(session, page, matching, _EQUIPMENT, Equipment.id)


def list_entries(session: Session, filters: Filters, page: PageRequest) -> Page[Row[Any]]:
    """A page of the audit log, newest first, and the exact total. Raises InvalidInput for a foreign cursor."""
    scope = "audit log", *sorted(filters.items())
    position = decode_cursor(page.cursor, of_list=scope) if page.cursor else None
    conditions = [_ENTRY_CONDITIONS[name](value) for name, value in filters.items()]
    counted = select(func.count().label("total")).select_from(AuditEntry).where(*conditions).subquery("counted")
    # The row after the page tells whether there is a next page.
    entries = _ENTRIES.where(*conditions).order_by(AuditEntry.id.desc()).limit(page.limit + 1).offset(page.offset)
    if position is not None:
        entries = entries.where(AuditEntry.id < _entry_id(position))
    shown = entries.subquery("shown")
    found, total = _rows_and_total(session, counted, shown, shown.c.id.desc())
    number = position.page if position else page.page
    items, next_cursor = found[: page.limit], None
    if len(found) > len(items):
        after = Position(page=number + 1, key=None, id=str(items[-1].id))
        next_cursor = encode_cursor(after, of_list=scope)
    return Page(items=items, total=total, page=number, limit=page.limit, next_cursor=next_cursor)


def _entry_id(position: Position) -> int:
    try:
        return int(position.id)
    except ValueError as error:
        raise invalid_cursor() from error


def _numbered_page(
    session: Session, page: PageRequest, matching: Select[UUID, datetime], details: Select[*tuple[Any, ...]], key: Any
) -> Page[Row[Any]]:
    """A page of the details of the matches, newest first, and the exact total; the matches are read once for both."""
    matches = matching.cte("matching")
    counted = select(func.count().label("total")).select_from(matches).subquery("counted")
    ids = select(matches.c.id).order_by(matches.c.created_at.desc(), matches.c.id)
    shown = details.where(key.in_(ids.limit(page.limit).offset(page.offset))).subquery("shown")
    items, total = _rows_and_total(session, counted, shown, shown.c.created_at.desc(), shown.c.id)
    return Page(items=items, total=total, page=page.page, limit=page.limit, next_cursor=None)


def _rows_and_total(
    session: Session, counted: Subquery, shown: Subquery, *order: ColumnElement[Any]
) -> tuple[Sequence[Row[Any]], int]:
    """The rows, each with a `total`, and the total, which an empty page has as well."""
    rows = session.execute(select(counted.c.total, shown).outerjoin(shown, true()).order_by(*order)).all()
    return [row for row in rows if row.id is not None], rows[0].total

"""SQL of what admins see."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import CTE, ColumnElement, Select, SQLColumnExpression, Subquery, func, or_, select, true
from sqlalchemy.orm import Session

from app.admin.criteria import AuditFilters, AuditSearch, EquipmentFilters, UserFilters
from app.admin.projection import AuditRow, EquipmentRow, Stats, UserRow
from app.errors import NotFound
from app.models import AuditEntry, Category, Equipment, User
from app.paging import Page, PageRequest, Position, encode_cursor, invalid_cursor

Item = TypeVar("Item")

_EQUIPMENT_COUNT = (
    select(func.count()).select_from(Equipment).where(Equipment.owner_id == User.id).correlate(User).scalar_subquery()
)
_USER = (
    *(User.id, User.email, User.role, User.username, User.full_name, User.created_at, User.version),
    _EQUIPMENT_COUNT.label("equipment_count"),
)
_EQUIPMENT = (
    *(Equipment.id, Equipment.title, Equipment.owner_id, User.email.label("owner_email")),
    *(Equipment.category_id, Category.name.label("category_name")),
    *(Equipment.daily_rate, Equipment.is_available, Equipment.created_at, Equipment.version),
)

_ENTRY = (
    *(AuditEntry.id, AuditEntry.created_at, AuditEntry.actor_id, User.username.label("actor_username")),
    *(AuditEntry.action, AuditEntry.subject_id, AuditEntry.before, AuditEntry.after, AuditEntry.request_id),
)


def get_stats(session: Session) -> Stats:
    """How much there is at one moment, exactly."""
    equipment = select(
        func.count().label("total_equipment"),
        func.count().filter(Equipment.is_available).label("available_equipment"),
    ).subquery()
    users = select(func.count()).select_from(User).scalar_subquery()
    categories = select(func.count()).select_from(Category).scalar_subquery()
    row = session.execute(select(users.label("total_users"), categories.label("total_categories"), *equipment.c)).one()
    return Stats(**row._mapping)


def get_user(session: Session, user_id: UUID) -> UserRow:
    """One user. Raises NotFound."""
    row = session.execute(select(*_USER).where(User.id == user_id)).one_or_none()
    if row is None:
        raise NotFound("There is no such user.")
    return UserRow(**row._mapping)


def list_users(session: Session, filters: UserFilters, page: PageRequest) -> Page[UserRow]:
    """A page of the users, newest first, and the exact total, in one statement."""
    matching = select(User.id, User.created_at).where(*_of_users(filters)).cte("matching")
    return _read(session, matching, page, select(*_USER).where(User.id.in_(_cut(matching, page))), UserRow)


def get_equipment(session: Session, equipment_id: UUID) -> EquipmentRow:
    """One listing. Raises NotFound."""
    row = session.execute(_equipment().where(Equipment.id == equipment_id)).one_or_none()
    if row is None:
        raise NotFound("There is no such equipment.")
    return EquipmentRow(**row._mapping)


def list_equipment(
    session: Session, filters: EquipmentFilters, page: PageRequest, *, category_ids: Sequence[UUID] | None
) -> Page[EquipmentRow]:
    """A page of the listings, newest first, and the exact total, in one statement; those in these categories."""
    conditions = list(_of_equipment(filters))
    if category_ids is not None:
        conditions.append(Equipment.category_id.in_(category_ids))
    every = select(Equipment.id, Equipment.created_at)
    if filters.search is not None:  # else the owners are looked up for the page alone
        every = every.join(User, User.id == Equipment.owner_id)
    matching = every.where(*conditions).cte("matching")
    return _read(session, matching, page, _equipment().where(Equipment.id.in_(_cut(matching, page))), EquipmentRow)


def list_entries(session: Session, wanted: AuditSearch) -> Page[AuditRow]:
    """A page of the audit log, newest first, and the exact total, in one statement."""
    conditions = list(_of_entries(wanted.filters))
    counted = select(func.count().label("total")).select_from(AuditEntry).where(*conditions).subquery("counted")
    entries = select(*_ENTRY).outerjoin(User, User.id == AuditEntry.actor_id)
    entries = entries.where(*conditions, *_behind(wanted.position)).order_by(AuditEntry.id.desc())
    # One more than is shown tells whether there is a next page.
    shown = entries.limit(wanted.page.limit + 1).offset(_offset(wanted.page)).subquery("shown")
    found, total = _items(session, counted, shown, AuditRow, shown.c.id.desc())
    number = wanted.position.page if wanted.position else wanted.page.page
    items, next_cursor = found[: wanted.page.limit], None
    if len(found) > len(items):
        position = Position(page=number + 1, key=None, id=str(items[-1].id))
        next_cursor = encode_cursor(position, of_list=wanted.list_name)
    return Page(items=items, total=total, page=number, limit=wanted.page.limit, next_cursor=next_cursor)


def _equipment() -> Select[*tuple[Any, ...]]:
    """Listings with their owners and categories, of which each has one."""
    joined = select(*_EQUIPMENT).join(User, User.id == Equipment.owner_id)
    return joined.join(Category, Category.id == Equipment.category_id)


def _of_users(filters: UserFilters) -> Iterator[ColumnElement[bool]]:
    if filters.search is not None:
        yield _any_contains(filters.search, User.email, User.username, User.full_name)
    if filters.role is not None:
        yield User.role == filters.role


def _of_equipment(filters: EquipmentFilters) -> Iterator[ColumnElement[bool]]:
    if filters.search is not None:
        yield _any_contains(filters.search, Equipment.title, User.email)
    if filters.owner_id is not None:
        yield Equipment.owner_id == filters.owner_id
    if filters.is_available is not None:
        yield Equipment.is_available.is_(filters.is_available)


def _any_contains(text: str, *columns: SQLColumnExpression[Any]) -> ColumnElement[bool]:
    """Whether a column holds this very text, in any case. No pattern: nothing in the text is a wildcard.

    It reads every row, with no index: half a second for 200,000 users, which an admin now and then may take.
    """
    return or_(*(func.strpos(func.lower(column), func.lower(text)) > 0 for column in columns))


def _of_entries(filters: AuditFilters) -> Iterator[ColumnElement[bool]]:
    if filters.actor_id is not None:
        yield AuditEntry.actor_id == filters.actor_id
    if filters.action is not None:
        yield AuditEntry.action == filters.action.value
    if filters.subject_id is not None:
        yield AuditEntry.subject_id == filters.subject_id
    if filters.since is not None:
        yield AuditEntry.created_at >= filters.since
    if filters.until is not None:
        yield AuditEntry.created_at < filters.until


def _behind(position: Position | None) -> Iterator[ColumnElement[bool]]:
    if position is not None:
        try:
            yield AuditEntry.id < int(position.id)
        except ValueError as error:
            raise invalid_cursor() from error


def _offset(page: PageRequest) -> int:
    return 0 if page.cursor else (page.page - 1) * page.limit


def _cut(matching: CTE, page: PageRequest) -> Select[UUID]:
    """The ids of a page of what matches, newest first."""
    newest_first = matching.c.created_at.desc(), matching.c.id
    return select(matching.c.id).order_by(*newest_first).limit(page.limit).offset(_offset(page))


def _read(
    session: Session, matching: CTE, page: PageRequest, details: Select[Any], make: Callable[..., Item]
) -> Page[Item]:
    """A page with these details, and how many match, who are looked up once for both."""
    counted = select(func.count().label("total")).select_from(matching).subquery("counted")
    shown = details.subquery("shown")
    items, total = _items(session, counted, shown, make, shown.c.created_at.desc(), shown.c.id)
    return Page(items=items, total=total, page=page.page, limit=page.limit, next_cursor=None)


def _items(
    session: Session, counted: Subquery, shown: Subquery, make: Callable[..., Item], *order: ColumnElement[Any]
) -> tuple[list[Item], int]:
    """Everything shown, and the total, which is there even where nothing is."""
    rows = session.execute(select(counted.c.total, shown).outerjoin(shown, true()).order_by(*order)).all()
    found = [row._mapping for row in rows if row.id is not None]
    return [make(**{column.key: row[column.key] for column in shown.c}) for row in found], rows[0].total

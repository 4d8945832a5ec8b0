"""The search of listings: its criteria, and the one SQL statement that returns a page and the exact total.

    shape = query_shape(search)
    rows = prepared.execute(connection, search_statement(shape), query_values(search))

Searches that differ only in their values have equal shapes and share one prepared statement. Each filter adds one
condition. The total and the page come from one snapshot, in one of three ways:

- Where all matches have to be read to be ordered, they are read once, and counted on the way.
- Where the filters are those of `equipment_tally`, it gives the total, and an index leads to the page.
- Otherwise the matches are counted, and an index leads to the page.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from geoalchemy2 import Geometry
from sqlalchemy import ColumnElement, Select, SQLColumnExpression, and_, bindparam, cast, func, or_, select
from sqlalchemy.types import TypeEngine

from app.common.geo import BoundingBox, GeographyText, Point
from app.common.paging import MAX_LIMIT, PageRequest, Position, decode_cursor, fingerprint, invalid_cursor, time_of_key
from app.db.prepared import PreparedStatement
from app.equipment.document import as_geometry, distance_metres, document_columns, longitude_latitude
from app.equipment.words import split_words, tsquery, word_values
from app.models import Category, Condition, Equipment, EquipmentTally

MAX_STATEMENTS = 512
EDGES = ("west", "south", "east", "north")
NEAR_METRES = 25_000.0  # up to this radius the spatial index is the best way to the matches of any point
REACH_MARGIN_METRES = 1.0  # far above any rounding error
# Filters that leave few enough listings to read each of them, and those that the tally counts. A point excludes none.
SELECTIVE = frozenset({"radius_metres", "bbox", "words", "category_id", "owner_id"})
TALLIED = frozenset({"category_id", "is_available", "point"})


class Sort(StrEnum):
    """The orders of the list. The id breaks ties."""

    DISTANCE = "distance"
    NEWEST = "newest"
    PRICE_ASC = "price_asc"
    PRICE_DESC = "price_desc"
    RELEVANCE = "relevance"


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Conditions on a listing; None is no condition. `radius_metres` is from `point`; both prices are inclusive."""

    owner_id: UUID | None = None
    category_id: UUID | None = None
    min_price: Decimal | None = None
    max_price: Decimal | None = None
    point: Point | None = None
    radius_metres: float | None = None
    bbox: BoundingBox | None = None
    is_available: bool | None = None
    condition: Condition | None = None
    words: str | None = None


@dataclass(frozen=True, kw_only=True)
class Search:
    """Filters, an order and a page."""

    filters: Filters
    sort: Sort
    page: PageRequest

    @property
    def cursor_scope(self) -> str:
        """Equal for equal filters and order. A cursor is valid in the scope that it was made in."""
        return fingerprint(self.filters, self.sort)

    @property
    def offset(self) -> int:
        """The number of listings before the page; 0 with a cursor."""
        return 0 if self.page.cursor else (self.page.page - 1) * self.page.limit

    @property
    def fetch_limit(self) -> int:
        """The number of listings to read: with a cursor one more than the page has, to find a next page."""
        return self.page.limit + bool(self.page.cursor)

    @cached_property
    def position(self) -> Position | None:
        """The position that the cursor holds. Raises InvalidInput for a cursor of another scope."""
        return decode_cursor(self.page.cursor, of_list=self.cursor_scope) if self.page.cursor else None


@dataclass(frozen=True, kw_only=True)
class QueryShape:
    """What the SQL of a search depends on: the names of its filters, and not their values."""

    filters: frozenset[str]
    is_near: bool
    boxes: int
    words: int
    sort: Sort
    has_cursor: bool
    has_offset: bool

    @property
    def reads_all_matches(self) -> bool:
        """Whether all matches have to be read to be ordered, or are few enough to be."""
        is_selective = not self.filters.isdisjoint(SELECTIVE)
        return self.is_near or self.sort is Sort.RELEVANCE or (self.sort is Sort.DISTANCE and is_selective)


def query_shape(search: Search) -> QueryShape:
    """The shape of a search."""
    filters = search.filters
    return QueryShape(
        filters=frozenset(name for name, value in vars(filters).items() if value is not None),
        is_near=filters.radius_metres is not None and filters.radius_metres <= NEAR_METRES,
        boxes=0 if filters.bbox is None else len(filters.bbox.parts()),
        words=0 if filters.words is None else len(split_words(filters.words)),
        sort=search.sort,
        has_cursor=bool(search.page.cursor),
        has_offset=search.offset > 0,
    )


def query_values(search: Search) -> dict[str, Any]:
    """The values of the statement's parameters. Raises InvalidInput for a cursor of another scope."""
    filters, position = search.filters, search.position
    values = {**vars(filters), "fetch_limit": search.fetch_limit, "offset": search.offset}
    if filters.point is not None:
        values["point"] = filters.point.as_text()
    if filters.bbox is not None:
        for number, box in enumerate(filters.bbox.parts()):
            values |= {f"{edge}_{number}": getattr(box, edge) for edge in EDGES}
    if filters.words is not None:
        values |= word_values(filters.words)
    if position is not None:
        try:
            values |= {"after_key": _parse_key(search.sort, position.key), "after_id": UUID(position.id)}
        except (ValueError, InvalidOperation) as error:
            raise invalid_cursor() from error
    return values


def _parse_key(sort: Sort, key: str | None) -> Any:
    if key is None:
        return None
    if sort is Sort.NEWEST:
        return time_of_key(key)
    number = float(key)
    if not math.isfinite(number):
        raise ValueError("not finite")
    return number if sort in (Sort.DISTANCE, Sort.RELEVANCE) else Decimal(number).quantize(Decimal("0.01"))


# Parameters whose type does not follow from a column that they are compared with.
_POINT = bindparam("point", type_=GeographyText())
_RADIUS_METRES: sa.BindParameter[float] = bindparam("radius_metres", type_=sa.Double())
_OFFSET = bindparam("offset", type_=sa.Integer())
_FETCH_LIMIT = bindparam("fetch_limit", type_=sa.Integer())


@dataclass(frozen=True)
class _Order:
    """A sort key with its type and direction. The id, always ascending, breaks ties."""

    key: SQLColumnExpression[Any]
    type: TypeEngine[Any]
    descending: bool = False
    nullable: bool = False

    def by(self, rows: Any) -> tuple[ColumnElement[Any], ...]:
        """The ORDER BY of rows with a `key` and an `id`. PostgreSQL puts NULLs last in ascending order."""
        return rows.c.key.desc() if self.descending else rows.c.key.asc(), rows.c.id.asc()

    def after_cursor(self, key: SQLColumnExpression[Any], id_: SQLColumnExpression[Any]) -> ColumnElement[bool]:
        """Whether a row with this key and id is after the position of the cursor, whose key may be NULL, too."""
        position, is_after_id = bindparam("after_key", type_=self.type), id_ > bindparam("after_id")
        beyond, not_before = (key < position, key <= position) if self.descending else (key > position, key >= position)
        # `not_before` is redundant, but it is a condition that an index scan can start from.
        is_after = and_(not_before, or_(beyond, is_after_id))
        if not self.nullable:
            return is_after
        return or_(is_after, and_(key.is_(None), or_(position.is_not(None), is_after_id)))


def _order(shape: QueryShape) -> _Order:
    match shape.sort:
        case Sort.DISTANCE:
            return _Order(distance_metres(_POINT), sa.Double(), nullable=True)
        case Sort.PRICE_ASC | Sort.PRICE_DESC:
            return _Order(Equipment.daily_rate, sa.Numeric(), descending=shape.sort is Sort.PRICE_DESC)
        case Sort.RELEVANCE:
            rank = cast(func.ts_rank(Equipment.search, tsquery(shape.words)), sa.Double)
            return _Order(rank, sa.Double(), descending=True)
        case Sort.NEWEST:
            return _Order(Equipment.created_at, sa.DateTime(timezone=True), descending=True)


@lru_cache(maxsize=MAX_STATEMENTS)
def search_statement(shape: QueryShape) -> PreparedStatement:
    """The statement of all searches of a shape.

    It returns one row for each listing of the page, with the columns `total`, `sort_key` (text) and those of
    `document_columns`. An empty page is one row of the total and NULLs.
    """
    order = _order(shape)
    total, candidates = _matches_read_once(shape, order) if shape.reads_all_matches else _matches_counted(shape, order)
    begins_list = not shape.filters and not shape.has_offset
    if begins_list:
        # A generic plan takes a LIMIT without a constant for a tenth of all rows, which it would rather sort.
        candidates = select(candidates).order_by(*order.by(candidates)).limit(MAX_LIMIT + 1).subquery("first")
    page = select(candidates).order_by(*order.by(candidates)).limit(_FETCH_LIMIT).offset(_OFFSET)
    counted, rows = total.subquery("counted"), page.subquery("page")
    distance = None
    if "point" in shape.filters:
        distance = rows.c.key if shape.sort is Sort.DISTANCE else distance_metres(_POINT)
    statement = (
        select(counted.c.total, cast(rows.c.key, sa.Text).label("sort_key"), *document_columns(distance=distance))
        .select_from(counted)
        .outerjoin(rows, sa.true())
        .outerjoin(Equipment, Equipment.id == rows.c.id)
        .order_by(*order.by(rows))
    )
    # For these shapes one plan is best for all values; for others the best plan depends on them.
    has_generic_plan = begins_list or (shape.is_near and shape.filters == {"point", "radius_metres"})
    return PreparedStatement("search", statement, custom_plan=not has_generic_plan)


def _matches_read_once(shape: QueryShape, order: _Order) -> tuple[Select[Any], sa.FromClause]:
    """The total, and the matches after the cursor with their sort keys."""
    matches = select(Equipment.id, order.key.label("key")).where(*_conditions(shape)).cte("matches")
    total = select(func.count().label("total")).select_from(matches)
    candidates = select(matches)
    if shape.has_cursor:
        candidates = candidates.where(order.after_cursor(matches.c.key, matches.c.id))
    return total, candidates.subquery("candidates")


def _matches_counted(shape: QueryShape, order: _Order) -> tuple[Select[Any], sa.FromClause]:
    """The total, and the matches after the cursor that can be on the page with their sort keys."""
    conditions = list(_conditions(shape))
    total = select(func.count().label("total")).select_from(Equipment).where(*conditions)
    if shape.filters <= TALLIED:
        listings = func.coalesce(func.sum(EquipmentTally.listings), 0)
        tallied = _category_and_availability(shape, EquipmentTally)
        total = select(cast(listings, sa.BigInteger).label("total")).where(*tallied)
    if shape.has_cursor:
        conditions.append(order.after_cursor(order.key, Equipment.id))
    matches: Select[UUID, Any] = select(Equipment.id, order.key.label("key")).where(*conditions)
    candidates = _nearest(matches, order) if shape.sort is Sort.DISTANCE else matches
    return total, candidates.subquery("candidates")


def _nearest(matches: Select[UUID, Any], order: _Order) -> sa.CompoundSelect[Any]:
    """The matches within the distance of the page's farthest listing, without a scan of all of them.

    Any `offset + fetch_limit` matches bound that distance. The index on degrees gives these in nearly the right order.
    The index on geography does not serve: at the poles and the antimeridian, PostgreSQL ends its scan by distance with
    "index returned tuples in wrong order".
    """
    needed = _OFFSET + _FETCH_LIMIT
    first = (
        matches.with_only_columns(order.key.label("metres"))
        .where(Equipment.coordinates.is_not(None))
        .order_by(as_geometry().op("<->")(cast(_POINT, Geometry(geometry_type=None))))
        .limit(needed)
        .cte("first")
    )
    reach = select(func.max(first.c.metres) + REACH_MARGIN_METRES).scalar_subquery()
    are_too_few = select(func.count() < needed).select_from(first).scalar_subquery()
    return sa.union_all(
        matches.where(func.ST_DWithin(Equipment.coordinates, _POINT, reach)),
        # Listings without coordinates come last, so they matter only if the others do not fill the page.
        matches.where(Equipment.coordinates.is_(None), are_too_few),
    )


def _conditions(shape: QueryShape) -> Iterator[ColumnElement[bool]]:
    filters = shape.filters
    if "owner_id" in filters:
        yield Equipment.owner_id == bindparam("owner_id")
    yield from _category_and_availability(shape, Equipment)
    if "min_price" in filters:
        yield Equipment.daily_rate >= bindparam("min_price")
    if "max_price" in filters:
        yield Equipment.daily_rate <= bindparam("max_price")
    if "radius_metres" in filters:
        yield func.ST_DWithin(Equipment.coordinates, _POINT, _RADIUS_METRES)
    if "bbox" in filters:
        yield or_(*(_is_inside(number) for number in range(shape.boxes)))
    if "condition" in filters:
        yield Equipment.condition == bindparam("condition")
    if "words" in filters:
        yield Equipment.search.bool_op("@@")(tsquery(shape.words))


def _category_and_availability(
    shape: QueryShape, table: type[Equipment | EquipmentTally]
) -> Iterator[ColumnElement[bool]]:
    if "category_id" in shape.filters:
        # An index scan can start from the elements of an array, and not from the rows of a subquery.
        yield table.category_id == sa.any_(func.array(_SUBTREE))
    if "is_available" in shape.filters:
        yield table.is_available == bindparam("is_available")


def _subtree() -> sa.ScalarSelect[Any]:
    """The category and its descendants. UNION, unlike UNION ALL, ends even if the tree has a cycle."""
    tree = select(Category.id).where(Category.id == bindparam("category_id")).cte("subtree", recursive=True)
    tree = tree.union(select(Category.id).join(tree, Category.parent_id == tree.c.id))
    return select(tree.c.id).scalar_subquery()


_SUBTREE = _subtree()  # one object, so that a statement with two uses has one CTE


def _is_inside(number: int) -> ColumnElement[bool]:
    """Whether a listing is in this box, edges included. `&&` uses the index, but compares in single precision."""
    edges: list[ColumnElement[float]] = [bindparam(f"{edge}_{number}", type_=sa.Double()) for edge in EDGES]
    west, south, east, north = edges
    longitude, latitude = longitude_latitude()
    envelope = func.ST_MakeEnvelope(west, south, east, north, 4326)
    is_near = as_geometry().bool_op("&&")(envelope)
    return and_(is_near, longitude.between(west, east), latitude.between(south, north))

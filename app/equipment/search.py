"""The SQL statement of a search, which returns a page and the exact total of one snapshot.

Searches of one shape share one prepared statement. The total and the page are read in one of three ways:

- Where all matches have to be read to be ordered, they are read once, and counted on the way.
- Where the filters are those of `equipment_tally`, it gives the total, and an index leads to the page.
- Otherwise the matches are counted, and an index leads to the page.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from geoalchemy2 import Geometry
from sqlalchemy import ColumnElement, Select, SQLColumnExpression, and_, bindparam, cast, func, or_, select

from app.common.geo import GeographyText
from app.common.paging import MAX_LIMIT
from app.db.prepared import PreparedStatement
from app.equipment.criteria import EDGES, QueryShape, Sort
from app.equipment.document import as_geometry, distance_metres, document_columns, longitude_latitude
from app.equipment.words import tsquery
from app.models import Category, Equipment, EquipmentTally

MAX_STATEMENTS = 512
REACH_MARGIN_METRES = 1.0  # far above any rounding error
# Filters that leave few enough listings to read each of them, and those that the tally counts. A point excludes none.
SELECTIVE = frozenset({"radius_metres", "bbox", "words", "category_id", "owner_id"})
TALLIED = frozenset({"category_id", "is_available", "point"})
# Parameters whose type does not follow from a column that they are compared with.
_POINT = bindparam("point", type_=GeographyText())
_RADIUS_METRES: sa.BindParameter[float] = bindparam("radius_metres", type_=sa.Double())
_OFFSET = bindparam("offset", type_=sa.Integer())
_FETCH_LIMIT = bindparam("fetch_limit", type_=sa.Integer())


def category_subtree(category_id: Any) -> ColumnElement[Any]:
    """The array of the ids of a category and its descendants. An index scan can start from an array's elements."""
    tree = select(Category.id).where(Category.id == category_id).cte("subtree", recursive=True)
    # UNION, unlike UNION ALL, ends even if the tree has a cycle.
    tree = tree.union(select(Category.id).join(tree, Category.parent_id == tree.c.id))
    return func.array(select(tree.c.id).scalar_subquery())


_SUBTREE = category_subtree(bindparam("category_id"))  # one object, so that a statement with two uses has one CTE


@dataclass(frozen=True)
class _Order:
    """A sort key and its direction. The id, always ascending, breaks ties."""

    key: ColumnElement[Any]
    descending: bool = False
    nullable: bool = False

    def by(self, rows: Any) -> tuple[ColumnElement[Any], ...]:
        """The ORDER BY of rows with a `key` and an `id`. PostgreSQL puts NULLs last in ascending order."""
        return rows.c.key.desc() if self.descending else rows.c.key.asc(), rows.c.id.asc()

    def after_cursor(self, key: SQLColumnExpression[Any], id_: SQLColumnExpression[Any]) -> ColumnElement[bool]:
        """Whether a row with this key and id is after the position of the cursor, whose key may be NULL, too."""
        position, is_after_id = bindparam("after_key", type_=self.key.type), id_ > bindparam("after_id")
        beyond, not_before = (key < position, key <= position) if self.descending else (key > position, key >= position)
        # `not_before` is redundant, but it is a condition that an index scan can start from.
        is_after = and_(not_before, or_(beyond, is_after_id))
        if not self.nullable:
            return is_after
        return or_(is_after, and_(key.is_(None), or_(position.is_not(None), is_after_id)))


@lru_cache(maxsize=MAX_STATEMENTS)
def search_statement(shape: QueryShape) -> PreparedStatement:
    """The statement of all searches of a shape, which returns one row for each listing of the page.

    The columns are `total`, `sort_key` (text) and `document_columns`. An empty page is one row of the total and NULLs.
    """
    order = _order(shape)
    is_selective = not shape.filters.isdisjoint(SELECTIVE)
    read_once = shape.is_near or shape.sort is Sort.RELEVANCE or (shape.sort is Sort.DISTANCE and is_selective)
    total, candidates = _matches_read_once(shape, order) if read_once else _matches_counted(shape, order)
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


def _order(shape: QueryShape) -> _Order:
    match shape.sort:
        case Sort.DISTANCE:
            return _Order(distance_metres(_POINT), nullable=True)
        case Sort.PRICE_ASC | Sort.PRICE_DESC:
            # Without the column's precision, which a forged cursor may exceed.
            return _Order(sa.type_coerce(Equipment.daily_rate, sa.Numeric()), descending=shape.sort is Sort.PRICE_DESC)
        case Sort.RELEVANCE:
            return _Order(cast(func.ts_rank(Equipment.search, tsquery(shape.words)), sa.Double), descending=True)
        case Sort.NEWEST:
            return _Order(sa.type_coerce(Equipment.created_at, sa.DateTime(timezone=True)), descending=True)


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
        tallied = _tallied_conditions(shape, EquipmentTally)
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
    yield from _tallied_conditions(shape, Equipment)
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


def _tallied_conditions(shape: QueryShape, table: type[Equipment | EquipmentTally]) -> Iterator[ColumnElement[bool]]:
    if "category_id" in shape.filters:
        yield table.category_id == sa.any_(_SUBTREE)
    if "is_available" in shape.filters:
        yield table.is_available == bindparam("is_available")


def _is_inside(number: int) -> ColumnElement[bool]:
    """Whether a listing is in this box, edges included. `&&` uses the index, but compares in single precision."""
    edges: list[ColumnElement[float]] = [bindparam(f"{edge}_{number}", type_=sa.Double()) for edge in EDGES]
    west, south, east, north = edges
    longitude, latitude = longitude_latitude()
    envelope = func.ST_MakeEnvelope(west, south, east, north, 4326)
    is_near = as_geometry().bool_op("&&")(envelope)
    return and_(is_near, longitude.between(west, east), latitude.between(south, north))

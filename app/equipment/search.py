"""The one query builder of listings: every filter, every order, both ways of paging, one statement for a page.

    statement(search) → total, items with photos and distance     (runs in `repository.search`)

Filters combine freely: each adds one condition, and none is dropped. The statement counts all matches and reads one
page of them, whatever the page's size.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from functools import cached_property, reduce
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    DateTime,
    Double,
    Numeric,
    ScalarSelect,
    Select,
    SQLColumnExpression,
    Text,
    and_,
    any_,
    case,
    cast,
    func,
    literal_column,
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import REGCONFIG, TSQUERY
from sqlalchemy.types import TypeEngine

from app.equipment.projection import as_geometry, distance_metres, item_columns, longitude_latitude
from app.geo import BoundingBox, Point
from app.models import SEARCH_EXACT, SEARCH_PUNCTUATION, SEARCH_STEMMED, Category, Condition, Equipment
from app.paging import PageRequest, Position, decode_cursor, fingerprint, invalid_cursor

_PUNCTUATION_TO_SPACE = str.maketrans(SEARCH_PUNCTUATION, " " * len(SEARCH_PUNCTUATION))
REACH_MARGIN_METRES = 1.0  # far more than rounding can make


class Sort(StrEnum):
    """The orders of a list; listings that are equal in it are ordered by id."""

    DISTANCE = "distance"
    NEWEST = "newest"
    PRICE_ASC = "price_asc"
    PRICE_DESC = "price_desc"
    RELEVANCE = "relevance"


@dataclass(frozen=True, kw_only=True)
class Filters:
    """What a listing must be like; None asks nothing. Radius in metres from `point`; both prices inclusive."""

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
    """Which listings, in which order, and which part of them."""

    filters: Filters
    sort: Sort
    page: PageRequest

    @property
    def list_name(self) -> str:
        """Equal for equal filters and order: what a cursor is bound to."""
        return fingerprint(self.filters, self.sort)

    @property
    def offset(self) -> int:
        """How many listings are passed over: a cursor passes none."""
        return 0 if self.page.cursor else (self.page.page - 1) * self.page.limit

    @property
    def reach(self) -> int:
        """How many listings are read: the page's, and one that tells whether there is a next page."""
        return self.page.limit + 1

    @cached_property
    def position(self) -> Position | None:
        """Where a cursor says the page begins. Raises InvalidInput for one of another list."""
        return decode_cursor(self.page.cursor, of_list=self.list_name) if self.page.cursor else None


def statement(search: Search) -> Select[Any]:
    """One row for each item of the page, one more if there is a next page, each with the list's `total`.

    Where the page is empty there is still one row, of NULLs but for the total. The columns are `total`, `sort_key`
    (as text) and those of `item_columns`.
    """
    matching = list(_conditions(search.filters))
    order = _order(search)
    total = select(func.count().label("total")).select_from(Equipment).where(*matching).subquery("counted")
    candidates = _candidates(search, order, [*matching, *_after(search, order)]).subquery("candidates")
    page = (
        select(candidates)
        .order_by(*order.by(candidates.c.key, candidates.c.id))
        .limit(search.reach)
        .offset(search.offset)
        .subquery("page")
    )
    return (
        select(total.c.total, cast(page.c.key, Text).label("sort_key"), *item_columns(search.filters.point))
        .select_from(total)
        .outerjoin(page, true())
        .outerjoin(Equipment, Equipment.id == page.c.id)
        .order_by(*order.by(page.c.key, page.c.id))
    )


@dataclass(frozen=True)
class _Order:
    """A sort key, its type, and its direction; the id breaks ties, always ascending."""

    key: SQLColumnExpression[Any]
    type: TypeEngine[Any]
    descending: bool = False
    nullable: bool = False

    def by(self, key: SQLColumnExpression[Any], identifier: SQLColumnExpression[Any]) -> tuple[ColumnElement[Any], ...]:
        # PostgreSQL puts NULLs (a listing without a place) last in ascending order by itself.
        return (key.desc() if self.descending else key.asc(), identifier.asc())

    def after(self, value: Any, identifier: UUID) -> ColumnElement[bool]:
        """All that comes behind this key and id."""
        if value is None:
            return and_(self.key.is_(None), Equipment.id > identifier)
        bound = cast(value, self.type)
        beyond, not_before = (
            (self.key < bound, self.key <= bound) if self.descending else (self.key > bound, self.key >= bound)
        )
        # `not_before` follows from the rest; it is there because an index can be entered by it.
        behind = and_(not_before, or_(beyond, Equipment.id > identifier))
        return or_(behind, self.key.is_(None)) if self.nullable else behind


def _order(search: Search) -> _Order:
    match search.sort:
        case Sort.DISTANCE:
            assert search.filters.point is not None  # noqa: S101 - the schema refuses this sort without a point
            return _Order(distance_metres(search.filters.point), Double(), nullable=True)
        case Sort.PRICE_ASC:
            return _Order(Equipment.daily_rate, Numeric())
        case Sort.PRICE_DESC:
            return _Order(Equipment.daily_rate, Numeric(), descending=True)
        case Sort.RELEVANCE:
            rank = func.ts_rank(Equipment.search, _tsquery(search.filters.words or ""))
            return _Order(cast(rank, Double), Double(), descending=True)
        case Sort.NEWEST:
            return _Order(Equipment.created_at, DateTime(timezone=True), descending=True)


def _after(search: Search, order: _Order) -> Iterator[ColumnElement[bool]]:
    position = search.position
    if position is not None:
        try:
            yield order.after(_KEY_PARSERS[search.sort](position.key), UUID(position.id))
        except (ValueError, TypeError, AttributeError, InvalidOperation) as error:
            raise invalid_cursor() from error


def _candidates(
    search: Search, order: _Order, following: list[ColumnElement[bool]]
) -> Select[UUID, Any] | CompoundSelect[UUID, Any]:
    """The listings that may be on the page, with their sort key: all that follow, or those of them near enough."""
    all_following: Select[UUID, Any] = select(Equipment.id, order.key.label("key")).where(*following)
    if search.filters.point is None or not _measures_everything(search):
        return all_following
    # As many listings as the page reaches, taken by the index's own order, bound how far the page can reach: whichever
    # they are, the page's are no farther than the farthest of them. The index orders by the sphere and the page by the
    # ellipsoid, so this is a bound and not the order (PostGIS, the operator <-> on geography).
    here = search.filters.point.as_geography()
    nearest = (
        select(order.key.label("metres"))
        .where(*following, Equipment.coordinates.is_not(None))
        .order_by(Equipment.coordinates.op("<->")(here))
        .limit(search.offset + search.reach)
        .cte("nearest")
    )
    farthest = select(func.max(nearest.c.metres) + REACH_MARGIN_METRES).scalar_subquery()
    are_too_few = select(func.count() < search.offset + search.reach).select_from(nearest).scalar_subquery()
    near_enough = func.ST_DWithin(Equipment.coordinates, here, farthest)
    # Listings without a place come last: they are looked at only where the others do not fill the page.
    return union_all(
        all_following.where(near_enough), all_following.where(Equipment.coordinates.is_(None), are_too_few)
    )


def _measures_everything(search: Search) -> bool:
    """Whether the order by distance is all that an index could help with."""
    filters = search.filters
    selective = (filters.radius_metres, filters.bbox, filters.words, filters.category_id, filters.owner_id)
    return search.sort is Sort.DISTANCE and all(each is None for each in selective)


def _distance_key(key: str | None) -> float | None:
    return None if key is None else _finite_key(key)


def _finite_key(key: str) -> float:
    number = float(key)
    if not math.isfinite(number):
        raise ValueError("not finite")
    return number


def _price_key(key: str) -> Decimal:
    return Decimal(_finite_key(key)).quantize(Decimal("0.01"))


_KEY_PARSERS: dict[Sort, Any] = {
    Sort.DISTANCE: _distance_key,
    Sort.RELEVANCE: _finite_key,
    Sort.NEWEST: datetime.fromisoformat,
    Sort.PRICE_ASC: _price_key,
    Sort.PRICE_DESC: _price_key,
}


def _conditions(filters: Filters) -> Iterator[ColumnElement[bool]]:
    if filters.owner_id is not None:
        yield Equipment.owner_id == filters.owner_id
    if filters.category_id is not None:
        # An array, because an index can be entered by its elements.
        yield Equipment.category_id == any_(func.array(_subtree(filters.category_id)))
    if filters.min_price is not None:
        yield Equipment.daily_rate >= filters.min_price
    if filters.max_price is not None:
        yield Equipment.daily_rate <= filters.max_price
    if filters.point is not None and filters.radius_metres is not None:
        yield func.ST_DWithin(Equipment.coordinates, filters.point.as_geography(), cast(filters.radius_metres, Double))
    if filters.bbox is not None:
        yield or_(*(_inside(box) for box in filters.bbox.parts()))
    if filters.is_available is not None:
        yield Equipment.is_available.is_(filters.is_available)
    if filters.condition is not None:
        yield Equipment.condition == filters.condition
    if filters.words is not None:
        yield Equipment.search.bool_op("@@")(_tsquery(filters.words))


def _subtree(category_id: UUID) -> ScalarSelect[UUID]:
    """The category and all below it. UNION, not UNION ALL: it ends even if the tree had a cycle."""
    tree = select(Category.id).where(Category.id == category_id).cte("subtree", recursive=True)
    tree = tree.union(select(Category.id).join(tree, Category.parent_id == tree.c.id))
    return select(tree.c.id).scalar_subquery()


def _inside(box: BoundingBox) -> ColumnElement[bool]:
    """Edges included. `&&` enters the index but compares in single precision; the comparisons are exact."""
    edges = [cast(edge, Double) for edge in (box.west, box.south, box.east, box.north)]
    envelope = func.ST_MakeEnvelope(*edges, 4326)
    lng, lat = longitude_latitude()
    return and_(
        as_geometry().bool_op("&&")(envelope),
        lng.between(edges[0], edges[2]),
        lat.between(edges[1], edges[3]),
    )


def split_words(text: str) -> list[str]:
    """The words of a query, parted as those of a listing are. So nothing in them is an operator or a wildcard."""
    return text.translate(_PUNCTUATION_TO_SPACE).split()


def _tsquery(text: str) -> ColumnElement[Any]:
    """All of these words, the last one as a prefix.

    A word matches stemmed (drills finds drill) or as it is written. An English stop word asks for nothing, unless it
    is the only word. See PostgreSQL, "Parsing Queries".
    """
    if not (words := split_words(text)):
        return cast("", TSQUERY)  # matches nothing
    *whole, last = words
    prefix = _either(func.to_tsquery, f"'{last}':*")
    if not whole:
        return prefix
    asked = [_unless_stop_word(word, _either(func.phraseto_tsquery, word)) for word in whole]
    asked.append(_unless_stop_word(last, prefix))
    return reduce(lambda left, right: left.op("&&", return_type=TSQUERY())(right), asked)


def _unless_stop_word(word: str, asked: ColumnElement[Any]) -> ColumnElement[Any]:
    is_stop_word = func.numnode(func.phraseto_tsquery(_config(SEARCH_STEMMED), word)) == 0
    return case((is_stop_word, cast("", TSQUERY)), else_=asked)


def _either(parse: Callable[..., Any], text: str) -> ColumnElement[Any]:
    stemmed: ColumnElement[Any] = parse(_config(SEARCH_STEMMED), text)
    exact: ColumnElement[Any] = parse(_config(SEARCH_EXACT), text)
    return stemmed.op("||", return_type=TSQUERY())(exact)


def _config(name: str) -> ColumnElement[Any]:
    return cast(literal_column(f"'{name}'"), REGCONFIG)

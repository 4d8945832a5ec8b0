"""The criteria of a search of listings, the shape of its statement and the values of its parameters."""

import math
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from functools import cached_property
from typing import Any
from uuid import UUID

from app.common.geo import BoundingBox, Point
from app.common.paging import PageRequest, Position, decode_cursor, invalid_cursor, time_of_key
from app.equipment.words import split_words, word_values
from app.models import Condition

EDGES = ("west", "south", "east", "north")
NEAR_METRES = 25_000.0  # up to this radius the spatial index is the best access path around any point


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
    def cursor_scope(self) -> object:
        """The filters and the order, which a cursor belongs to."""
        return self.filters, self.sort

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


def query_shape(search: Search) -> QueryShape:
    """The shape of a search."""
    filters = search.filters
    return QueryShape(
        filters=frozenset(name for name, value in vars(filters).items() if value is not None),
        is_near=filters.radius_metres is not None and filters.radius_metres <= NEAR_METRES,
        boxes=0 if filters.bbox is None else len(filters.bbox.parts()),
        words=len(split_words(filters.words or "")),
        sort=search.sort,
        has_cursor=bool(search.page.cursor),
        has_offset=search.page.offset > 0,
    )


def query_values(search: Search) -> dict[str, Any]:
    """The values of the statement's parameters. Raises InvalidInput for a cursor of another scope."""
    filters, page, position = search.filters, search.page, search.position
    # With a cursor, the row after the page tells whether there is a next page; otherwise the total does.
    paging = {"offset": page.offset, "fetch_limit": page.limit + bool(page.cursor)}
    values = {**vars(filters), **paging, **word_values(filters.words or "")}
    if filters.point is not None:
        values["point"] = filters.point.as_text()
    if filters.bbox is not None:
        for number, box in enumerate(filters.bbox.parts()):
            values |= {f"{edge}_{number}": getattr(box, edge) for edge in EDGES}
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

"""What of a search stands in its SQL, and what are values: searches that differ in values alone are one statement."""

import math
from dataclasses import dataclass, fields
from decimal import Decimal, InvalidOperation
from enum import Enum, auto
from typing import Any
from uuid import UUID

from sqlalchemy import BindParameter, Double, Integer, Numeric, Uuid, bindparam
from sqlalchemy.types import TypeEngine

from app.equipment.criteria import Filters, Search, Sort
from app.equipment.words import split_words, word_values
from app.geo import BoundingBox, GeographyText
from app.models import Equipment
from app.paging import Position, invalid_cursor, time_of_key

NEAR_METRES = 25_000.0
EDGES = ("west", "south", "east", "north")


class Beginning(Enum):
    """Where a page begins: at the first listing, so many behind it, behind a key, or behind the last that has a key."""

    FIRST = auto()
    OFFSET = auto()
    KEY = auto()
    NO_KEY = auto()


@dataclass(frozen=True, kw_only=True)
class Form:
    """The filters that are asked for, by their names; how many boxes and words; the order; where the page begins.

    `is_near` is of a radius within which an index always leads to what is there soonest.
    """

    filters: frozenset[str]
    is_near: bool
    boxes: int
    words: int
    sort: Sort
    beginning: Beginning


_FILTERS = tuple(field.name for field in fields(Filters))
_TYPES: dict[str, TypeEngine[Any]] = {
    "owner_id": Uuid(),
    "category_id": Uuid(),
    "min_price": Numeric(),
    "max_price": Numeric(),
    "point": GeographyText(),
    "radius_metres": Double(),
    "is_available": Equipment.is_available.type,
    "condition": Equipment.condition.type,
    "reach": Integer(),
    "offset": Integer(),
    "after_id": Uuid(),
}


def parameter(name: str) -> BindParameter[Any]:
    """The place of a value in the SQL: of a filter, of the page, or of where the page begins."""
    return bindparam(name, type_=_TYPES[name])


def edges(box: int) -> tuple[BindParameter[float], ...]:
    """The places of a box's edges: west, south, east, north."""
    return tuple(bindparam(f"{edge}_{box}", type_=Double()) for edge in EDGES)


def form_of(search: Search) -> Form:
    """What a search has in common with all that differ in values alone. Raises InvalidInput for a bad cursor."""
    filters, position = search.filters, search.position
    beginning = Beginning.OFFSET if search.offset else Beginning.FIRST
    if position is not None:
        beginning = Beginning.NO_KEY if _key(search.sort, position) is None else Beginning.KEY
    return Form(
        filters=frozenset(name for name in _FILTERS if getattr(filters, name) is not None),
        is_near=filters.radius_metres is not None and filters.radius_metres <= NEAR_METRES,
        boxes=0 if filters.bbox is None else len(filters.bbox.parts()),
        words=0 if filters.words is None else len(split_words(filters.words)),
        sort=search.sort,
        beginning=beginning,
    )


def values_of(search: Search) -> dict[str, Any]:
    """The values of a search, by the names of their places. Raises InvalidInput for a bad cursor."""
    filters = search.filters
    values: dict[str, Any] = {name: getattr(filters, name) for name in _FILTERS}
    values |= {"reach": search.reach, "offset": search.offset}
    if filters.point is not None:
        values["point"] = filters.point.as_text()
    if filters.bbox is not None:
        values |= _edge_values(filters.bbox)
    if filters.words is not None:
        values |= word_values(filters.words)
    if search.position is not None:
        values |= {"after_key": _key(search.sort, search.position), "after_id": _id(search.position)}
    return values


def _edge_values(bbox: BoundingBox) -> dict[str, float]:
    return {f"{edge}_{number}": getattr(box, edge) for number, box in enumerate(bbox.parts()) for edge in EDGES}


def _key(sort: Sort, position: Position) -> Any:
    """A cursor's key, as its column has it."""
    try:
        return _KEY_PARSERS[sort](position.key)
    except (ValueError, TypeError, InvalidOperation) as error:
        raise invalid_cursor() from error


def _id(position: Position) -> UUID:
    try:
        return UUID(position.id)
    except ValueError as error:
        raise invalid_cursor() from error


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
    Sort.NEWEST: time_of_key,
    Sort.PRICE_ASC: _price_key,
    Sort.PRICE_DESC: _price_key,
}

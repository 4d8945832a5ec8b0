"""The orders of a list of equipment, and where in one of them a cursor points."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, DateTime, Double, Numeric, SQLColumnExpression, and_, cast, func, or_
from sqlalchemy.types import TypeEngine

from app.equipment.criteria import Search, Sort
from app.equipment.projection import distance_metres
from app.equipment.words import tsquery
from app.models import Equipment
from app.paging import invalid_cursor, time_of_key


@dataclass(frozen=True)
class Order:
    """A sort key, its type, and its direction; the id breaks ties, always ascending."""

    key: SQLColumnExpression[Any]
    type: TypeEngine[Any]
    descending: bool = False
    nullable: bool = False

    def by(self, key: SQLColumnExpression[Any], identifier: SQLColumnExpression[Any]) -> tuple[ColumnElement[Any], ...]:
        """What to order by, where the key and the id have these names."""
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


def order_of(search: Search) -> Order:
    """The order that a search asks for."""
    match search.sort:
        case Sort.DISTANCE:
            assert search.filters.point is not None  # noqa: S101 - the schema refuses this sort without a point
            return Order(distance_metres(search.filters.point), Double(), nullable=True)
        case Sort.PRICE_ASC:
            return Order(Equipment.daily_rate, Numeric())
        case Sort.PRICE_DESC:
            return Order(Equipment.daily_rate, Numeric(), descending=True)
        case Sort.RELEVANCE:
            rank = func.ts_rank(Equipment.search, tsquery(search.filters.words or ""))
            return Order(cast(rank, Double), Double(), descending=True)
        case Sort.NEWEST:
            return Order(Equipment.created_at, DateTime(timezone=True), descending=True)


def after_cursor(search: Search, order: Order) -> Iterator[ColumnElement[bool]]:
    """What a listing must be to come behind the search's cursor, if it has one. Raises InvalidInput for a bad one."""
    position = search.position
    if position is not None:
        try:
            yield order.after(_KEY_PARSERS[search.sort](position.key), UUID(position.id))
        except (ValueError, TypeError, AttributeError, InvalidOperation) as error:
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

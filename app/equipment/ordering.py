"""The orders of a list of equipment, and what comes behind a place in one of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    DateTime,
    Double,
    Numeric,
    SQLColumnExpression,
    and_,
    bindparam,
    cast,
    func,
    or_,
)
from sqlalchemy.types import TypeEngine

from app.equipment.criteria import Sort
from app.equipment.document import distance_metres
from app.equipment.form import Beginning, Form, parameter
from app.equipment.words import tsquery
from app.models import Equipment


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

    def behind(
        self, beginning: Beginning, key: SQLColumnExpression[Any], identifier: SQLColumnExpression[Any]
    ) -> Iterator[ColumnElement[bool]]:
        """What a listing must be to come behind a cursor, if there is one. The key and the id have these names."""
        further = identifier > parameter("after_id")
        if beginning is Beginning.NO_KEY:
            yield and_(key.is_(None), further)
        if beginning is Beginning.KEY:
            bound = bindparam("after_key", type_=self.type)
            beyond, not_before = (key < bound, key <= bound) if self.descending else (key > bound, key >= bound)
            # `not_before` follows from the rest; it is there because an index can be entered by it.
            behind = and_(not_before, or_(beyond, further))
            yield or_(behind, key.is_(None)) if self.nullable else behind


def order_of(form: Form) -> Order:
    """The order that a search asks for."""
    match form.sort:
        case Sort.DISTANCE:
            return Order(distance_metres(parameter("point")), Double(), nullable=True)
        case Sort.PRICE_ASC:
            return Order(Equipment.daily_rate, Numeric())
        case Sort.PRICE_DESC:
            return Order(Equipment.daily_rate, Numeric(), descending=True)
        case Sort.RELEVANCE:
            rank = func.ts_rank(Equipment.search, tsquery(form.words))
            return Order(cast(rank, Double), Double(), descending=True)
        case Sort.NEWEST:
            return Order(Equipment.created_at, DateTime(timezone=True), descending=True)

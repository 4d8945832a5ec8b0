"""What can be asked of a list of equipment: filters that all combine, an order, a part of it."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from uuid import UUID

from app.geo import BoundingBox, Point
from app.models import Condition
from app.paging import PageRequest, Position, decode_cursor, fingerprint


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
        """How many listings are read: the page's; behind a cursor one more, to tell whether there is a next page."""
        return self.page.limit + bool(self.page.cursor)

    @cached_property
    def position(self) -> Position | None:
        """Where a cursor says the page begins. Raises InvalidInput for one of another list."""
        return decode_cursor(self.page.cursor, of_list=self.list_name) if self.page.cursor else None

"""The one query builder of listings: every filter, every order, both ways of paging, one statement for a page.

    statement(search) → total, items with photos and distance     (runs in `repository.search`)

Filters combine freely: each adds one condition, and none is dropped. The statement counts all matches and reads one
page of them, whatever the page's size.
"""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Double,
    ScalarSelect,
    Select,
    Text,
    and_,
    any_,
    cast,
    func,
    or_,
    select,
    true,
    union_all,
)

from app.equipment.criteria import Filters, Search, Sort
from app.equipment.ordering import Order, after_cursor, order_of
from app.equipment.projection import as_geometry, item_columns, longitude_latitude
from app.equipment.words import tsquery
from app.geo import BoundingBox
from app.models import Category, Equipment

REACH_MARGIN_METRES = 1.0  # far more than rounding can make


def statement(search: Search) -> Select[Any]:
    """One row for each item of the page, one more if there is a next page, each with the list's `total`.

    Where the page is empty there is still one row, of NULLs but for the total. The columns are `total`, `sort_key`
    (as text) and those of `item_columns`.
    """
    matching = list(_conditions(search.filters))
    order = order_of(search)
    total = select(func.count().label("total")).select_from(Equipment).where(*matching).subquery("counted")
    candidates = _candidates(search, order, [*matching, *after_cursor(search, order)]).subquery("candidates")
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


def _candidates(
    search: Search, order: Order, following: list[ColumnElement[bool]]
) -> Select[UUID, Any] | CompoundSelect[UUID, Any]:
    """The listings that may be on the page, with their sort key: all that follow, or those of them near enough."""
    all_following: Select[UUID, Any] = select(Equipment.id, order.key.label("key")).where(*following)
    if search.filters.point is None or not _measures_everything(search):
        return all_following
    # As many listings as the page reaches bound how far it can reach: whichever they are, the page's are no farther
    # than the farthest of them. They are taken in the order of the index of degrees, which is nearly the right one.
    # (That of geography would be nearer still, but at the poles and the antimeridian PostgreSQL ends such a scan with
    # "index returned tuples in wrong order".)
    here = search.filters.point
    needed = search.offset + search.reach
    nearest = (
        select(order.key.label("metres"))
        .where(*following, Equipment.coordinates.is_not(None))
        .order_by(as_geometry().op("<->")(here.as_geometry()))
        .limit(needed)
        .cte("nearest")
    )
    farthest = select(func.max(nearest.c.metres) + REACH_MARGIN_METRES).scalar_subquery()
    are_too_few = select(func.count() < needed).select_from(nearest).scalar_subquery()
    near_enough = func.ST_DWithin(Equipment.coordinates, here.as_geography(), farthest)
    # Listings without a place come last: they are looked at only where the others do not fill the page.
    return union_all(
        all_following.where(near_enough), all_following.where(Equipment.coordinates.is_(None), are_too_few)
    )


def _measures_everything(search: Search) -> bool:
    """Whether the order by distance is all that an index could help with."""
    filters = search.filters
    selective = (filters.radius_metres, filters.bbox, filters.words, filters.category_id, filters.owner_id)
    return search.sort is Sort.DISTANCE and all(each is None for each in selective)


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
        yield Equipment.search.bool_op("@@")(tsquery(filters.words))


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

"""The one query builder of listings: every filter, every order, both ways of paging, one statement for a page.

    shape_of(form_of(search)), values_of(search) → total, and the page's listings     (run in `repository.search`)

Filters combine freely: each adds one condition, and none is dropped. The statement tells how many match and reads one
page of them, both of one moment. There are three ways to it; which one is quickest, the form of a search decides:

- what an index finds, and has to be looked at anyway to be put in order, is looked at once, and counted by that;
- of a category, of what is on offer, or of all, the tally tells how many there are, and an index leads to the page;
- of everything else the matches are counted, and an index leads to the page.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any
from uuid import UUID

from geoalchemy2 import Geometry
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    CompoundSelect,
    FromClause,
    ScalarSelect,
    Select,
    Subquery,
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

from app.db.prepared import PreparedStatement
from app.equipment.criteria import Sort
from app.equipment.document import as_geometry, distance_metres, document_columns, longitude_latitude
from app.equipment.form import Beginning, Form, edges, parameter
from app.equipment.ordering import Order, order_of
from app.equipment.words import tsquery
from app.models import Category, Equipment, EquipmentTally
from app.paging import MAX_LIMIT

REACH_MARGIN_METRES = 1.0  # far more than rounding can make
MOST_SHAPES = 512
MOST_READ = MAX_LIMIT + 1

# What the tally knows how many there are of; a point alone leaves nothing out.
_TALLIED = frozenset({"category_id", "is_available", "point"})
# What leaves few enough listings, as a rule, to look at each of them.
_SELECTIVE = frozenset({"radius_metres", "bbox", "words", "category_id", "owner_id"})


def _subtree() -> ScalarSelect[Any]:
    """The category and all below it. UNION, not UNION ALL: it ends even if the tree had a cycle."""
    tree = select(Category.id).where(Category.id == parameter("category_id")).cte("subtree", recursive=True)
    tree = tree.union(select(Category.id).join(tree, Category.parent_id == tree.c.id))
    return select(tree.c.id).scalar_subquery()


_SUBTREE = _subtree()  # one for a statement that asks for it twice


@lru_cache(maxsize=MOST_SHAPES)
def shape_of(form: Form) -> PreparedStatement:
    """The statement of all searches of this form.

    One row for each listing of the page, each with the list's `total`; where the page is empty, one of NULLs but for
    that. The columns are `total`, `sort_key` (as text) and those of `document_columns`.
    """
    return PreparedStatement("search", _statement(form), custom_plan=not _has_one_plan(form))


def _has_one_plan(form: Form) -> bool:
    """Whether the plan is the same whatever the values are. Others may be quick by one and slow by another."""
    is_near_alone = form.is_near and form.filters == {"point", "radius_metres"}
    return is_near_alone or _is_start_of_everything(form)


def _is_start_of_everything(form: Form) -> bool:
    """Whether it is the first page of all listings, or one by cursor, in an order that an index has."""
    is_indexed = form.sort not in (Sort.DISTANCE, Sort.RELEVANCE)
    return not form.filters and is_indexed and form.beginning is not Beginning.OFFSET


def _statement(form: Form) -> Select[Any]:
    order = order_of(form)
    total, listings = _found_at_once(form, order) if _looks_at_all_it_finds(form) else _counted_apart(form, order)
    counted = total.subquery("counted")
    selected = select(listings).order_by(*order.by(listings.c.key, listings.c.id))
    if _is_start_of_everything(form):
        # Else a plan for any number would be one for a tenth of all listings, and sort them.
        some = selected.limit(MOST_READ).subquery("some")
        selected = select(some).order_by(*order.by(some.c.key, some.c.id))
    selected = selected.limit(parameter("reach"))
    if form.beginning is Beginning.OFFSET:
        selected = selected.offset(parameter("offset"))
    page = selected.subquery("page")
    return (
        select(
            counted.c.total,
            cast(page.c.key, Text).label("sort_key"),
            *document_columns(distance=_distance(form, page)),
        )
        .select_from(counted)
        .outerjoin(page, true())
        .outerjoin(Equipment, Equipment.id == page.c.id)
        .order_by(*order.by(page.c.key, page.c.id))
    )


def _distance(form: Form, page: Subquery) -> ColumnElement[Any] | None:
    if "point" not in form.filters:
        return None
    return page.c.key if form.sort is Sort.DISTANCE else distance_metres(parameter("point"))


def _looks_at_all_it_finds(form: Form) -> bool:
    """Whether few match, or the order is one that has to be computed of each that does."""
    is_computed = form.sort in (Sort.DISTANCE, Sort.RELEVANCE)
    return form.is_near or (is_computed and not form.filters <= _TALLIED and not _measures_everything(form))


def _found_at_once(form: Form, order: Order) -> tuple[Select[Any], FromClause]:
    """How many match, and those that follow with their sort key, by one look at each match."""
    matching = select(Equipment.id, order.key.label("key")).where(*_conditions(form)).cte("matching")
    total = select(func.count().label("total")).select_from(matching)
    following = order.behind(form.beginning, matching.c.key, matching.c.id)
    return total, select(matching).where(*following).subquery("candidates")


def _counted_apart(form: Form, order: Order) -> tuple[Select[Any], FromClause]:
    """How many match, and those that may be on the page with their sort key: all that follow, or those near enough."""
    conditions = list(_conditions(form))
    following = [*conditions, *order.behind(form.beginning, order.key, Equipment.id)]
    total = _tallied(form) if form.filters <= _TALLIED else _counted(conditions)
    if _measures_everything(form):
        return total, _near_enough(order, following).subquery("candidates")
    return total, select(Equipment.id, order.key.label("key")).where(*following).subquery("candidates")


def _counted(conditions: list[ColumnElement[bool]]) -> Select[Any]:
    return select(func.count().label("total")).select_from(Equipment).where(*conditions)


def _tallied(form: Form) -> Select[Any]:
    listings = func.coalesce(func.sum(EquipmentTally.listings), 0)
    return select(cast(listings, BigInteger).label("total")).where(*_of_kind(form, EquipmentTally))


def _measures_everything(form: Form) -> bool:
    """Whether the order by distance is all that an index could help with."""
    return form.sort is Sort.DISTANCE and form.filters.isdisjoint(_SELECTIVE)


def _near_enough(order: Order, following: list[ColumnElement[bool]]) -> CompoundSelect[Any]:
    """Of what follows, all that can be on the page.

    As many listings as the page reaches bound how far it can reach: whichever they are, the page's are no farther than
    the farthest of them. They are taken in the order of the index of degrees, which is nearly the right one. (That of
    geography would be nearer still, but at the poles and the antimeridian PostgreSQL ends such a scan with "index
    returned tuples in wrong order".)
    """
    here = parameter("point")
    needed = parameter("offset") + parameter("reach")
    nearest = (
        select(order.key.label("metres"))
        .where(*following, Equipment.coordinates.is_not(None))
        .order_by(as_geometry().op("<->")(cast(here, Geometry(geometry_type=None))))
        .limit(needed)
        .cte("nearest")
    )
    farthest = select(func.max(nearest.c.metres) + REACH_MARGIN_METRES).scalar_subquery()
    are_too_few = select(func.count() < needed).select_from(nearest).scalar_subquery()
    all_following: Select[UUID, Any] = select(Equipment.id, order.key.label("key")).where(*following)
    # Listings without a place come last: they are looked at only where the others do not fill the page.
    return union_all(
        all_following.where(func.ST_DWithin(Equipment.coordinates, here, farthest)),
        all_following.where(Equipment.coordinates.is_(None), are_too_few),
    )


def _conditions(form: Form) -> Iterator[ColumnElement[bool]]:
    asked = form.filters
    if "owner_id" in asked:
        yield Equipment.owner_id == parameter("owner_id")
    yield from _of_kind(form, Equipment)
    if "min_price" in asked:
        yield Equipment.daily_rate >= parameter("min_price")
    if "max_price" in asked:
        yield Equipment.daily_rate <= parameter("max_price")
    if "radius_metres" in asked:
        yield func.ST_DWithin(Equipment.coordinates, parameter("point"), parameter("radius_metres"))
    if "bbox" in asked:
        yield or_(*(_inside(*edges(box)) for box in range(form.boxes)))
    if "condition" in asked:
        yield Equipment.condition == parameter("condition")
    if "words" in asked:
        yield Equipment.search.bool_op("@@")(tsquery(form.words))


def _of_kind(form: Form, table: type[Equipment | EquipmentTally]) -> Iterator[ColumnElement[bool]]:
    """What is asked of category and availability, of listings or of their tally."""
    if "category_id" in form.filters:
        # An array, because an index can be entered by its elements.
        yield table.category_id == any_(func.array(_SUBTREE))
    if "is_available" in form.filters:
        yield table.is_available == parameter("is_available")


def _inside(
    west: ColumnElement[float], south: ColumnElement[float], east: ColumnElement[float], north: ColumnElement[float]
) -> ColumnElement[bool]:
    """Edges included. `&&` enters the index but compares in single precision; the comparisons are exact."""
    lng, lat = longitude_latitude()
    envelope = func.ST_MakeEnvelope(west, south, east, north, 4326)
    return and_(as_geometry().bool_op("&&")(envelope), lng.between(west, east), lat.between(south, north))

"""The search agrees with a brute-force computation, item for item, over random combinations of all it can be asked."""

import unicodedata
from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import Phase, assume, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, insert, text

from app.db.session import bound_to
from app.models import Category, Equipment, EquipmentPhoto, User
from tests.api.search_oracle import WORDS, WORLD, Listing, Wanted, Word, asked_words, found, photo_url, read
from tests.support.examples import examples

# Half of the last digit that is given: a metre is rounded, never cut.
KILOMETRE_TOLERANCE = 0.000_501
MAX_RADIUS_KM = 20_037.508


class Searcher:
    """The world behind the HTTP door, and plain SQL on the same rows."""

    def __init__(self, client: FlaskClient, connection: Connection) -> None:
        self.client = client
        self.connection = connection

    def page(self, query: dict[str, str]) -> dict[str, Any]:
        answer = self.client.get("/api/v1/equipment", query_string=query)
        assert answer.status_code == 200, answer.json
        return dict(answer.json or {})

    def ranks(self, words: tuple[str, ...]) -> dict[UUID, float]:
        """PostgreSQL's rank of every listing for a query written by hand from the table of stems."""
        query = " & ".join(_tsquery(ways, prefix) for ways, prefix in asked_words(words))
        rows = self.connection.execute(text("SELECT id, ts_rank(search, (:q)::tsquery) FROM equipment"), {"q": query})
        return {row.id: row.ts_rank for row in rows}

    def use_indexes_only(self, always: bool) -> None:
        self.connection.execute(text(f"SET LOCAL enable_seqscan = {'off' if always else 'on'}"))


def _tsquery(ways: Word, prefix: bool) -> str:
    end = ":*" if prefix else ""
    return "(" + " | ".join(f"'{way}'{end}" for way in ways if way) + ")"


@pytest.fixture(scope="module")
def searcher(app: Flask, engine: Engine) -> Iterator[Searcher]:
    """The world is written once; the transaction is rolled back after the last test."""
    with engine.connect() as connection, connection.begin() as outer:
        # On a busy machine the brute force may take longer than a request may pause.
        connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
        with bound_to(connection):
            _insert_world(connection)
            yield Searcher(app.test_client(), connection)
        outer.rollback()


def _insert_world(connection: Connection) -> None:
    connection.execute(insert(User), [{"id": one, "username": f"owner-{n}"} for n, one in enumerate(WORLD.owners)])
    for number, (one, parent) in enumerate(WORLD.parents.items()):
        connection.execute(insert(Category).values(id=one, parent_id=parent, name=f"Kind {number}"))
    connection.execute(insert(Equipment), [_row(one) for one in WORLD.listings])
    photos = [
        {"id": photo, "equipment_id": one.id, "photo_url": photo_url(photo), "is_primary": n == 0, "order_index": n * 2}
        for one in WORLD.listings
        for n, photo in reversed(list(enumerate(one.photo_ids)))
    ]
    connection.execute(insert(EquipmentPhoto), photos)
    connection.execute(text("ANALYZE equipment"))


def _row(one: Listing) -> dict[str, Any]:
    plain = {name: value for name, value in vars(one).items() if name not in ("place", "photo_ids", "says")}
    place = None if one.place is None else f"SRID=4326;POINT({one.place[1]!r} {one.place[0]!r})"
    return {**plain, "updated_at": one.created_at, "coordinates": place}


def _float(least: float, most: float) -> st.SearchStrategy[float]:
    return st.floats(least, most, allow_nan=False)


def _one_in(number: int, strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.integers(1, number).flatmap(lambda drawn: strategy if drawn == 1 else st.none())


corners = st.sampled_from([(90.0, 0.0), (-90.0, 180.0), (0.0, 180.0), (0.0, -180.0), (-0.0, -0.0), (52.1, 179.99)])
# Where a client's arithmetic puts a point that it means to be a listing's.
beside = st.sampled_from(WORLD.places).map(lambda place: (place[0] * (1 - 2e-16), place[1] * (1 - 1e-13)))
points = st.sampled_from(WORLD.places) | corners | beside | st.tuples(_float(-90, 90), _float(-180, 180))
latitudes = st.sampled_from([place[0] for place in WORLD.places]) | _float(-90, 90)
longitudes = st.sampled_from([place[1] for place in WORLD.places]) | _float(-180, 180)
cents = st.sampled_from([Decimal(number) / 100 for number in (-1, 0, 0, 1)])
prices = st.builds(Decimal.__add__, st.sampled_from(WORLD.prices), cents)
pages = _one_in(2, st.sampled_from([1, 1, 2, 3, 9]))
limits = st.none() | st.sampled_from([1, 3, 7, 20, 100])
# Everything by its distance, as an index alone can give it, to the last page of what has no place.
nearest = st.builds(Wanted, point=points, page=pages, limit=limits, is_available=_one_in(4, st.booleans()))
spellings: st.SearchStrategy[Callable[[str], str]] = st.sampled_from(
    [str, str.upper, str.lower, lambda spelt: unicodedata.normalize("NFD", spelt), lambda spelt: f"  {spelt}  "]
)


@st.composite
def boxes(draw: st.DrawFn, aim: Listing) -> tuple[float, float, float, float]:
    """West of east, or across the antimeridian; edges often exactly where a listing is, the one aimed at above all."""
    lat, lng = aim.place or (0.0, 0.0)
    south, north = sorted((draw(st.just(lat) | latitudes), draw(latitudes)))
    return draw(longitudes), south, draw(st.just(lng) | longitudes), north


@st.composite
def radii(draw: st.DrawFn, point: tuple[float, float]) -> float:
    """Any, or a millimetre or a metre this side or the other of a listing."""
    metres = draw(st.sampled_from([one.metres_from(*point) for one in WORLD.listings if one.place]))
    beside = (metres or 0) / 1000 + draw(st.sampled_from([-1e-3, -1e-6, 1e-6, 1e-3]))
    return draw(st.just(min(max(beside, 0.0), MAX_RADIUS_KM)) | _float(0, MAX_RADIUS_KM) | _float(0, 50))


@st.composite
def words(draw: st.DrawFn, aim: Listing) -> tuple[str, ...]:
    """Some that one listing says, or any, or what somebody has only begun to type."""
    said = st.sampled_from([*aim.title.split(), *aim.description.split()])
    asked = (*draw(st.lists(said, max_size=2)), draw(said | st.sampled_from(sorted(WORDS))))
    # What several words find that ask for nothing, is not promised.
    assume(len(read(" ".join(asked))) < 2 or asked_words(asked))
    return asked


@st.composite
def searches(draw: st.DrawFn) -> Wanted:
    """Any combination of filters, an order that they allow, and a page; many fit the one listing it aims at."""
    aim = draw(st.sampled_from(WORLD.listings))
    point, asked = draw(_one_in(2, points)), draw(_one_in(2, words(aim))) or ()
    cheapest, dearest = draw(_one_in(4, prices)), draw(_one_in(4, prices))
    if cheapest is not None and dearest is not None:
        cheapest, dearest = sorted((cheapest, dearest))
    sorts = ["newest", "price_asc", "price_desc", *["distance"] * bool(point), *["relevance"] * bool(asked) * 4]
    return Wanted(
        category_id=draw(_one_in(4, st.sampled_from([*WORLD.ancestry(aim.category_id), *WORLD.parents]))),
        min_price=cheapest,
        max_price=dearest,
        point=point,
        radius_km=draw(_one_in(2, radii(point))) if point else None,
        bbox=draw(_one_in(4, boxes(aim))),
        is_available=draw(_one_in(4, st.just(aim.is_available) | st.booleans())),
        condition=draw(_one_in(4, st.sampled_from([aim.condition] * 4 + ["new", "excellent", "good", "fair"]))),
        words=asked,
        sort=draw(st.sampled_from([None, *sorts])),
        page=draw(pages),
        limit=draw(limits),
    )


def _is_clear_cut(wanted: Wanted, matching: list[tuple[Listing, float | None]]) -> bool:
    """No listing is within a micrometre of the circle, and none within one of another's distance but in its place."""
    if wanted.point is None:
        return True
    measured = sorted((metres, one.place) for one, metres in matching if metres is not None and one.place)
    everywhere = (one.metres_from(*wanted.point) for one in WORLD.listings)
    radius = -1 if wanted.radius_km is None else wanted.radius_km * 1000
    return all(b[0] - a[0] > 1e-6 or a[1] == b[1] for a, b in pairwise(measured)) and all(
        metres is None or abs(metres - radius) > 1e-6 for metres in everywhere
    )


@settings(max_examples=examples(4.5), phases=[Phase.explicit, Phase.generate, Phase.shrink])
# On the other side of the antimeridian from a listing, and a rounding error beside one: where the index's own order by
# distance on geography ends in "index returned tuples in wrong order".
@example(wanted=Wanted(point=(17.25, -180.0)), spelt=str, indexes_only=True)
@example(wanted=Wanted(point=(89.99999999999999, 12.0)), spelt=str, indexes_only=True)
@given(wanted=st.one_of(searches(), searches(), nearest), spelt=spellings, indexes_only=st.booleans())
def test_the_search_agrees_with_brute_force(
    searcher: Searcher, wanted: Wanted, spelt: Callable[[str], str], indexes_only: bool
) -> None:
    ranks = searcher.ranks(wanted.words) if wanted.order == "relevance" else {}
    matching = found(wanted, ranks)
    assume(_is_clear_cut(wanted, matching))
    page, limit = wanted.page or 1, wanted.limit or 20

    searcher.use_indexes_only(indexes_only)
    query = wanted.query()
    body = searcher.page(query | ({"q": spelt(query["q"])} if "q" in query else {}))

    distances = [item.pop("distance_km", "none given") for item in body["items"]]
    expected = matching[(page - 1) * limit : page * limit]
    assert [item["id"] for item in body["items"]] == [str(one.id) for one, _ in expected]
    assert body["items"] == [one.body() for one, _ in expected]
    assert (body["total"], body["page"], body["limit"]) == (len(matching), page, limit)
    assert body["total_pages"] == -(-len(matching) // limit)
    assert (body["next_cursor"] is None) == (page * limit >= len(matching))
    for distance, (_, metres) in zip(distances, expected, strict=True):
        if wanted.point is None:
            assert distance == "none given"
        else:
            assert distance == (None if metres is None else pytest.approx(metres / 1000, abs=KILOMETRE_TOLERANCE))

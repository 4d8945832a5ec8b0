"""Pages of the search: by number and by cursor, at rest and while others write; cursors that cannot be followed."""

import base64
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import gevent
import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, delete, insert, update

from app.common import paging
from app.common.geo import Point
from app.db.engine import Database
from app.db.session import bound_to
from app.equipment.criteria import Filters, Search, Sort
from app.models import Equipment, User
from app.settings import Settings
from tests.support.assertions import assert_invalid, assert_ok
from tests.support.rows import EPOCH, add_equipment, category_id

API = "/api/v1/equipment"
BY_PRICE = {"sort": "price_asc"}
SORTS = [
    {"sort": "newest"},
    BY_PRICE,
    {"sort": "price_desc"},
    {"lat": "46.9", "lng": "7.4"},
    {"sort": "relevance", "q": "drill"},
    {"sort": "newest", "lat": "46.9", "lng": "7.4", "radius_km": "5000", "min_price": "2", "q": "drill"},
]
each_sort = pytest.mark.parametrize("query", SORTS, ids=lambda query: ",".join(query.values()))
FORGED = """5 null {} [] [2,null] "abc" \xff [2,"1",5] [2,"x","ID"] ["x","1","ID"] [[],"1","ID"] [2,null,"ID"]
[2,5,"ID"] [2,[],"ID"] [2,"NaN","ID"] [2,"1e999999","ID"] [2,"1e200000","ID"]"""
WAIT_SECONDS = 20


@pytest.fixture(scope="module")
def engine_of_own(app: Flask, settings: Settings, database_url_factory: Any) -> Iterator[Engine]:
    """A database of this module's own, for writes that are committed."""
    url = "postgresql+psycopg2://" + database_url_factory().partition("://")[2]
    own = Database(replace(settings, database_url=url))
    with bound_to(own):
        yield own.engine
    own.engine.dispose()


class Shelf:
    """Listings in the database, each write a transaction of its own; few enough values of every sort key for ties."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._random = random.Random(3)
        with engine.begin() as connection:
            self.owner_id = connection.scalars(insert(User).values(username=f"o-{uuid4()}").returning(User.id)).one()
        self.category_id = category_id()
        self.still, self.leaving, self.moving = ([self.add() for _ in range(number)] for number in (60, 20, 10))

    def add(self) -> UUID:
        return add_equipment(self.owner_id, category_id=self.category_id, **self._keys())

    def move(self, identifier: UUID) -> None:
        keys = self._keys()
        place = keys.pop("coordinates")
        self.change(identifier, coordinates=place and place.as_geography(), **keys)

    def change(self, identifier: UUID, **values: Any) -> None:
        with self.engine.begin() as connection:
            connection.execute(update(Equipment).where(Equipment.id == identifier).values(values))

    def remove(self, identifier: UUID) -> None:
        with self.engine.begin() as connection:
            connection.execute(delete(Equipment).where(Equipment.id == identifier))

    def _keys(self) -> dict[str, Any]:
        pick = self._random
        return {
            "title": " ".join(["drill"] * pick.randint(1, 3)),
            "daily_rate": Decimal(pick.randint(1, 5)),
            "created_at": EPOCH + timedelta(microseconds=pick.randint(0, 9)),
            "coordinates": pick.choice([Point(longitude=lng, latitude=47.0) for lng in (6, 7, 8)] + [None]),
        }


@pytest.fixture(scope="module")
def reader(app: Flask, engine_of_own: Engine) -> FlaskClient:
    Shelf(engine_of_own)
    return app.test_client()


@pytest.fixture
def shelf(engine_of_own: Engine) -> Iterator[Shelf]:
    busy = Shelf(engine_of_own)
    yield busy
    with engine_of_own.begin() as connection:
        connection.execute(delete(Equipment).where(Equipment.owner_id == busy.owner_id))


def page(reader: FlaskClient, query: dict[str, str], **more: Any) -> dict[str, Any]:
    return dict(assert_ok(reader.get(API, query_string=query | more)))


def walk(reader: FlaskClient, query: dict[str, str], *, limit: int, turned: Callable[[], Any] = int) -> list[Any]:
    """Every page, by cursor, from the first to the last; `turned` is called between two."""
    pages = [page(reader, query, limit=limit)]
    while pages[-1]["next_cursor"] and len(pages) < 99:
        turned()
        pages.append(page(reader, query, limit=limit, cursor=pages[-1]["next_cursor"]))
    return pages


def ids(pages: list[Any]) -> list[str]:
    return [item["id"] for one in pages for item in one["items"]]


@each_sort
@pytest.mark.parametrize("limit", [4, 10, 100])
def test_a_walk_by_cursor_shows_the_same_pages_as_their_numbers(
    reader: FlaskClient, query: dict[str, str], limit: int
) -> None:
    walked = walk(reader, query, limit=limit)

    assert walked == [page(reader, query, limit=limit, page=number) for number in range(1, len(walked) + 1)]
    assert len(set(ids(walked))) == len(ids(walked)) == walked[0]["total"] > 20
    assert len(walked) == walked[0]["total_pages"]


@each_sort
def test_the_link_leads_through_the_whole_list(reader: FlaskClient, query: dict[str, str]) -> None:
    answer = reader.get(API, query_string=query | {"limit": "40", "page": "1", "unknown": "é&=#"})
    pages = [answer.json or {}]
    while "Link" in answer.headers and len(pages) < 9:
        assert pages[-1]["next_cursor"] is not None
        link, _, relation = answer.headers["Link"].partition("; ")
        assert relation == 'rel="next"'
        answer = reader.get(link.strip("<>"))
        pages.append(answer.json or {})
    assert pages == walk(reader, query, limit=40)


def test_the_link_is_good_whatever_else_was_asked(reader: FlaskClient) -> None:
    asked = "endpoint=x&_method=POST&_external=1&_scheme=ftp&_anchor=y&sort=&sort=price_asc&limit=&limit=2&q=drill%26"
    answer = reader.get(f"{API}?{asked}", headers={"Host": "evil.example.com"})
    link = answer.headers["Link"].partition(">")[0].strip("<")
    assert link.startswith(f"{API}?endpoint=x&")
    following = assert_ok(reader.get(link))
    assert (following["page"], following["limit"]) == (2, 2)


@contextmanager
def somebody_writing(shelf: Shelf) -> Iterator[Callable[[], None]]:
    """Another thread adds, removes and changes listings all the while; gives a wait until it has done so again."""
    written, ended = threading.Semaphore(0), threading.Event()

    def write() -> None:
        new, pick = [shelf.add() for _ in range(9)], random.Random(5)
        while not ended.is_set():
            new.append(shelf.add())
            shelf.remove(shelf.leaving.pop() if shelf.leaving else new.pop(0))
            shelf.move(pick.choice(shelf.moving))
            shelf.change(pick.choice(shelf.still), is_available=pick.random() < 0.5, condition="fair")
            written.release()

    def wait() -> None:
        assert written.acquire(timeout=WAIT_SECONDS)

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        try:
            yield wait
        finally:
            ended.set()
        writing.result(WAIT_SECONDS)


@each_sort
def test_while_others_write_nothing_repeats_and_nothing_that_stands_still_is_skipped(
    reader: FlaskClient, shelf: Shelf, query: dict[str, str]
) -> None:
    still = {str(one) for one in shelf.still} & set(ids(walk(reader, query, limit=100)))
    with somebody_writing(shelf) as wait_for_more:
        seen = ids(walk(reader, query, limit=4, turned=wait_for_more))

    # What was moved to another place in the order may be met there again: that is where it is now.
    unmoved = [one for one in seen if UUID(one) not in shelf.moving]
    assert len(unmoved) == len(set(unmoved))
    assert len(still) > 20
    assert still <= set(unmoved)


def assert_refused(reader: FlaskClient, cursor: str, **query: str) -> None:
    assert_invalid(reader.get(API, query_string={"limit": "2", **query, "cursor": cursor}), "cursor")


@pytest.mark.parametrize("other", [{}, {"sort": "price_desc"}, BY_PRICE | {"q": "drill"}])
def test_a_cursor_is_of_one_list_only(reader: FlaskClient, other: dict[str, str]) -> None:
    cursor = page(reader, BY_PRICE, limit=2)["next_cursor"]
    assert page(reader, BY_PRICE, limit=3, cursor=cursor)["page"] == 2
    assert_refused(reader, cursor, **other)


def test_a_cursor_that_was_changed_in_any_place_is_refused(reader: FlaskClient) -> None:
    cursor = page(reader, BY_PRICE, limit=2)["next_cursor"]
    for position, letter in enumerate(cursor):
        for bit in range(7):
            assert_refused(reader, cursor[:position] + chr(ord(letter) ^ 1 << bit) + cursor[position + 1 :], **BY_PRICE)
    for one in [cursor[:end] for end in range(1, len(cursor))] + [cursor[1:], cursor * 2, f"{cursor}A"]:
        assert_refused(reader, one, **BY_PRICE)
    for one in ("A" * 513, "é", "🚲", "\x00", "=", "====", "a b", "-1", "{}", "'", "%", "AAAA", "\ufffe"):
        assert_refused(reader, one)
    assert_refused(reader, cursor, **BY_PRICE, page="2")


@pytest.mark.parametrize("forged", FORGED.split())
def test_a_forged_cursor_does_no_harm(reader: FlaskClient, forged: str) -> None:
    """Its tag is right, for that is no secret: it may lead to some place in the list, or be refused."""
    payload = forged.replace("ID", str(UUID(int=0))).encode("latin-1")
    tag = paging._tag(payload, Search(filters=Filters(), sort=Sort.PRICE_ASC, page=paging.PageRequest()).cursor_scope)
    cursor = base64.urlsafe_b64encode(tag + payload).decode().rstrip("=")
    if reader.get(API, query_string={**BY_PRICE, "cursor": cursor}).status_code != 200:
        assert_refused(reader, cursor, **BY_PRICE)


@pytest.mark.parametrize("key", ["2026-01-01T00:00:00+20:00", "0001-01-01T00:00:00+23:59", "2026-01-01T00:00:00", "x"])
def test_a_forged_time_in_a_cursor_is_refused_before_the_database_sees_it(reader: FlaskClient, key: str) -> None:
    scope = Search(filters=Filters(), sort=Sort.NEWEST, page=paging.PageRequest()).cursor_scope
    position = paging.Position(page=2, key=key, id=str(UUID(int=0)))
    assert_refused(reader, paging.encode_cursor(position, of_list=scope))


@pytest.mark.parametrize("number", [6, 1_000_000])
def test_a_page_beyond_the_end_is_empty_and_still_tells_the_total(reader: FlaskClient, number: int) -> None:
    beyond = {"items": [], "total": 90, "page": number, "limit": 20, "total_pages": 5, "next_cursor": None}
    assert page(reader, {}, page=number) == beyond


@pytest.mark.parametrize("forms", [("0,0,8,48", "-0,0,8,48"), ("4", "4.0")], ids=["bbox", "max_price"])
def test_a_value_written_in_two_forms_at_once_gives_each_client_a_cursor_of_its_own(
    app: Flask, reader: FlaskClient, request: pytest.FixtureRequest, forms: tuple[str, str]
) -> None:
    queries = [{request.node.callspec.id: form, "sort": "newest"} for form in forms]
    asking = [gevent.spawn(page, app.test_client(), query, limit=1) for query in queries]
    gevent.joinall(asking, timeout=WAIT_SECONDS, raise_error=True)
    for query, found in zip(queries, asking, strict=True):
        assert page(reader, query, limit=1, cursor=found.value["next_cursor"])["page"] == 2

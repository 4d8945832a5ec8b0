"""The way past Flask answers as Flask's way does: each request here is made both ways, and compared."""

import dataclasses
import logging
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app import create_app, database
from app.equipment import repository
from app.errors import Unavailable
from app.geo import Point
from app.observability.logging import OURS
from app.settings import Settings
from app.web import shortcut
from tests.support import UNKNOWN_ID
from tests.support.assertions import assert_error
from tests.support.rows import Person, add_equipment

# What differs between any two requests.
OF_THE_REQUEST = {"X-Request-Id", "X-RateLimit-Remaining", "X-RateLimit-Reset"}
ORDINARY = {
    "plain": {},
    "any form": {"Accept": "*/*"},
    "json": {"Accept": "application/json"},
    "a browser": {"Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"},
    "a library": {"Accept": "application/json, text/plain, */*"},
    "another tag": {"If-None-Match": '"0.000000"'},
    "no tag": {"If-None-Match": "nonsense"},
    "whatever there is": {"If-None-Match": "*"},
    "the tag": {"If-None-Match": "{etag}"},
    "the tag, weakened": {"If-None-Match": "W/{etag}"},
    "the tag among others": {"If-None-Match": '"0.000000", {etag}'},
    "its own name": {"X-Request-Id": "a-name-of-its-own"},
    "a range": {"Range": "bytes=0-9"},
    "a cookie": {"Cookie": "session=1"},
}
OUT_OF_THE_ORDINARY = {
    "a token": {"Authorization": "Bearer x"},
    "an origin": {"Origin": "https://elsewhere.example"},
    "a condition to change": {"If-Match": '"1.000000"'},
    "no form of ours": {"Accept": "image/png"},
    "JSON left out": {"Accept": "application/json;q=0, text/html"},
}


LIST = "/api/v1/equipment"
LISTS = {
    "all": LIST,
    "the first of some": f"{LIST}?limit=1",
    "the second of some": f"{LIST}?limit=1&page=2",
    "those behind the last": f"{LIST}?page=9",
    "near": f"{LIST}?lat=47&lng=8&radius_km=5&utm_source=mail&lat=47",
    "none": f"{LIST}?q=nothing-like-it",
    "in another order": f"{LIST}?sort=price_asc&limit=2",
}


@pytest.fixture
def path(owner: Person) -> str:
    """Of a listing."""
    place = Point(longitude=8.0, latitude=47.0)
    first, *_ = (f"{LIST}/{add_equipment(owner.id, photos=2, coordinates=place)}" for _ in range(3))
    return first


@pytest.fixture
def flasks_way(monkeypatch: pytest.MonkeyPatch) -> Callable[..., TestResponse]:
    """Makes a request that finds nothing plain, and so goes Flask's way."""

    def ask(client: FlaskClient, path: str, **options: Any) -> TestResponse:
        with monkeypatch.context() as patch:
            patch.setattr(shortcut, "_is_plain", lambda *_: False)
            return client.open(path, **options)

    return ask


def seen(answer: TestResponse) -> tuple[int, dict[str, str], bytes]:
    headers = {name: value for name, value in answer.headers.items() if name not in OF_THE_REQUEST}
    return answer.status_code, headers, answer.data.replace(answer.headers["X-Request-Id"].encode(), b"")


def tagged(headers: dict[str, str], etag: str) -> dict[str, str]:
    return {name: value.replace("{etag}", etag) for name, value in headers.items()}


def assert_same(
    client: FlaskClient, flasks_way: Callable[..., TestResponse], path: str, **options: Any
) -> TestResponse:
    """Make a request both ways, compare the answers and return one."""
    here, there = client.open(path, **options), flasks_way(client, path, **options)
    assert seen(here) == seen(there)
    assert set(here.headers.keys()) == set(there.headers.keys())
    return here


@pytest.mark.parametrize(
    "headers", [*ORDINARY.values(), *OUT_OF_THE_ORDINARY.values()], ids=[*ORDINARY, *OUT_OF_THE_ORDINARY]
)
def test_both_ways_give_the_same_answer(
    client: FlaskClient, path: str, flasks_way: Callable[..., TestResponse], headers: dict[str, str]
) -> None:
    assert_same(client, flasks_way, path, headers=tagged(headers, client.get(path).headers["ETag"]))


@pytest.mark.parametrize("listed", LISTS.values(), ids=LISTS.keys())
@pytest.mark.usefixtures("path")
def test_both_ways_give_the_same_list(
    client: FlaskClient, flasks_way: Callable[..., TestResponse], listed: str
) -> None:
    for headers in ({}, {"If-None-Match": "{etag}"}, *OUT_OF_THE_ORDINARY.values()):
        assert_same(client, flasks_way, listed, headers=tagged(headers, client.get(listed).headers["ETag"]))


# Requests that nearly are those of the shortcut: method, and path with the listing's in place of the braces.
NEARLY = [
    *(("GET", f"{LIST}?{query}") for query in ("limit=0", "lat=1", "page=2&cursor=x", "cursor=nonsense")),
    *(("GET", f"{LIST}?{query}") for query in ("q=%FF", "limit=1&limit=2", "sort=distance")),
    *(("GET", path) for path in ("{}/", "/{}", "{}%20", "{}%0A", "{}?limit=1", "{}/photos")),
    *(("GET", path) for path in (f"{LIST}/not-an-id", f"{LIST}/{UNKNOWN_ID}", f"{LIST}/", f"/{LIST}", f"{LIST}%2F")),
    *((method, "{}") for method in ("HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH")),
]


@pytest.mark.parametrize(("method", "asked"), NEARLY)
def test_both_ways_answer_the_same_to_another_method_path_or_query(
    client: FlaskClient, path: str, flasks_way: Callable[..., TestResponse], method: str, asked: str
) -> None:
    assert_same(client, flasks_way, asked.format(path), method=method)


@pytest.mark.parametrize("headers", ORDINARY.values(), ids=ORDINARY.keys())
def test_an_ordinary_request_needs_no_flask(
    client: FlaskClient, path: str, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("went Flask's way")

    monkeypatch.setattr(client.application, "request_context", fail)
    for asked in (path, LIST, f"{LIST}?limit=1"):
        etag = client.get(asked).headers["ETag"]
        assert client.get(asked, headers=tagged(headers, etag)).status_code in (200, 304)


def test_one_request_counts_once_whatever_comes_of_it(
    settings: Settings, rolled_back: None, monkeypatch: pytest.MonkeyPatch, client: FlaskClient, path: str
) -> None:
    monkeypatch.setattr(database, "connect", lambda _: None)
    limits = dataclasses.replace(settings.rate_limits, anonymous="4/minute", public_search="1/minute")
    asking = create_app(dataclasses.replace(settings, rate_limits=limits)).test_client()
    nowhere = f"/api/v1/equipment/{UNKNOWN_ID}"
    answers = [asking.get(asked) for asked in (path, nowhere, path, nowhere, path, nowhere)]
    assert [answer.status_code for answer in answers] == [200, 404, 200, 404, 429, 429]
    assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["3", "2", "1", "0", "0", "0"]
    assert [asking.get(asked).status_code for asked in (f"{LIST}?limit=0", LIST)] == [400, 429]


def test_a_request_is_written_down_under_its_rule(
    client: FlaskClient, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger=OURS):
        for asked in (path, LIST):
            assert client.get(asked).status_code == 200
    routes = [record.msg["route"] for record in caplog.records if isinstance(record.msg, dict)]
    assert routes == [f"{LIST}/<uuid:equipment_id>", LIST]


def test_what_goes_wrong_leaves_by_the_table_of_errors(
    client: FlaskClient, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def fail(*_: object) -> None:
        calls.append(1)
        raise Unavailable("The database is away.", retry_after_seconds=7)

    monkeypatch.setattr(repository, "get_versions", fail)
    answer = client.get(path, headers={"If-None-Match": '"1.000000"'})
    assert_error(answer, 503, "SERVICE_UNAVAILABLE")
    assert answer.headers["Retry-After"] == "7"
    assert calls == [1]

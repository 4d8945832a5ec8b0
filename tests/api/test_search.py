"""The public search by example: what a client may ask, what it gets, and what it is told when it asks wrongly."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine, event, text

from app.common.geo import Point
from app.db import prepared
from app.db.session import transaction
from app.equipment.schemas import EquipmentQuery
from app.models import Condition
from app.settings import Settings
from tests.support.assertions import assert_error, assert_ok
from tests.support.rows import EPOCH, Person, add_equipment, category_id, new_equipment

API = "/api/v1/equipment"
BERN, ZURICH = Point(latitude=46.948, longitude=7.4474), Point(latitude=47.3769, longitude=8.5417)
IN_BERN = {"lat": "46.948", "lng": "7.4474"}


def found(client: FlaskClient, **query: Any) -> list[str]:
    """The titles found, in their order; the total always counts all of them."""
    body = assert_ok(client.get(API, query_string=query))
    assert body["total"] == len(body["items"])
    return [item["title"] for item in body["items"]]


@pytest.fixture
def listings(client: FlaskClient, owner: Person) -> None:
    """Four listings, the newest last."""
    add_equipment(owner.id, title="Zurich saw", coordinates=ZURICH, daily_rate=30, condition=Condition.FAIR)
    add_equipment(owner.id, title="Bern drill", coordinates=BERN, daily_rate=20, is_available=False)
    add_equipment(owner.id, title="Placeless café tent", daily_rate=10, category_id=category_id("Tents"))
    fiji = Point(latitude=-17.0, longitude=179.5)
    add_equipment(owner.id, title="Fiji kayak", coordinates=fiji, daily_rate=20, category_id=category_id("Diving"))


ALL = ["Fiji kayak", "Placeless café tent", "Bern drill", "Zurich saw"]


@pytest.mark.parametrize(
    ("query", "titles"),
    [
        ({}, ALL),
        ({"latitude": "46.948", "longitude": "7.4474", "radius_km": "100"}, ["Bern drill", "Zurich saw"]),
        (IN_BERN | {"radius_km": "0"}, ["Bern drill"]),
        (IN_BERN | {"radius_km": "1e-400"}, ["Bern drill"]),
        ({"bbox": "7.4474,46.948,7.4474,46.948"}, ["Bern drill"]),
        ({"bbox": "-180,-90,180,90"}, ["Fiji kayak", "Bern drill", "Zurich saw"]),
        ({"min_price": "20", "max_price": "20.00"}, ["Fiji kayak", "Bern drill"]),
        ({"q": "!saw"}, ["Zurich saw"]),
        ({"unknown": "ignored", "limit": "4"}, ALL),
    ],
    ids=str,
)
def test_what_is_asked_is_what_is_found(
    client: FlaskClient, listings: None, query: dict[str, str], titles: list[str]
) -> None:
    assert found(client, **query) == titles


def test_a_search_finds_the_same_by_statements_that_are_sent_whole(
    client: FlaskClient, listings: None, settings: Settings
) -> None:
    queries: list[dict[str, Any]] = [
        {},
        {"page": 2, "limit": 3},
        {"sort": "price_desc", "limit": 1},
        {"q": "drill 50% o'brien", "is_available": "false"},
        {"sort": "relevance", "q": "café"},
        IN_BERN | {"radius_km": 100, "q": "drill", "max_price": "25.5", "category_id": category_id("Power tools")},
        IN_BERN | {"bbox": "170,-20,-170,50", "condition": "good", "sort": "newest"},
    ]

    def answers() -> list[Any]:
        pages = [client.get(API, query_string=query).json or {} for query in queries]
        behind = [query | {"cursor": page["next_cursor"]} for query, page in zip(queries, pages, strict=True)]
        return [*pages, *(client.get(API, query_string=query).json for query in behind if query["cursor"])]

    as_prepared = answers()
    prepared.configure(replace(settings, db_prepare_statements=False))
    try:
        assert answers() == as_prepared
    finally:
        prepared.configure(settings)


@pytest.mark.parametrize("parameter", [*EquipmentQuery().fields, *EquipmentQuery.ALIASES])
def test_a_blank_null_or_undefined_parameter_counts_as_absent(
    client: FlaskClient, listings: None, parameter: str
) -> None:
    for absent in ("", " ", "null", "undefined", "\t", ["", "null"], ["undefined", "null"]):
        assert found(client, **{parameter: absent}) == ALL, absent


NO_NUMBERS = [
    *("x", "NaN", "inf", "Infinity", "-Infinity", "1e400", "-1e400", "1e9999999", "9" * 400, "1,5", "0x10", "1_0"),
    *("%FF", "%ED%A0%80", "%00", "1%002", "%F0%9F%9A%B2", "%D9%A3", "%2B1"),
]
NO_INTEGERS = [*NO_NUMBERS, "1.5", "1e1", "1e-400", "0", "-1", "9" * 5000]
NO_PRICES = [*NO_NUMBERS, "-1", "-0.01", "0.001", "100000000", "1e-400", "sNaN", "9" * 5000]
BAD_VALUES: dict[str, list[str]] = {
    "page": [*NO_INTEGERS, "1000001"],
    "limit": [*NO_INTEGERS, "101"],
    "min_price": [*NO_PRICES, "2&max_price=1"],
    "max_price": NO_PRICES,
    "lat": [f"{bad}&lng=1" for bad in [*NO_NUMBERS, "90.0001", "-91", "1&lng=1&latitude=2"]],
    "lng": [f"{bad}&lat=1" for bad in [*NO_NUMBERS, "180.0001", "-181", "2&longitude=1"]],
    "radius_km": [f"{bad}&lat=1&lng=1" for bad in [*NO_NUMBERS, "-0.001", "20037.6"]] + ["1"],
    "bbox": ["1,2,3", "1,2,3,4,5", ",,,", "0,0,181,1", "0,-91,1,0", "0,2,1,1"]
    + [f"0,0,1,{bad}" for bad in NO_NUMBERS]
    + [f"{bad},0,1,1" for bad in NO_NUMBERS],
    "category_id": ["1", "x", "%00", "'--", "00000000-0000-0000-0000-00000000000g"],
    "condition": ["used", "GOOD", "good'--", "%00", "Condition.GOOD"],
    "is_available": ["2", "maybe", "%00", "truee"],
    "sort": ["Newest", "id", "created_at;--", "%00", "distance", "distance&q=x", "relevance", "relevance&lat=1&lng=1"],
    "q": ["%00", "a%00b", "%1B", "%C2%85x%7F", "x" * 201, "a+" * 99, "a+" * 100, "a%26" * 100, "a:*+" * 50],
    "cursor": ["A" * 513, "%00", "%FF"],
}
PAIRS = [("lng", "lat=1"), ("lat", "lng=1"), ("lng", "latitude=1"), ("lat", "longitude=1&radius_km=1")]


@pytest.mark.attack("hostile input")
@pytest.mark.parametrize("field", EquipmentQuery().fields)
def test_a_bad_value_is_refused_by_the_name_of_its_field(client: FlaskClient, field: str) -> None:
    queries = [f"{field}={value}" for value in [*BAD_VALUES[field], f"1&{field}=2"]]
    for query in [*queries, *(query for name, query in PAIRS if name == field)]:
        details = assert_error(client.get(f"{API}?{query}"), 400, "VALIDATION_ERROR")["details"]
        assert field in [problem["field"] for problem in details], query


SAID = {"cordless", "drill", "with", "a", "case", "in", "green"}
SIGNS_AND_WORDS = [
    *("%", "_", "*", "\\", "'", '"', ":", ":*", "&", "|", "!", "(", ")", "<->", "<1>", "& | !", "()", "''", "%%"),
    *("%rill", "dr%l", "d_ill", "d*ll", "dr?ll", "d.ll", ".*", "dr.*", "[d]rill ^", "^drill$ hammer", "d(rill)"),
    *("hammer | drill", "drill | hammer", "hammer|drill", "!hammer", "drill & !green", "!!drill hammer", "dri:*ll"),
    *("drill <-> green", "hammer or drill", "drill -green", "drill & hammer:*", "'drill hammer'", "hamm:*"),
    *("drill:D hammer", "d\\rill", "' '", "dri:*x", "drill|hammer", "\\'", "x:*y:A", "drill", "hammer"),
    *("'; DROP TABLE equipment; --", "x') OR 1=1 --", "%(q)s {} $1 :q"),
]


@pytest.mark.attack("hostile input")
def test_no_sign_is_a_wildcard_an_operator_or_sql(client: FlaskClient, owner: Person) -> None:
    add_equipment(owner.id, title="Cordless drill", description="With a case, in green.")

    def is_found(words: str) -> bool:
        asked = "".join(sign if sign.isalnum() else " " for sign in words).lower().split()
        *whole, last = [word for word in asked if word != "or"] or [""]  # a stop word
        return bool(last) and set(whole) <= SAID and any(word.startswith(last) for word in SAID)

    expected = {words: ["Cordless drill"] if is_found(words) else [] for words in SIGNS_AND_WORDS}
    assert {words: found(client, q=words) for words in SIGNS_AND_WORDS} == expected


def test_each_word_of_a_title_is_found(client: FlaskClient, owner: Person) -> None:
    title = "Canoe/kayak set, drill/driver 18V, saw (used), like-new"
    add_equipment(owner.id, title=title, description="As it says.")
    words = title.translate(str.maketrans("/(),-", "     ")).split()
    assert {word: found(client, q=word) for word in words} == {word: [title] for word in words}


@pytest.mark.attack("hostile input")
@pytest.mark.parametrize(
    "q",
    [" ".join("abcdefghijklmnopqrst"), " ".join(["9" * 9] * 20), "a" * 200, "é" * 200, "🔨" * 100, "'" * 200,
     "\\" * 199 + "'"],
    ids=lambda q: ascii(q)[:20],
)  # fmt: skip
def test_any_words_within_the_limit_are_searched(client: FlaskClient, listings: None, q: str) -> None:
    assert set(found(client, q=q)) <= set(ALL)


def test_an_item_is_the_same_from_every_endpoint(client: FlaskClient, owner: Person) -> None:
    place = {"latitude": 46.94809123456789, "longitude": 7.447446543219876}
    answer = client.post(API, json=new_equipment(coordinates=place), headers=owner.headers)
    made, address = assert_ok(answer, 201), answer.headers["Location"]
    assert address == f"{API}/{made['id']}"
    assert made["owner_id"] == str(owner.id)
    photo = client.post(f"{address}/photos", json={"photo_url": "https://p.example/1.jpg"}, headers=owner.headers).json
    changed = client.put(address, json={"title": made["title"]}, headers=owner.headers).json
    far = (client.get(API, query_string=IN_BERN).json or {})["items"][0]

    assert far.pop("distance_km") == pytest.approx(0.011, abs=0.001)
    assert changed == far == made | {"photos": [photo]}
    assert changed == client.get(address).json == (client.get(API).json or {})["items"][0]
    assert changed == (client.get("/api/v1/users/me/equipment", headers=owner.headers).json or {})["items"][0]
    names = "id owner_id category_id title description daily_rate condition location coordinates is_available photos"
    assert set(made) == {*names.split(), "created_at", "updated_at"}
    assert made["coordinates"] == place
    assert (made["daily_rate"], made["is_available"], made["photos"]) == ("25.00", True, [])
    assert set(photo or {}) == {"id", "photo_url", "is_primary", "order_index"}


@pytest.mark.parametrize("limit", [1, 100])
def test_a_page_costs_the_same_statements_whatever_its_size(
    client: FlaskClient, owner: Person, counting_statements: Callable[[], Any], limit: int
) -> None:
    for _ in range(101):
        add_equipment(owner.id, photos=2, coordinates=BERN, created_at=EPOCH + timedelta(days=1))
    with counting_statements() as public:
        answer = client.get(API, query_string=IN_BERN | {"q": "drill", "limit": limit, "radius_km": 1})
    with counting_statements() as own:
        client.get("/api/v1/users/me/equipment", query_string={"limit": limit}, headers=owner.headers)

    assert len((answer.json or {})["items"]) == limit
    assert len(public) == 1
    assert len(own) == 2


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("lat=46.9&lng=7.4&radius_km=5", "ix_equipment_coordinates"),
        ("bbox=7,46,7.1,46.1", "ix_equipment_lng_lat"),
        ("bbox=179.9,-90,-179.9,90", "ix_equipment_lng_lat"),
        ("q=number77", "ix_equipment_search"),
        ("", "ix_equipment_newest"),
        ("", "equipment_tally"),
        ("is_available=true&sort=price_asc", "equipment_tally"),
        ("category_id=00000000-0000-0000-0000-000000000000", "equipment_tally"),
        ("lat=46.9&lng=7.4", "equipment_tally"),
    ],
)
def test_the_plan_uses_the_index_or_the_tally(
    client: FlaskClient, owner: Person, engine: Engine, query: str, index: str
) -> None:
    sent: list[tuple[str, Any]] = []
    with transaction() as session:
        session.execute(text(MANY), {"owner": owner.id, "category": category_id()})
        session.execute(text("SELECT gin_clean_pending_list('ix_equipment_search')"))
        session.execute(text("ANALYZE equipment"))

        listener = engine, "before_cursor_execute", lambda *about: sent.append(about[2:4])
        event.listen(*listener)
        assert client.get(f"{API}?{query}").status_code == 200
        event.remove(*listener)
        [(statement, parameters)] = [one for one in sent if "EXECUTE search_" in one[0]]
        # Behind what prepares it and says how it is planned, which stays said until the transaction ends.
        execution = statement.rpartition("; ")[2]
        plan = session.connection().exec_driver_sql(f"EXPLAIN {execution}", parameters).scalars().all()
    assert index in "\n".join(plan)


MANY = """
    INSERT INTO equipment (owner_id, category_id, title, description, daily_rate, condition, location, coordinates,
                           created_at)
    SELECT :owner, :category, 'Drill number' || n, 'A drill among many.', 1 + n % 90, 'good', 'Somewhere',
           ST_Point(n * 7919 % 3600 / 10.0 - 180, n * 104729 % 1800 / 10.0 - 90, 4326)::geography,
           TIMESTAMPTZ '2026-01-01Z' + n * INTERVAL '1 minute'
    FROM generate_series(1, 3000) AS n
"""

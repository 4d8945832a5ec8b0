"""Listings: their life, their photos, and the one shape they have everywhere."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from flask.testing import FlaskClient
from marshmallow import RAISE

from app.common.geo import Point
from app.equipment.photos import MAX_PHOTOS
from app.equipment.schemas import EquipmentChanges, Item
from tests.support import UNKNOWN_ID
from tests.support.assertions import assert_error, assert_invalid, assert_ok
from tests.support.rows import Person, add_equipment, new_equipment

API = "/api/v1/equipment"


@pytest.fixture
def listing(client: FlaskClient, owner: Person) -> dict[str, Any]:
    return dict(assert_ok(client.post(API, json=new_equipment(), headers=owner.headers), 201))


@pytest.fixture
def url(listing: dict[str, Any]) -> str:
    return f"{API}/{listing['id']}"


@pytest.mark.parametrize(
    ("given", "kept"),
    [("25", "25.00"), ("25.5", "25.50"), (25.1, "25.10"), (0.01, "0.01"), ("99999999.99", "99999999.99"), (7, "7.00"),
     (1e2, "100.00"), ("12.500", "12.50")],
)  # fmt: skip
def test_daily_rate_is_exact(client: FlaskClient, owner: Person, given: Any, kept: str) -> None:
    created = assert_ok(client.post(API, json=new_equipment(daily_rate=given), headers=owner.headers), 201)
    assert created["daily_rate"] == kept
    assert client.get(f"{API}/{created['id']}").json == created


BAD_FIELDS: dict[str, tuple[Any, ...]] = {
    "daily_rate": (
        *(0, "-1", "25.005", "100000000", "NaN", "Infinity", "1e400", True, [], {}, "", " ", "abc", None, "1" * 40),
        *("0.001", "9e999999999", "1e2", "+5", "1_0", "٣"),
    ),
    "title": ("", "ab", "x" * 201, None, 5, [], "  a  ", "nul\x00byte", "zero\u200bwidth", "\u202eturned"),
    "description": ("too short", "x" * 10_001, None, {}),
    "location": ("x", "x" * 256, None),
    "condition": ("broken", "", None, 1, "GOOD"),
    "category_id": ("", "1", None, 5, UNKNOWN_ID),
    "coordinates": (
        *([], "46,7", {"latitude": 91, "longitude": 0}, {"latitude": 0, "longitude": 180.01}),
        *({"latitude": "x", "longitude": 0}, {"latitude": 0, "longitude": 0, "altitude": 1}),
    ),
    "is_available": ("maybe",),
}


@pytest.mark.parametrize("field", BAD_FIELDS)
def test_a_bad_field_is_refused_by_name(client: FlaskClient, owner: Person, field: str) -> None:
    for value in BAD_FIELDS[field]:
        body = json.dumps(new_equipment(**{field: value}))
        answer = client.post(API, data=body, content_type="application/json", headers=owner.headers)
        details = assert_error(answer, 400, "VALIDATION_ERROR")["details"]
        assert {problem["field"].partition(".")[0] for problem in details} == {field}, value


@pytest.mark.parametrize("field", ["category_id", "title", "description", "daily_rate", "condition", "location"])
def test_a_missing_field_is_named(client: FlaskClient, owner: Person, field: str) -> None:
    body = new_equipment()
    del body[field]
    details = assert_invalid(client.post(API, json=body, headers=owner.headers), field)
    assert details == [{"field": field, "message": "Missing data for required field.", "code": "required"}]


CHANGES: list[dict[str, Any]] = [
    *({"title": "Better drill"}, {"description": "Now with three batteries."}, {"daily_rate": "19.90"}),
    *({"condition": "fair"}, {"location": "Thun"}, {"is_available": False}, {}),
    *({"coordinates": {"latitude": -17.5, "longitude": 179.9}}, {"coordinates": None}),
]


def test_put_changes_what_is_given_and_nothing_else(
    client: FlaskClient, owner: Person, listing: dict[str, Any], url: str
) -> None:
    for changes in CHANGES:
        changed = assert_ok(client.put(url, json=changes, headers=owner.headers))
        listing |= {**changes, "updated_at": changed["updated_at"]}
        assert client.get(url).json == changed == listing


def test_a_put_that_changes_nothing_keeps_the_version_and_the_time(
    client: FlaskClient, owner: Person, admin: Person, listing: dict[str, Any], url: str
) -> None:
    editable = EquipmentChanges().fields
    same = {name: value for name, value in listing.items() if name in editable}
    before = client.get(url)
    for who in (owner, admin):
        for changes in ({}, same, *({name: value} for name, value in same.items())):
            answer = client.put(url, json=changes, headers=who.headers)
            assert (assert_ok(answer), answer.headers["ETag"]) == (listing, before.headers["ETag"])
    log = f"/api/v1/admin/audit-log?subject_id={listing['id']}"
    assert assert_ok(client.get(log, headers=admin.headers))["total"] == 0

    placeless = client.put(url, json={"coordinates": None}, headers=admin.headers)
    again = client.put(url, json={"coordinates": None}, headers=owner.headers)
    assert placeless.headers["ETag"] == again.headers["ETag"] != before.headers["ETag"]
    assert assert_ok(client.get(log, headers=admin.headers))["total"] == 1


@pytest.mark.parametrize(
    ("at", "shown"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05+00:00"),
        (datetime(2026, 1, 2, 3, 4, 5, 600_000, tzinfo=UTC), "2026-01-02T03:04:05.600000+00:00"),
        (datetime(2026, 7, 1, 1, tzinfo=timezone(timedelta(hours=2))), "2026-06-30T23:00:00+00:00"),
    ],
)
def test_a_time_is_in_utc_and_written_as_everywhere_else(
    client: FlaskClient, owner: Person, at: datetime, shown: str
) -> None:
    answer = client.get(f"{API}/{add_equipment(owner.id, created_at=at)}")
    assert (answer.json or {})["created_at"] == shown


def test_the_json_of_a_listing_is_what_its_schema_describes(client: FlaskClient, owner: Person) -> None:
    place = Point(longitude=-0.1234567890123, latitude=46.0)
    title, description = 'A "quoted" \\ title', "Lines:\n\t<b>é🚲</b> \u2028 end."
    at = datetime(2026, 1, 2, 3, 4, 5, 600_000, tzinfo=UTC)
    bare = add_equipment(owner.id)
    full = add_equipment(owner.id, photos=2, coordinates=place, title=title, description=description, created_at=at)
    pages = [
        client.get(API).json,
        client.get("/api/v1/users/me/equipment", headers=owner.headers).json,
        client.get(f"{API}?lat=46&lng=7").json,
    ]
    items = [client.get(f"{API}/{one}").json or {} for one in (bare, full)]
    items += [item for page in pages for item in (page or {})["items"]]
    assert len(items) == 8

    schema = Item(unknown=RAISE)
    for item in items:
        # What a field loads and dumps unchanged has the field's type and format.
        assert schema.dump(schema.load(item)) == item
        is_bare = item["id"] == str(bare)
        assert (item["coordinates"] is None, item["photos"] == []) == (is_bare, is_bare)
        assert is_bare or (item["title"], item["description"]) == (title, description)
    assert [set(item) for item in items[:-2]] == [set(schema.fields) - {"distance_km"}] * 6
    assert [set(item) for item in items[-2:]] == [set(schema.fields)] * 2
    assert [item["distance_km"] is None for item in items[-2:]] == [False, True]


def test_a_deleted_listing_is_gone(client: FlaskClient, owner: Person, url: str) -> None:
    assert client.delete(url, headers=owner.headers).status_code == 204
    assert client.get(url).status_code == 404
    assert client.delete(url, headers=owner.headers).status_code == 404
    assert client.put(url, json={}, headers=owner.headers).status_code == 404
    photo = {"photo_url": "https://photos.example.com/1.jpg"}
    assert_error(client.post(f"{url}/photos", json=photo, headers=owner.headers), 404, "NOT_FOUND")


def test_the_categories_cost_one_statement(client: FlaskClient, counting_statements: Any) -> None:
    with counting_statements() as counted:
        tree = assert_ok(client.get("/api/v1/categories"))
    assert len(counted) == 1
    assert all({"id", "name", "parent_id", "created_at", "children"} == node.keys() for node in tree)
    by_id = {node["id"]: node for node in tree}
    for node in tree:
        if node["parent_id"] is not None:
            assert node in by_id[node["parent_id"]]["children"]


class TestPhotos:
    @pytest.fixture
    def add(self, client: FlaskClient, owner: Person, url: str) -> Callable[..., dict[str, Any]]:
        def add_photo(name: str, **options: Any) -> dict[str, Any]:
            body = {"photo_url": f"https://photos.example.com/{name}.jpg", **options}
            return dict(assert_ok(client.post(f"{url}/photos", json=body, headers=owner.headers), 201))

        return add_photo

    @pytest.fixture
    def photos(self, client: FlaskClient, url: str) -> Callable[[], list[tuple[str, bool]]]:
        return lambda: [
            (photo["photo_url"].rpartition("/")[2].removesuffix(".jpg"), photo["is_primary"])
            for photo in assert_ok(client.get(url))["photos"]
        ]

    @pytest.mark.parametrize(
        ("steps", "shown"),
        [
            ("+a", [("a", True)]),
            ("+a +b", [("a", True), ("b", False)]),
            ("+a +b *c", [("a", False), ("b", False), ("c", True)]),
            ("+a +b +c *d -d", [("a", True), ("b", False), ("c", False)]),
            ("+a +b +c -b +d", [("a", True), ("c", False), ("d", False)]),
            ("+a -a", []),
        ],
    )
    def test_one_photo_is_primary_and_the_order_stays(
        self, client: FlaskClient, owner: Person, url: str, add: Any, photos: Any, steps: str, shown: Any
    ) -> None:
        """`+a` adds a photo, `*a` adds it as the primary one, `-a` removes it."""
        added: dict[str, dict[str, Any]] = {}
        for step in steps.split():
            act, name = step[0], step[1:]
            if act == "-":
                path = f"{url}/photos/{added[name]['id']}"
                assert client.delete(path, headers=owner.headers).status_code == 204
            else:
                added[name] = add(name, **({"is_primary": True} if act == "*" else {}))
        assert photos() == shown

    def test_a_photo_of_another_listing_is_not_found_here(
        self, client: FlaskClient, owner: Person, add: Any, photos: Any
    ) -> None:
        photo = add("a")
        other = add_equipment(owner.id)
        answer = client.delete(f"{API}/{other}/photos/{photo['id']}", headers=owner.headers)
        assert answer.status_code == 404
        assert photos() == [("a", True)]

    def test_there_is_a_limit(self, client: FlaskClient, owner: Person, url: str, add: Any) -> None:
        for number in range(MAX_PHOTOS):
            add(str(number))
        body = {"photo_url": "https://photos.example.com/more.jpg"}
        assert client.post(f"{url}/photos", json=body, headers=owner.headers).status_code == 409

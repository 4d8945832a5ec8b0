"""The public search as a map takes it: a FeatureCollection (RFC 7946), of the very page that JSON gives."""

import json
from decimal import Decimal
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from app.common.geo import BoundingBox, Point
from tests.support.assertions import assert_error, assert_ok
from tests.support.rows import Person, add_equipment

API = "/api/v1/equipment"
MEDIA_TYPE = "application/geo+json"
MAP = {"Accept": MEDIA_TYPE}
BERN = Point(longitude=7.4474, latitude=46.948)


def collection(client: FlaskClient, path: str = API, accept: str = MEDIA_TYPE) -> dict[str, Any]:
    answer = client.get(path, headers={"Accept": accept})
    assert answer.status_code == 200, answer.get_data(as_text=True)
    assert answer.content_type == MEDIA_TYPE
    assert "Accept" in answer.vary
    body: dict[str, Any] = json.loads(answer.get_data())
    assert_geojson(body)
    return body


def assert_geojson(body: dict[str, Any]) -> None:
    """Check the form of a collection of points (RFC 7946 §3)."""
    assert body["type"] == "FeatureCollection"
    assert not body.keys() & {"coordinates", "geometries", "geometry", "properties", "crs"}  # §7.1, §4
    for feature in body["features"]:
        assert feature.keys() == {"type", "id", "geometry", "properties"}
        assert feature["type"] == "Feature"
        assert isinstance(feature["id"], str)
        assert isinstance(feature["properties"], dict)
        if feature["geometry"] is not None:
            assert feature["geometry"].keys() == {"type", "coordinates"}
            assert feature["geometry"]["type"] == "Point"


def test_every_page_is_the_same_as_in_json(client: FlaskClient, owner: Person) -> None:
    for number in range(4):
        place = Point(longitude=7.0 + number, latitude=46.0 + number)
        add_equipment(owner.id, photos=number, coordinates=place, daily_rate=Decimal(number + 1))
    add_equipment(owner.id, daily_rate=Decimal(9))
    path, pages = f"{API}?lat=47&lng=7&limit=2&q=drill", 0
    while path:
        page, pages = client.get(path), pages + 1
        as_json, body = assert_ok(page), collection(client, path)
        assert [feature["id"] for feature in body["features"]] == [item["id"] for item in as_json["items"]]
        for feature, item in zip(body["features"], as_json["items"], strict=True):
            place = item.pop("coordinates")
            assert (feature["geometry"] or {}).get("coordinates") == (place and [place["longitude"], place["latitude"]])
            assert feature["properties"] == item
        counts = {name: as_json[name] for name in ("total", "page", "limit", "total_pages", "next_cursor")}
        assert body.keys() - {"type", "features", "bbox"} == counts.keys()
        assert counts.items() <= body.items()
        link = client.get(path, headers=MAP).headers.get("Link")
        assert link == page.headers.get("Link")
        path = link.partition(">")[0].strip("<") if link and 'rel="next"' in link else ""
    assert pages == 3


def test_what_has_no_place_has_no_geometry_and_no_box(client: FlaskClient, owner: Person) -> None:
    empty = collection(client)
    assert (empty["features"], empty["total"]) == ([], 0)
    add_equipment(owner.id)
    body = collection(client)
    assert [feature["geometry"] for feature in body["features"]] == [None]
    assert "bbox" not in {**empty, **body}


@pytest.mark.parametrize(
    ("longitudes", "west", "east"),
    [([7.0], 7.0, 7.0), ([7.0, 9.0, 8.0], 7.0, 9.0), ([179.0, -179.0], 179.0, -179.0),
     ([-170.0, 170.0, 175.0], 170.0, -170.0), ([0.0, 120.0, -120.0], -120.0, 120.0), ([180.0, -180.0], 180.0, -180.0)],
)  # fmt: skip
def test_the_box_is_the_smallest_and_may_cross_the_antimeridian(
    client: FlaskClient, owner: Person, longitudes: list[float], west: float, east: float
) -> None:
    for number, longitude in enumerate(longitudes):
        add_equipment(owner.id, coordinates=Point(longitude=longitude, latitude=float(number)))
    assert collection(client)["bbox"] == [west, 0.0, east, len(longitudes) - 1.0]


@given(st.lists(st.builds(Point, longitude=st.floats(-180, 180), latitude=st.floats(-90, 90)), min_size=1, max_size=6))
def test_no_point_is_outside_its_box_and_no_box_is_wider_than_needed(points: list[Point]) -> None:
    box = BoundingBox.around(points)
    width = (box.east - box.west) % 360.0 if box.east != box.west else 0.0
    for point in points:
        assert box.south <= point.latitude <= box.north
        offset = (point.longitude - box.west) % 360.0
        assert offset <= width + 1e-9 or offset >= 360.0 - 1e-9
    for start in points:  # every other box that begins at a point
        other = max((point.longitude - start.longitude) % 360.0 for point in points)
        assert width <= other + 1e-9


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (MEDIA_TYPE, MEDIA_TYPE),
        ("APPLICATION/GEO+JSON", MEDIA_TYPE),
        (f"{MEDIA_TYPE}; charset=utf-8", MEDIA_TYPE),
        (f"{MEDIA_TYPE}, application/json;q=0.9", MEDIA_TYPE),
        (f"{MEDIA_TYPE}, */*;q=0.1", MEDIA_TYPE),
        ("application/json;q=0, application/*", MEDIA_TYPE),
        (f"application/json, {MEDIA_TYPE}", "application/json"),
        (f"{MEDIA_TYPE};q=0.5, application/json", "application/json"),
        (f"{MEDIA_TYPE};q=0, */*", "application/json"),
        ("application/*", "application/json"),
        ("*/*", "application/json"),
    ],
)
def test_it_is_given_where_it_is_liked_best(client: FlaskClient, accept: str, media_type: str) -> None:
    answer = client.get(API, headers={"Accept": accept})
    assert answer.status_code == 200
    assert answer.mimetype == media_type
    assert client.head(API, headers={"Accept": accept}).mimetype == media_type


def test_its_tag_is_not_that_of_the_page_in_json(client: FlaskClient, owner: Person) -> None:
    add_equipment(owner.id, coordinates=BERN)
    as_json, as_map = client.get(API).headers["ETag"], client.get(API, headers=MAP).headers["ETag"]
    assert as_json != as_map
    assert client.get(API, headers={**MAP, "If-None-Match": as_json}).status_code == 200
    known = client.get(API, headers={**MAP, "If-None-Match": as_map})
    assert known.status_code == 304
    assert "Accept" in known.vary


def test_an_error_of_it_is_the_one_error_body(client: FlaskClient) -> None:
    answer = client.get(f"{API}?limit=x", headers=MAP)
    assert answer.mimetype == "application/json"
    assert_error(answer, 400, "VALIDATION_ERROR")


def test_it_takes_one_statement(client: FlaskClient, owner: Person, counting_statements: Any) -> None:
    add_equipment(owner.id, photos=2, coordinates=BERN)
    with counting_statements() as counted:
        collection(client)
    assert len(counted) == 1

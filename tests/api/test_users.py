"""Users as others see them, their own profiles, and becoming an owner."""

import dataclasses
import json
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.settings import OwnerSignup, Settings
from tests.support.admin_api import role_of
from tests.support.assertions import assert_error, assert_invalid, assert_ok
from tests.support.rows import Person, add_category, add_equipment, new_equipment

API = "/api/v1/users"


@pytest.mark.parametrize(
    "changes",
    [
        *({"username": "samantha"}, {"full_name": "Sam O’Neil"}, {"full_name": None}, {}),
        *({"avatar_url": "https://avatars.example.com/sam.png"}, {"avatar_url": None}),
    ],
)
def test_users_change_what_they_give(client: FlaskClient, renter: Person, changes: dict[str, Any]) -> None:
    before = assert_ok(client.get("/api/v1/auth/me", headers=renter.headers))
    answer = client.put(f"{API}/{renter.id}", json=changes, headers=renter.headers)
    assert answer.json == {**before, **changes}
    assert client.get("/api/v1/auth/me", headers=renter.headers).json == answer.json


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("username", value) for value in ("ab", "x" * 51, None, 5, "   a   ", "a\nb")),
        *(("full_name", value) for value in ("", "x" * 201, 5)),
        *(("avatar_url", value) for value in ("http://example.com/a.png", "x", "https://example.com/" + "x" * 2048)),
        ("email", "admin"),
    ],
)
def test_a_bad_or_forbidden_field_is_refused_by_name(
    client: FlaskClient, renter: Person, field: str, value: Any
) -> None:
    assert_invalid(client.put(f"{API}/{renter.id}", json={field: value}, headers=renter.headers), field)
    assert role_of(renter.id) == "renter"


def test_a_taken_username_is_a_conflict_whatever_its_case(client: FlaskClient, renter: Person, owner: Person) -> None:
    client.put(f"{API}/{owner.id}", json={"username": "Samantha"}, headers=owner.headers)
    answer = client.put(f"{API}/{renter.id}", json={"username": "sAMANTHA"}, headers=renter.headers)
    assert [problem["field"] for problem in assert_error(answer, 409, "CONFLICT")["details"]] == ["username"]


def test_an_unknown_user_is_not_found(client: FlaskClient, admin: Person) -> None:
    assert client.get(f"{API}/{uuid4()}").status_code == 404
    assert client.put(f"{API}/{uuid4()}", json={}, headers=admin.headers).status_code == 404


def test_a_renter_becomes_an_owner_by_the_first_profile(client: FlaskClient, renter: Person) -> None:
    profile = f"{API}/me/owner-profile"
    assert client.get(profile, headers=renter.headers).status_code == 404
    assert client.post("/api/v1/equipment", json=new_equipment(), headers=renter.headers).status_code == 403

    saved = client.put(profile, json={"business_info": {"hours": "9–17"}}, headers=renter.headers)

    assert saved.json == {"business_info": {"hours": "9–17"}, "role": "owner"}
    assert client.get(profile, headers=renter.headers).json == saved.json
    # At once, with the same token: the role is the database's.
    assert client.post("/api/v1/equipment", json=new_equipment(), headers=renter.headers).status_code == 201


def test_an_admins_role_stays_when_the_profile_is_saved(client: FlaskClient, admin: Person) -> None:
    client.put(f"{API}/me/owner-profile", json={"business_info": {}}, headers=admin.headers)
    assert role_of(admin.id) == "admin"


def test_with_approval_the_profile_is_an_application(
    client: FlaskClient, renter: Person, app: Flask, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    approval = dataclasses.replace(settings, owner_signup=OwnerSignup.APPROVAL)
    monkeypatch.setitem(app.extensions, "settings", approval)
    profile = f"{API}/me/owner-profile"
    saved = client.put(profile, json={"business_info": {"hours": "9–17"}}, headers=renter.headers)
    assert saved.json == {"business_info": {"hours": "9–17"}, "role": "renter"}
    assert client.get(profile, headers=renter.headers).json == saved.json
    assert role_of(renter.id) == "renter"


@pytest.mark.parametrize(
    "business_info",
    [None, [], "text", 5, {"x": "y" * 20_000}, {"a": {"b": {"c": {"d": {"e": {"f": {"g": {"h": {}}}}}}}}},
     {"nul": "\x00"}, {"number": 10**30}],
)  # fmt: skip
def test_business_info_is_a_bounded_object(client: FlaskClient, renter: Person, business_info: Any) -> None:
    body = json.dumps({"business_info": business_info})
    profile = f"{API}/me/owner-profile"
    answer = client.put(profile, data=body, content_type="application/json", headers=renter.headers)
    assert answer.status_code == 400
    assert role_of(renter.id) == "renter"


def test_a_renter_profile_is_empty_until_saved_and_changes_in_part(client: FlaskClient, renter: Person) -> None:
    profile = f"{API}/me/renter-profile"
    assert client.get(profile, headers=renter.headers).json == {"preferences": {}, "experience_level": None}
    client.put(profile, json={"preferences": {"kinds": ["kayak"]}}, headers=renter.headers)
    client.put(profile, json={"experience_level": "advanced"}, headers=renter.headers)
    assert client.get(profile, headers=renter.headers).json == {
        "preferences": {"kinds": ["kayak"]},
        "experience_level": "advanced",
    }


def test_a_put_that_changes_nothing_keeps_the_etag_and_one_that_changes_something_does_not(
    client: FlaskClient, admin: Person
) -> None:
    owner_profile, renter_profile = f"{API}/me/owner-profile", f"{API}/me/renter-profile"
    category = f"/api/v1/admin/categories/{add_category('Boats')}"
    empty = client.get(renter_profile, headers=admin.headers).headers["ETag"]
    assert client.put(renter_profile, json={}, headers=admin.headers).headers["ETag"] == empty
    for path, repeated, changed in (
        (f"{API}/{admin.id}", {"username": "Samantha", "full_name": None}, {"username": "samantha"}),
        (owner_profile, {"business_info": {"open": 1}}, {"business_info": {"open": True}}),
        (renter_profile, {"preferences": {"a": 1, "b": 2}}, {"preferences": {"a": 1}}),
        (category, {"name": "Kayaks"}, {"name": "kayaks"}),
    ):
        first = client.put(path, json=repeated, headers=admin.headers)
        bodies = [repeated] if path in (owner_profile, category) else [repeated, {}]
        for body in bodies:
            again = client.put(path, json=body, headers=admin.headers)
            assert (again.status_code, again.data, again.headers["ETag"]) == (200, first.data, first.headers["ETag"])
        last = client.put(path, json=changed, headers=admin.headers)
        assert last.headers["ETag"] != first.headers["ETag"]
        assert changed.items() <= assert_ok(last).items()


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "page=0", "cursor=x", "limit=x"])
def test_own_equipment_names_a_bad_page(client: FlaskClient, owner: Person, query: str) -> None:
    assert_invalid(client.get(f"{API}/me/equipment?{query}", headers=owner.headers), query.partition("=")[0])


def test_a_cursor_leads_through_all_of_ones_own_equipment_newest_first(
    client: FlaskClient, owner: Person, admin: Person
) -> None:
    made = [str(add_equipment(owner.id)) for _ in range(5)]
    add_equipment(admin.id)
    seen: list[str] = []
    query = {"limit": "2"}
    while len(seen) < 10:
        page = assert_ok(client.get(f"{API}/me/equipment", query_string=query, headers=owner.headers))
        assert (page["total"], page["total_pages"], page["limit"]) == (5, 3, 2)
        seen += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert seen == made[::-1]

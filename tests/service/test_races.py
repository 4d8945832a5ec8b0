"""What only happens when requests are really parallel, over two workers."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
import requests

from tests.support.processes.service import ServiceProcess
from tests.support.processes.tenant import TenantProcess

AT_ONCE = 20


@pytest.fixture
def owner(service: ServiceProcess, tenant: TenantProcess) -> dict[str, str]:
    """The headers of somebody who has just become an owner."""
    headers = {"Authorization": f"Bearer {tenant.token(sub=f'auth0|{uuid4().hex}')}"}
    body = {"business_info": {}}
    saved = service.request("PUT", "/api/v1/users/me/owner-profile", json=body, headers=headers)
    assert saved.json()["role"] == "owner"
    return headers


@pytest.fixture
def listing(service: ServiceProcess, owner: dict[str, str]) -> str:
    """The path of a listing of that owner."""
    categories = service.request("GET", "/api/v1/categories").json()
    body = {
        "category_id": categories[0]["id"],
        "title": "Cordless drill",
        "description": "18 V with two batteries.",
        "daily_rate": 25,
        "condition": "good",
        "location": "Bern",
    }
    made = service.request("POST", "/api/v1/equipment", json=body, headers=owner)
    return str(made.headers["Location"])


def at_once(call: Callable[[int], requests.Response]) -> list[requests.Response]:
    with ThreadPoolExecutor(AT_ONCE) as threads:
        return list(threads.map(call, range(AT_ONCE)))


def test_primary_photos_added_at_once_leave_one_primary(
    service: ServiceProcess, owner: dict[str, str], listing: str
) -> None:
    def add(number: int) -> requests.Response:
        body = {"photo_url": f"https://photos.example.com/{number}.jpg", "is_primary": True}
        return service.request("POST", f"{listing}/photos", json=body, headers=owner)

    answers = at_once(add)

    assert {answer.status_code for answer in answers} == {201}
    photos: list[dict[str, Any]] = service.request("GET", listing).json()["photos"]
    assert sum(photo["is_primary"] for photo in photos) == 1
    assert [photo["order_index"] for photo in photos] == list(range(AT_ONCE))


def test_photos_removed_at_once_leave_one_primary_while_there_are_any(
    service: ServiceProcess, owner: dict[str, str], listing: str
) -> None:
    def add(number: int) -> str:
        body = {"photo_url": f"https://photos.example.com/{number}.jpg"}
        return str(service.request("POST", f"{listing}/photos", json=body, headers=owner).json()["id"])

    ids = [add(number) for number in range(AT_ONCE)]
    removed = ids[:-2]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(lambda each: service.request("DELETE", f"{listing}/photos/{each}", headers=owner), removed))

    photos = service.request("GET", listing).json()["photos"]
    assert [photo["id"] for photo in photos] == ids[-2:]
    assert [photo["is_primary"] for photo in photos] == [True, False]


def test_a_listing_deleted_many_times_at_once_is_deleted_once(
    service: ServiceProcess, owner: dict[str, str], listing: str
) -> None:
    statuses = Counter(
        answer.status_code for answer in at_once(lambda _: service.request("DELETE", listing, headers=owner))
    )
    assert statuses == {204: 1, 404: AT_ONCE - 1}


def test_one_username_goes_to_one_of_many_who_ask_at_once(service: ServiceProcess, tenant: TenantProcess) -> None:
    people = [{"Authorization": f"Bearer {tenant.token(sub=f'auth0|{uuid4().hex}')}"} for _ in range(AT_ONCE)]
    ids = [service.request("GET", "/api/v1/auth/me", headers=headers).json()["id"] for headers in people]
    body = {"username": f"wanted-{uuid4().hex[:8]}"}
    statuses = Counter(
        answer.status_code
        for answer in at_once(
            lambda number: service.request("PUT", f"/api/v1/users/{ids[number]}", json=body, headers=people[number])
        )
    )
    assert statuses == {200: 1, 409: AT_ONCE - 1}


def test_a_first_profile_saved_many_times_at_once_is_saved(service: ServiceProcess, tenant: TenantProcess) -> None:
    headers = {"Authorization": f"Bearer {tenant.token(sub=f'auth0|{uuid4().hex}')}"}
    answers = at_once(
        lambda number: service.request(
            "PUT", "/api/v1/users/me/owner-profile", json={"business_info": {"n": number}}, headers=headers
        )
    )
    assert {answer.status_code for answer in answers} == {200}
    assert service.request("GET", "/api/v1/auth/me", headers=headers).json()["role"] == "owner"


@pytest.fixture
def things(service: ServiceProcess, owner: dict[str, str], listing: str) -> dict[str, tuple[str, Callable[[int], Any]]]:
    """What can be edited: its path, and how an edit with this number looks."""
    me = service.request("GET", "/api/v1/auth/me", headers=owner).json()["id"]
    return {
        "listing": (listing, lambda number: {"title": f"Drill number {number}"}),
        "user": (f"/api/v1/users/{me}", lambda number: {"avatar_url": f"https://example.com/{number}.png"}),
        "owner profile": ("/api/v1/users/me/owner-profile", lambda number: {"business_info": {"n": number}}),
        "renter profile": ("/api/v1/users/me/renter-profile", lambda number: {"preferences": {"n": number}}),
    }


EDITABLE = pytest.mark.parametrize("kind", ["listing", "user", "owner profile", "renter profile"])


@EDITABLE
def test_of_many_who_edit_what_they_all_saw_one_wins(
    service: ServiceProcess, owner: dict[str, str], things: dict[str, Any], kind: str
) -> None:
    path, edit = things[kind]
    seen = service.request("GET", path, headers=owner).headers["ETag"]
    sent = {**owner, "If-Match": seen}

    answers = at_once(lambda number: service.request("PUT", path, json=edit(number), headers=sent))

    assert Counter(answer.status_code for answer in answers) == {200: 1, 412: AT_ONCE - 1}
    (winner,) = (answer for answer in answers if answer.ok)
    now = service.request("GET", path, headers=owner)
    assert now.headers["ETag"] == winner.headers["ETag"] != seen
    shown = now.json()
    assert {name: winner.json()[name] for name in shown} == shown


@EDITABLE
def test_beside_writers_who_set_no_condition_none_of_their_writes_is_lost_to_one_who_does(
    service: ServiceProcess, owner: dict[str, str], things: dict[str, Any], kind: str
) -> None:
    """A conditional write that is made has replaced exactly what it named: each version has one writer."""
    path, edit = things[kind]

    conditions: dict[int, str] = {}

    def write(number: int) -> requests.Response:
        if number % 2:
            conditions[number] = service.request("GET", path, headers=owner).headers["ETag"]
        condition = {"If-Match": conditions[number]} if number % 2 else {}
        return service.request("PUT", path, json=edit(number), headers={**owner, **condition})

    before = version_of(service.request("GET", path, headers=owner).headers["ETag"])
    answers = at_once(write)
    made = {number: version_of(answer.headers["ETag"]) for number, answer in enumerate(answers) if answer.ok}

    assert {answer.status_code for answer in answers} <= {200, 412}
    assert made.keys() >= set(range(0, AT_ONCE, 2))
    assert sorted(made.values()) == [before + number for number in range(1, len(made) + 1)]
    for number in made.keys() & conditions.keys():
        assert made[number] == version_of(conditions[number]) + 1


def version_of(tag: str) -> int:
    """What its tag names: `"7.1f09a3"`, or `"7-owner.1f09a3"`."""
    return int(tag.strip('"').partition(".")[0].partition("-")[0])


def test_a_count_that_many_raise_at_once_loses_none(service: ServiceProcess, owner: dict[str, str]) -> None:
    path, each = "/api/v1/users/me/owner-profile", 3
    service.request("PUT", path, json={"business_info": {"n": 0}}, headers=owner)

    def raise_it(_: int) -> requests.Response:
        for _ in range(each):
            while True:
                seen = service.request("GET", path, headers=owner)
                body = {"business_info": {"n": seen.json()["business_info"]["n"] + 1}}
                answer = service.request("PUT", path, json=body, headers={**owner, "If-Match": seen.headers["ETag"]})
                if answer.status_code != requests.codes.precondition_failed:
                    break
        return answer

    assert {answer.status_code for answer in at_once(raise_it)} == {200}
    assert service.request("GET", path, headers=owner).json()["business_info"]["n"] == AT_ONCE * each


def test_of_many_who_make_what_must_not_be_there_yet_one_does(service: ServiceProcess, tenant: TenantProcess) -> None:
    headers = {"Authorization": f"Bearer {tenant.token(sub=f'auth0|{uuid4().hex}')}", "If-None-Match": "*"}
    service.request("GET", "/api/v1/auth/me", headers={"Authorization": headers["Authorization"]})
    answers = at_once(
        lambda number: service.request(
            "PUT", "/api/v1/users/me/owner-profile", json={"business_info": {"n": number}}, headers=headers
        )
    )
    assert Counter(answer.status_code for answer in answers) == {200: 1, 412: AT_ONCE - 1}


def test_of_an_edit_and_a_deletion_of_what_both_saw_one_is_done(
    service: ServiceProcess, owner: dict[str, str], listing: str
) -> None:
    sent = {**owner, "If-Match": service.request("GET", listing).headers["ETag"]}

    def edit_or_delete(number: int) -> requests.Response:
        if number % 2:
            return service.request("DELETE", listing, headers=sent)
        return service.request("PUT", listing, json={"title": f"Drill {number}"}, headers=sent)

    counted = Counter(answer.status_code for answer in at_once(edit_or_delete))
    is_deleted = service.request("GET", listing).status_code == requests.codes.not_found
    assert counted in ({204: 1, 404: AT_ONCE - 1}, {200: 1, 412: AT_ONCE - 1})
    assert is_deleted == (204 in counted)

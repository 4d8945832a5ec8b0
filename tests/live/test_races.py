"""What only happens when requests are really parallel, over two workers."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
import requests

from tests.local.tenant_process import TenantProcess
from tests.service_process import ServiceProcess

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

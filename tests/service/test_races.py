"""What only happens when requests are really parallel, over two workers."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from tests.support.processes.service import ServiceProcess
from tests.support.processes.tenant import TenantProcess
from tests.support.users import ChatUser
from tests.support.waiting import in_parallel, statuses

AT_ONCE = 20
OWNER_PROFILE = "/users/me/owner-profile"


@pytest.fixture(scope="module")
def service(start_service: Callable[[dict[str, str]], ServiceProcess]) -> ServiceProcess:
    """The service with default settings, which other modules use as well."""
    return start_service({})


@pytest.fixture
def owner(newcomer: Callable[..., ChatUser]) -> ChatUser:
    return newcomer().become_owner()


@pytest.fixture
def listing(owner: ChatUser) -> str:
    """The path of a listing of that owner."""
    return f"/equipment/{owner.list_equipment()}"


def photo(number: int, **more: Any) -> dict[str, Any]:
    return {"photo_url": f"https://photos.example.com/{number}.jpg", **more}


def test_primary_photos_added_at_once_leave_one_primary(owner: ChatUser, listing: str) -> None:
    answers = in_parallel(lambda n: owner.call("POST", f"{listing}/photos", json=photo(n, is_primary=True)))

    assert statuses(answers) == {201: AT_ONCE}
    photos = owner.call("GET", listing).json()["photos"]
    assert sum(photo["is_primary"] for photo in photos) == 1
    assert [photo["order_index"] for photo in photos] == list(range(AT_ONCE))


def test_photos_removed_at_once_leave_one_primary_while_there_are_any(owner: ChatUser, listing: str) -> None:
    ids = [owner.call("POST", f"{listing}/photos", json=photo(n)).json()["id"] for n in range(AT_ONCE)]
    in_parallel(lambda n: owner.call("DELETE", f"{listing}/photos/{ids[n]}"), AT_ONCE - 2)

    photos = owner.call("GET", listing).json()["photos"]
    assert [photo["id"] for photo in photos] == ids[-2:]
    assert [photo["is_primary"] for photo in photos] == [True, False]


def test_a_listing_deleted_many_times_at_once_is_deleted_once(owner: ChatUser, listing: str) -> None:
    assert statuses(in_parallel(lambda _: owner.call("DELETE", listing))) == {204: 1, 404: AT_ONCE - 1}


def test_one_username_goes_to_one_of_many_who_ask_at_once(newcomer: Callable[..., ChatUser]) -> None:
    users = [newcomer() for _ in range(AT_ONCE)]
    body = {"username": f"wanted-{uuid4().hex[:8]}"}
    answers = in_parallel(lambda number: users[number].call("PUT", f"/users/{users[number].id}", json=body))
    assert statuses(answers) == {200: 1, 409: AT_ONCE - 1}


def test_a_first_profile_saved_many_times_at_once_by_a_new_user_is_saved(
    service: ServiceProcess, tenant: TenantProcess
) -> None:
    user = ChatUser("", tenant.token(sub=f"auth0|{uuid4().hex}"), service)
    answers = in_parallel(lambda number: user.call("PUT", OWNER_PROFILE, json={"business_info": {"n": number}}))
    assert statuses(answers) == {200: AT_ONCE}
    assert user.call("GET", "/auth/me").json()["role"] == "owner"


def test_a_profile_made_many_times_at_once_on_condition_that_it_is_new_is_made_once(
    newcomer: Callable[..., ChatUser],
) -> None:
    user, is_new = newcomer(), {"If-None-Match": "*"}
    answers = in_parallel(
        lambda number: user.call("PUT", OWNER_PROFILE, json={"business_info": {"n": number}}, headers=is_new)
    )
    assert statuses(answers) == {200: 1, 412: AT_ONCE - 1}


@pytest.fixture(params=["listing", "user", "owner profile", "renter profile"])
def editable(request: pytest.FixtureRequest, owner: ChatUser, listing: str) -> tuple[str, Callable[[int], Any]]:
    """The path of a resource of the owner, and the body of an edit with this number."""
    by_kind: dict[str, tuple[str, Callable[[int], Any]]] = {
        "listing": (listing, lambda number: {"title": f"Drill number {number}"}),
        "user": (f"/users/{owner.id}", lambda number: {"avatar_url": f"https://example.com/{number}.png"}),
        "owner profile": (OWNER_PROFILE, lambda number: {"business_info": {"n": number}}),
        "renter profile": ("/users/me/renter-profile", lambda number: {"preferences": {"n": number}}),
    }
    return by_kind[request.param]


def test_of_many_who_edit_what_they_all_saw_one_wins(
    owner: ChatUser, editable: tuple[str, Callable[[int], Any]]
) -> None:
    path, edit = editable
    seen = owner.call("GET", path).headers["ETag"]
    answers = in_parallel(lambda n: owner.call("PUT", path, json=edit(n), headers={"If-Match": seen}))

    assert statuses(answers) == {200: 1, 412: AT_ONCE - 1}
    (winner,) = (answer for answer in answers if answer.ok)
    now = owner.call("GET", path)
    assert now.headers["ETag"] == winner.headers["ETag"] != seen
    shown = now.json()
    assert {name: winner.json()[name] for name in shown} == shown


def test_beside_writers_who_set_no_condition_none_of_their_writes_is_lost_to_one_who_does(
    owner: ChatUser, editable: tuple[str, Callable[[int], Any]]
) -> None:
    """A conditional write that is made has replaced exactly what it named: each version has one writer."""
    path, edit = editable
    conditions: dict[int, str] = {}

    def write(number: int) -> Any:
        if number % 2:
            conditions[number] = owner.call("GET", path).headers["ETag"]
        condition = {"If-Match": conditions[number]} if number % 2 else {}
        return owner.call("PUT", path, json=edit(number), headers=condition)

    before = version_of(owner.call("GET", path).headers["ETag"])
    answers = in_parallel(write)
    made = {number: version_of(answer.headers["ETag"]) for number, answer in enumerate(answers) if answer.ok}

    assert {answer.status_code for answer in answers} <= {200, 412}
    assert made.keys() >= set(range(0, AT_ONCE, 2))
    assert sorted(made.values()) == [before + number for number in range(1, len(made) + 1)]
    for number in made.keys() & conditions.keys():
        assert made[number] == version_of(conditions[number]) + 1


def version_of(tag: str) -> int:
    """The version in an ETag: `"7.1f09a3"`, or `"7-owner.1f09a3"`."""
    return int(tag.strip('"').partition(".")[0].partition("-")[0])


def test_of_an_edit_and_a_deletion_of_what_both_saw_one_is_done(owner: ChatUser, listing: str) -> None:
    condition = {"If-Match": owner.call("GET", listing).headers["ETag"]}

    def edit_or_delete(number: int) -> Any:
        if number % 2:
            return owner.call("DELETE", listing, headers=condition)
        return owner.call("PUT", listing, json={"title": f"Drill {number}"}, headers=condition)

    counted = statuses(in_parallel(edit_or_delete))
    assert counted in ({204: 1, 404: AT_ONCE - 1}, {200: 1, 412: AT_ONCE - 1})
    assert (owner.call("GET", listing).status_code == 404) == (204 in counted)

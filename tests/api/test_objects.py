"""Authorization looks at the resource itself, whatever path or body names it, and unknown ids reveal nothing.

An existing and an unknown id have the same answer

- on every closed route without a token (401);
- on every admin route for a user who is no admin (403);
- for the change of another user's account (403);
- for a photo under another user's listing (403) and under an own listing that is not the photo's (404).

Listings and users are public. A conversation's 403 and 404 differ, as existing clients rely on it; its id cannot be
guessed (122 random bits).
"""

import re
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.models import Role
from tests.support.processes.tenant import TenantProcess
from tests.support.routes import API, PUBLIC_ENDPOINTS, ROUTES, Route
from tests.support.rows import Person, add_conversation, add_equipment, add_person, add_user, category_id, photo_id_of
from tests.support.users import ChatUser, chat_user

pytestmark = pytest.mark.attack("objects and fields")
CLOSED = [route for route in ROUTES if route.endpoint not in PUBLIC_ENDPOINTS]
FOR_ADMINS = [route for route in CLOSED if route.endpoint.startswith("admin.")]
CHANGE_USER = next(route for route in CLOSED if route.endpoint == "users.change_user")


@pytest.fixture
def mallory(client: FlaskClient, tenant: TenantProcess) -> Person:
    """An owner who wants what is somebody else's."""
    return add_person(tenant, Role.OWNER)


def said(answer: TestResponse) -> tuple[int, dict[str, Any]]:
    """All that an answer tells, but for what names the request."""
    body = dict(answer.json or {})
    return answer.status_code, {name: body[name] for name in body if name not in ("request_id", "instance")}


def existing(owner: Person) -> dict[str, UUID]:
    """The ids of one resource of each kind, all of this owner."""
    equipment_id = add_equipment(owner.id, photos=1)
    talk = add_conversation(owner.id, add_user())
    ids = {"user_id": owner.id, "equipment_id": equipment_id, "photo_id": photo_id_of(equipment_id)}
    return ids | {"conversation_id": talk, "category_id": category_id()}


def answers(client: FlaskClient, route: Route, owner: Person, **sent: Any) -> list[tuple[int, dict[str, Any]]]:
    """The answers for ids that exist and for ids that do not."""
    rule = next(client.application.url_map.iter_rules(route.endpoint)).rule
    path, ids = re.sub(r"<\w+:(\w+)>", r"{\1}", rule), existing(owner)
    unknown = dict.fromkeys(ids, uuid4())
    return [said(client.open(path.format(**known), method=route.method, **sent)) for known in (ids, unknown)]


class TestSecrets:
    @pytest.mark.parametrize("route", CLOSED, ids=str)
    def test_nobody_learns_what_exists(self, client: FlaskClient, owner: Person, route: Route) -> None:
        existent, unknown = answers(client, route, owner)
        assert existent == unknown
        assert existent[0] == 401

    @pytest.mark.parametrize("route", [*FOR_ADMINS, CHANGE_USER], ids=str)
    @pytest.mark.parametrize("body", ["{}", '{"role": "admin"}', '{"full_name": "Mallory"}', "{"])
    def test_who_may_not_learns_not_what_exists(
        self, client: FlaskClient, mallory: Person, owner: Person, route: Route, body: str
    ) -> None:
        sent = {"data": body, "content_type": "application/json", "headers": mallory.headers}
        existent, unknown = answers(client, route, owner, **sent)
        assert existent == unknown
        is_bad_body = route is CHANGE_USER and body in ("{", '{"role": "admin"}')
        assert existent[0] == (400 if is_bad_body else 403)

    @pytest.mark.parametrize("whose", ["own", "foreign"])
    def test_a_photo_is_none_of_the_caller_s_business_elsewhere_than_in_their_own_listing(
        self, client: FlaskClient, mallory: Person, owner: Person, whose: str
    ) -> None:
        foreign = existing(owner)
        listing = add_equipment(mallory.id, photos=1) if whose == "own" else foreign["equipment_id"]
        existent, unknown = (
            said(client.delete(f"{API}/equipment/{listing}/photos/{photo_id}", headers=mallory.headers))
            for photo_id in (foreign["photo_id"], uuid4())
        )
        assert existent == unknown
        assert existent[0] == (404 if whose == "own" else 403)
        assert photo_id_of(foreign["equipment_id"]) == foreign["photo_id"]

    def test_conversations_are_told_apart_as_the_contract_says(
        self, client: FlaskClient, mallory: Person, owner: Person
    ) -> None:
        talk = existing(owner)["conversation_id"]
        for id_, status in ((talk, 403), (uuid4(), 404)):
            assert client.get(f"{API}/conversations/{id_}", headers=mallory.headers).status_code == status


class TestPhotos:
    @pytest.mark.parametrize("role", [Role.OWNER, Role.ADMIN])
    def test_one_listing_s_photo_is_not_found_under_another(
        self, client: FlaskClient, tenant: TenantProcess, owner: Person, role: Role
    ) -> None:
        # Both are the caller's to change; the photo is still only where it is.
        actor = owner if role is Role.OWNER else add_person(tenant, role)
        first, second = add_equipment(owner.id, photos=1), add_equipment(owner.id, photos=1)
        photo_id = photo_id_of(first)
        answer = client.delete(f"{API}/equipment/{second}/photos/{photo_id}", headers=actor.headers)
        assert answer.status_code == 404
        assert photo_id_of(first) == photo_id


class TestConversations:
    def test_a_foreign_listing_brings_nobody_in_and_tells_nothing(
        self, ada: ChatUser, ben: ChatUser, client: FlaskClient, owner: Person
    ) -> None:
        talk = ada.begin(ben, equipment_id=add_equipment(owner.id))
        assert {one["user_id"] for one in ada.conversation(talk)["participants"]} == {ada.id, ben.id}
        assert chat_user(client, owner).get(f"/{talk}").status_code == 403
        assert chat_user(client, owner).conversations() == []

    def test_who_names_other_people_s_conversation_begins_another(
        self, ada: ChatUser, ben: ChatUser, client: FlaskClient, mallory: Person
    ) -> None:
        talk = ada.begin(ben)
        ada.send(talk, "Between us")
        intruder = chat_user(client, mallory)
        begun = intruder.begin(ada, ben)
        assert begun != talk
        assert intruder.messages(begun) == []
        assert intruder.get(f"/{talk}/messages").status_code == 403


class TestProfiles:
    @pytest.mark.parametrize("name", ["user_id", "id", "owner_id", "user"])
    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("owner-profile", {"business_info": {"of": "mallory"}}),
            ("renter-profile", {"preferences": {"of": "mallory"}}),
        ],
    )
    def test_a_profile_is_the_caller_s_whoever_is_named(
        self, client: FlaskClient, mallory: Person, owner: Person, path: str, body: dict[str, Any], name: str
    ) -> None:
        url, named = f"{API}/users/me/{path}", {name: str(owner.id)}
        (field,) = body
        kept = {field: {"of": "the owner"}}
        assert client.put(url, json=kept, headers=owner.headers).status_code == 200
        client.put(url, json=body, headers=mallory.headers, query_string=named)
        assert (client.get(url, headers=mallory.headers, query_string=named).json or {})[field] == body[field]
        assert (client.get(url, headers=owner.headers).json or {})[field] == kept[field]

    @pytest.mark.parametrize("path", ["owner-profile", "renter-profile", "equipment"])
    def test_there_is_no_such_path_for_another_s(
        self, client: FlaskClient, mallory: Person, owner: Person, path: str
    ) -> None:
        for method in ("GET", "PUT"):
            answer = client.open(f"{API}/users/{owner.id}/{path}", method=method, json={}, headers=mallory.headers)
            assert answer.status_code == 404

    @pytest.mark.parametrize("name", ["owner_id", "user_id", "id"])
    def test_one_s_own_listings_are_one_s_own(
        self, client: FlaskClient, mallory: Person, owner: Person, name: str
    ) -> None:
        add_equipment(owner.id)
        own = add_equipment(mallory.id)
        query = {name: str(owner.id)}
        page = client.get(f"{API}/users/me/equipment", headers=mallory.headers, query_string=query).json or {}
        assert [item["id"] for item in page["items"]] == [str(own)]

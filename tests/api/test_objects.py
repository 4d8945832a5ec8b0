"""Authorization looks at the resource itself, whatever path or body names it, and unknown ids reveal nothing.

An existing and an unknown id have the same answer

- on every closed route without a token (401);
- on every admin route for a user who is no admin (403);
- for the change of another user's account (403);
- for a photo under another user's listing (403) and under an own listing that is not the photo's (404).

Listings and users are public. A conversation's 403 and 404 differ, as existing clients rely on it; its id cannot be
guessed (122 random bits). `tests/api/test_mass_assignment.py` names other users in queries and bodies.
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

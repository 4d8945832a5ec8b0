"""Conditional requests (RFC 9110 §13): what a client has is not sent again, and no stale write wins."""

import os
import re
import sys
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine, delete, text, update
from werkzeug.test import TestResponse

from app import create_app
from app.db.session import transaction
from app.models import AuditEntry, Category, Equipment, EquipmentPhoto, Role
from app.settings import Settings
from app.web.access import public
from tests.support.assertions import assert_error, assert_ok
from tests.support.processes import run
from tests.support.processes.tenant import TenantProcess
from tests.support.routes import ROUTES, Route, Scene
from tests.support.rows import Person, add_equipment, category_id, change_user, count_rows, photo_id_of

API = "/api/v1/equipment"
CATEGORIES = "/api/v1/categories"
OWNER_PROFILE = "/api/v1/users/me/owner-profile"
RENTER_PROFILE = "/api/v1/users/me/renter-profile"
STALE = '"9999.000000"'
# Texts, pages and files, and what nobody asks for often.
UNTAGGED = {"health", "ready", "metrics", "asyncapi", "docs.rest", "docs.socket", "docs.protocol", "docs.asset"}
READS = [row for row in ROUTES if row.method == "GET" and row.admin_status == 200]
JSON_READS = [row for row in READS if row.endpoint not in UNTAGGED]


@pytest.fixture
def listing(client: FlaskClient, owner: Person) -> str:
    """The path of a listing of the owner's, with a photo."""
    return f"{API}/{add_equipment(owner.id, photos=1)}"


def etag(answer: TestResponse) -> str:
    assert answer.status_code in (200, 201), answer.get_data(as_text=True)
    return answer.headers["ETag"]


def id_of(listing: str) -> UUID:
    return UUID(listing.rpartition("/")[2])


def assert_refused(answer: TestResponse) -> None:
    assert_error(answer, 412, "PRECONDITION_FAILED")
    assert answer.headers["Cache-Control"] == "no-store"


def assert_not_sent(answer: TestResponse, tag: str) -> None:
    """RFC 9110 §15.4.5: what a cache needs to go on with what it has, and no content."""
    assert answer.status_code == 304
    assert answer.get_data() == b""
    assert answer.headers["ETag"] == tag
    assert "Content-Type" not in answer.headers
    assert "Content-Length" not in answer.headers


class TestTags:
    @pytest.mark.parametrize("row", JSON_READS, ids=lambda row: row.endpoint)
    def test_what_a_client_has_is_not_sent_again(self, client: FlaskClient, admin: Person, row: Route) -> None:
        path = row.path(Scene(actor=admin, owner=admin))
        first = client.get(path, headers=admin.headers)
        tag = etag(first)

        for condition in (tag, tag.removeprefix("W/"), f"W/{tag.removeprefix('W/')}", f'"other", {tag}', "*"):
            again = client.get(path, headers={**admin.headers, "If-None-Match": condition})
            assert_not_sent(again, tag)
            for name in ("Cache-Control", "Vary"):
                assert again.headers[name] == first.headers[name]
        assert_not_sent(client.head(path, headers={**admin.headers, "If-None-Match": tag}), tag)
        assert client.head(path, headers=admin.headers).headers["ETag"] == tag

        others = (STALE, f"W/{STALE}", "", ",", "nonsense", '"', 'W/"', '"*"', '""', 'W/""', "\xc3\xa9")
        for condition in others:
            assert client.get(path, headers={**admin.headers, "If-None-Match": condition}).get_data(), condition

    def test_one_thing_has_a_strong_tag_and_a_list_a_weak_one(
        self, client: FlaskClient, owner: Person, listing: str
    ) -> None:
        client.put(OWNER_PROFILE, json={"business_info": {}}, headers=owner.headers)
        one = (listing, f"{CATEGORIES}/{category_id()}", f"/api/v1/users/{owner.id}", OWNER_PROFILE, RENTER_PROFILE)
        several = (API, CATEGORIES, "/api/v1/users/me/equipment", "/api/v1/conversations")
        for path in (*one, "/api/v1/auth/me"):
            assert etag(client.get(path, headers=owner.headers)).startswith('"'), path
        for path in several:
            assert etag(client.get(path, headers=owner.headers)).startswith('W/"'), path

    def test_a_condition_by_date_counts_for_nothing(self, client: FlaskClient, listing: str) -> None:
        answer = client.get(listing, headers={"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"})
        assert answer.status_code == 200
        assert "Last-Modified" not in answer.headers

    def test_an_error_has_no_tag_and_no_condition_hides_it(self, client: FlaskClient, listing: str) -> None:
        unknown = f"{API}/{UUID(int=0)}"
        for path, status in ((unknown, 404), (f"{API}?limit=x", 400), (OWNER_PROFILE, 401)):
            answer = client.get(path, headers={"If-None-Match": "*", "If-Match": STALE})
            assert answer.status_code == status
            assert "ETag" not in answer.headers

    def test_a_read_may_ask_for_one_version_only(self, client: FlaskClient, listing: str) -> None:
        assert client.get(listing, headers={"If-Match": etag(client.get(listing))}).status_code == 200
        assert_refused(client.get(listing, headers={"If-Match": STALE}))

    def test_all_processes_give_the_same_tag(self, settings: Settings, tenant: TenantProcess) -> None:
        """A set's order differs from process to process, and no tag may depend on one."""
        script = (
            "from app import create_app; from app.web import etags\n"
            "app = create_app()\n"
            "with app.app_context(): print(etags._etag('x'))"
        )
        environment = {**os.environ, **tenant.env(), "DATABASE_URL": settings.database_url, "APP_ENV": "test"}
        first, second = (
            run(sys.executable, "-c", script, env=environment | {"PYTHONHASHSEED": seed}).stdout for seed in ("1", "2")
        )
        assert first == second != ""


def as_written(statement: str) -> str:
    """The SQL of a statement, or of the prepared one that it executes."""
    name = re.search(r"EXECUTE (\w+)", statement)
    if name is None:
        return statement
    with transaction() as session:
        prepared = session.scalar(
            text("SELECT statement FROM pg_prepared_statements WHERE name = :name"), {"name": name[1]}
        )
    return str(prepared).partition(" AS ")[2]


class TestCost:
    @pytest.mark.parametrize("path_of", [lambda item, _: item, lambda _, user: f"/api/v1/users/{user}"])
    def test_a_304_takes_one_statement_that_reads_no_more_than_the_version(
        self, client: FlaskClient, owner: Person, listing: str, path_of: Any, counting_statements: Callable[[], Any]
    ) -> None:
        path = path_of(listing, owner.id)
        with counting_statements() as plain:
            tag = etag(client.get(path))
        with counting_statements() as conditional:
            assert_not_sent(client.get(path, headers={"If-None-Match": tag}), tag)
        assert (len(plain), len(conditional)) == (1, 1)
        columns = re.findall(r"\w+\.(\w+)", as_written(conditional.statements[0]).partition("FROM")[0])
        assert set(columns) - {"id"} == {"version"}

    @pytest.mark.parametrize("path", [API, CATEGORIES])
    def test_a_304_of_a_list_takes_one_statement_and_dumps_nothing(
        self, client: FlaskClient, listing: str, path: str, counting_statements: Callable[[], Any],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        tag = etag(client.get(path))
        monkeypatch.setattr("marshmallow.Schema.dump", lambda *_, **__: pytest.fail("something was dumped"))
        with counting_statements() as counted:
            assert_not_sent(client.get(path, headers={"If-None-Match": tag}), tag)
        assert len(counted) == 1


ADD_PHOTO = (
    "INSERT INTO equipment_photos (equipment_id, photo_url, order_index) VALUES (:id, 'https://example.com/9.jpg', 9)"
)
# By whatever hand: an operator's in psql as well.
CHANGES = {
    "title": "UPDATE equipment SET title = 'Another title' WHERE id = :id",
    "place": "UPDATE equipment SET coordinates = 'POINT(1 2)' WHERE id = :id",
    "availability": "UPDATE equipment SET is_available = NOT is_available WHERE id = :id",
    "a photo more": ADD_PHOTO,
    "a photo's address": "UPDATE equipment_photos SET photo_url = photo_url || '?' WHERE equipment_id = :id",
    "the primary photo": "UPDATE equipment_photos SET is_primary = false WHERE equipment_id = :id",
    "a photo less": "DELETE FROM equipment_photos WHERE equipment_id = :id",
}


class TestEveryChange:
    @pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
    def test_of_a_listing_and_of_the_lists_with_it_and_of_no_other(
        self, client: FlaskClient, owner: Person, listing: str, change: str
    ) -> None:
        other = f"{API}/{add_equipment(owner.id, photos=1)}"
        paths = (listing, API, f"{API}?lat=47&lng=7", "/api/v1/users/me/equipment", other)
        tags = [etag(client.get(path, headers=owner.headers)) for path in paths]
        with transaction() as session:
            assert session.execute(text(change), {"id": id_of(listing)}).rowcount  # type: ignore[attr-defined]
        for path, tag in zip(paths, tags, strict=True):
            answer = client.get(path, headers={**owner.headers, "If-None-Match": tag})
            assert answer.status_code == (304 if path == other else 200)
            assert (answer.headers["ETag"] == tag) == (path == other)

    def test_of_a_photo_that_goes_to_another_listing(self, client: FlaskClient, owner: Person, listing: str) -> None:
        other = f"{API}/{add_equipment(owner.id)}"
        tags = [etag(client.get(path)) for path in (listing, other)]
        with transaction() as session:
            session.execute(update(EquipmentPhoto).values(equipment_id=id_of(other)))
        for path, tag in zip((listing, other), tags, strict=True):
            assert etag(client.get(path)) != tag

    def test_of_a_list_s_length_and_of_its_order(self, client: FlaskClient, owner: Person, listing: str) -> None:
        path = f"{API}?limit=1&sort=price_asc"
        tags = {etag(client.get(path))}
        add_equipment(owner.id, daily_rate=99)
        tags.add(etag(client.get(path)))
        with transaction() as session:
            session.execute(delete(Equipment).where(Equipment.id == id_of(listing)))
        tags.add(etag(client.get(path)))
        assert len(tags) == 3

    @pytest.mark.parametrize("statement", [
        "UPDATE categories SET name = 'Renamed' WHERE id = :id",
        "INSERT INTO categories (name, parent_id) VALUES ('A new kind', :id)",
        "UPDATE categories SET parent_id = NULL WHERE id = :id",
    ])  # fmt: skip
    def test_of_a_category_and_of_those_above_it(self, client: FlaskClient, statement: str) -> None:
        with transaction() as session:
            child = session.query(Category).filter(Category.parent_id.is_not(None)).first()
        assert child is not None
        paths = (CATEGORIES, f"{CATEGORIES}/{child.id}", f"{CATEGORIES}/{child.parent_id}")
        tags = [etag(client.get(path)) for path in paths]
        with transaction() as session:
            session.execute(text(statement), {"id": child.id})
        for path, tag in zip(paths, tags, strict=True):
            assert etag(client.get(path, headers={"If-None-Match": tag})) != tag

    def test_of_a_user_and_of_the_role_beside_the_profile(self, client: FlaskClient, owner: Person) -> None:
        client.put(OWNER_PROFILE, json={"business_info": {}}, headers=owner.headers)
        tags = [etag(client.get(path, headers=owner.headers)) for path in (f"/api/v1/users/{owner.id}", OWNER_PROFILE)]
        change_user(owner.id, role=Role.ADMIN)
        for path, tag in zip((f"/api/v1/users/{owner.id}", OWNER_PROFILE), tags, strict=True):
            assert etag(client.get(path, headers={**owner.headers, "If-None-Match": tag})) != tag


@pytest.fixture
def editable(client: FlaskClient, owner: Person, listing: str) -> dict[str, tuple[str, dict[str, Any], dict[str, Any]]]:
    """What can be changed: its path, a change, another one."""
    client.put(OWNER_PROFILE, json={"business_info": {}}, headers=owner.headers)
    return {
        "listing": (listing, {"title": "First title"}, {"title": "Second title"}),
        "user": (f"/api/v1/users/{owner.id}", {"full_name": "First"}, {"full_name": "Second"}),
        "owner profile": (OWNER_PROFILE, {"business_info": {"n": 1}}, {"business_info": {"n": 2}}),
        "renter profile": (RENTER_PROFILE, {"preferences": {"n": 1}}, {"preferences": {"n": 2}}),
    }


EDITABLE = pytest.mark.parametrize("kind", ["listing", "user", "owner profile", "renter profile"])


class TestWrites:
    """A stale write never wins; of edits at the same time `tests/service/test_races.py` proves it."""

    @EDITABLE
    def test_what_is_no_condition_is_not_taken_for_none(
        self, client: FlaskClient, owner: Person, editable: dict[str, Any], kind: str
    ) -> None:
        path, first, _ = editable[kind]
        before = client.get(path, headers=owner.headers)
        tag = etag(before)
        for condition in (
            *("", " ", ",", "nonsense", tag.strip('"'), '"', '""a"', "W/*", '*, "a"', f"{tag}, *", f"{tag} {tag}"),
            *(f"w/{tag}", tag.replace('"', "'"), f"{tag}, nonsense", '"a\x7fb"'),
        ):
            for header in ("If-Match", "If-None-Match"):
                answer = client.put(path, json=first, headers={**owner.headers, header: condition})
                assert_error(answer, 400, "BAD_REQUEST")
        assert client.get(path, headers=owner.headers).get_data() == before.get_data()

    @EDITABLE
    def test_a_write_is_done_if_its_condition_holds_or_it_has_none(
        self, client: FlaskClient, owner: Person, editable: dict[str, Any], kind: str
    ) -> None:
        path, first, second = editable[kind]
        tag = etag(client.get(path, headers=owner.headers))
        wrong = [("If-None-Match", condition) for condition in ("*", tag, f"W/{tag}")]
        wrong += [("If-Match", condition) for condition in ('""', 'W/""')]
        for header, condition in wrong:
            assert_refused(client.put(path, json=first, headers={**owner.headers, header: condition}))
        for headers in ({**owner.headers, "If-None-Match": STALE}, owner.headers):
            assert_ok(client.put(path, json=second, headers=headers))
        for form in ("{}", "W/{}", '"x", {}', '{} , W/"y"', "  {}", "*"):
            tag = etag(client.get(path, headers=owner.headers))
            assert_ok(client.put(path, json=first, headers={**owner.headers, "If-Match": form.format(tag)}))

    def test_a_tag_of_an_earlier_release_names_the_same_state(
        self, client: FlaskClient, owner: Person, listing: str
    ) -> None:
        version = etag(client.get(listing)).strip('"').partition(".")[0]
        sent = f'"{version}.abcdef"'
        assert client.get(listing, headers={"If-None-Match": sent}).status_code == 200, "its bytes may be others"
        answer = client.put(listing, json={"title": "Later title"}, headers={**owner.headers, "If-Match": sent})
        assert answer.status_code == 200

    def test_a_stale_delete_takes_nothing_away(self, client: FlaskClient, owner: Person, listing: str) -> None:
        photo = f"{listing}/photos/{photo_id_of(id_of(listing))}"
        for path in (photo, listing):
            tag = etag(client.get(listing))
            client.put(listing, json={"title": f"Changed {path[-4:]}"}, headers=owner.headers)
            assert_refused(client.delete(path, headers={**owner.headers, "If-Match": tag}))
            assert client.get(listing).json["photos"] or path == listing  # type: ignore[index]
            fresh = {**owner.headers, "If-Match": etag(client.get(listing))}
            assert client.delete(path, headers=fresh).status_code == 204
        assert client.get(listing).status_code == 404

    def test_a_profile_that_is_not_there_matches_nothing(self, client: FlaskClient, renter: Person) -> None:
        body = {"business_info": {"n": 1}}
        for condition in ("*", STALE):
            assert_refused(client.put(OWNER_PROFILE, json=body, headers={**renter.headers, "If-Match": condition}))
        assert client.get("/api/v1/auth/me", headers=renter.headers).json["role"] == "renter"  # type: ignore[index]
        assert_ok(client.put(OWNER_PROFILE, json=body, headers={**renter.headers, "If-None-Match": "*"}))

    def test_whoever_may_not_write_learns_nothing_by_a_condition(
        self, client: FlaskClient, renter: Person, listing: str
    ) -> None:
        tag = etag(client.get(listing))
        for condition in (tag, STALE):
            sent = {"If-Match": condition}
            assert client.put(listing, json={"title": "Mine"}, headers={**renter.headers, **sent}).status_code == 403
            assert client.delete(listing, headers=sent).status_code == 401
            unknown = f"{API}/{UUID(int=0)}"
            assert client.delete(unknown, headers={**renter.headers, **sent}).status_code == 404

    def test_what_admins_changed_is_written_down_only_if_they_did(
        self, client: FlaskClient, admin: Person, listing: str
    ) -> None:
        assert_refused(client.delete(listing, headers={**admin.headers, "If-Match": STALE}))
        assert count_rows(AuditEntry) == 0


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("header", ["If-Match", "If-None-Match"])
def test_a_condition_that_nobody_looks_at_does_not_hold(
    settings: Settings, engine: Engine, method: str, header: str
) -> None:
    """Else a stale write would win on every route that is forgotten."""
    app = create_app(settings)
    app.add_url_rule("/forgotten", methods=[method], view_func=public(lambda: "done"))
    assert app.test_client().open("/forgotten", method=method).text == "done"
    assert_refused(app.test_client().open("/forgotten", method=method, headers={header: STALE}))

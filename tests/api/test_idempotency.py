"""Idempotency-Key: a POST that creates does so once for a key, and is answered alike each time."""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from structlog.typing import EventDict
from werkzeug.test import TestResponse

from app.db.session import in_unit_of_work, transaction
from app.models import AuditEntry, Category, Conversation, Equipment, EquipmentPhoto, IdempotencyKey, Message, Role
from app.realtime.bus import Event
from app.web import idempotency
from app.web.access import is_public
from tests.support.assertions import assert_error
from tests.support.processes.tenant import TenantProcess
from tests.support.routes import ROUTES, Route, Scene
from tests.support.rows import (
    Person,
    add_conversation,
    add_equipment,
    add_person,
    add_user,
    change_user,
    count_rows,
    new_equipment,
)

EQUIPMENT = "/api/v1/equipment"
CONVERSATIONS = "/api/v1/conversations"
CATEGORIES = "/api/v1/admin/categories"
KEY = "8e03978e-40d5-43e8-bc93-6894a57f9324"
CREATING = [row for row in ROUTES if row.method == "POST" and row.admin_status == 201 and row.own[0] == 401]


def post(client: FlaskClient, path: str, body: Any, person: Person, key: str | None = KEY) -> TestResponse:
    sent = {} if key is None else {"Idempotency-Key": key}
    return client.post(path, json=body, headers={**person.headers, **sent})


def assert_replayed(again: TestResponse, first: TestResponse) -> None:
    assert first.status_code in (200, 201), first.get_data(as_text=True)
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (again.status_code, again.get_data()) == (first.status_code, first.get_data())
    for name in ("Content-Type", "ETag", "Location", "Vary", "Cache-Control"):
        assert again.headers.get(name) == first.headers.get(name), name


def test_these_routes_create(app: Flask) -> None:
    """A new one is to take keys, or to be named here."""
    closed = {
        row.endpoint for row in ROUTES if row.method == "POST" and not is_public(app.view_functions[row.endpoint])
    }
    assert closed == {row.endpoint for row in CREATING} | {"conversations.mark_read"}


class TestReplay:
    @pytest.mark.parametrize("row", CREATING, ids=lambda row: row.endpoint)
    def test_creates_nothing_more_and_is_answered_alike(self, client: FlaskClient, admin: Person, row: Route) -> None:
        path, body = row.path(Scene(actor=admin, owner=admin)), row.body() if row.body else None
        models = (Equipment, EquipmentPhoto, Conversation, Message, Category, AuditEntry)
        first = post(client, path, body, admin)
        there = list(map(count_rows, models))

        again = post(client, path, body, admin)

        assert_replayed(again, first)
        assert first.status_code == 201
        assert list(map(count_rows, models)) == there
        assert again.headers["X-Request-Id"] != first.headers["X-Request-Id"]

    @pytest.mark.parametrize(
        "row", [row for row in CREATING if row.endpoint != "admin.create_category"], ids=lambda row: row.endpoint
    )  # there is one category of a name
    def test_is_answered_with_a_key_as_without(self, client: FlaskClient, admin: Person, row: Route) -> None:
        path, body = row.path(Scene(actor=admin, owner=admin)), row.body() if row.body else None
        without, with_key = (post(client, path, body, admin, key) for key in (None, KEY))
        ignored = {"X-Request-Id", "Content-Length", "ETag", "Location"}
        assert set(with_key.headers.keys()) - ignored == set(without.headers.keys()) - ignored
        assert (with_key.json or {}).keys() == (without.json or {}).keys()

    def test_holds_whatever_order_and_spaces_the_json_has(self, client: FlaskClient, owner: Person) -> None:
        sent = {**owner.headers, "Idempotency-Key": KEY, "Content-Type": "application/json"}
        path = f"{EQUIPMENT}/{add_equipment(owner.id)}/photos"
        first = client.post(path, data=b'{"photo_url":"https://example.com/1.jpg","is_primary":true}', headers=sent)
        again = client.post(
            path, data=b'{ "is_primary": true, "photo_url": "https:\\/\\/example.com/1.jpg" }', headers=sent
        )
        assert_replayed(again, first)

    def test_gives_the_answer_of_then(self, client: FlaskClient, owner: Person) -> None:
        first = post(client, EQUIPMENT, body := new_equipment(), owner)
        client.put(first.headers["Location"], json={"title": "Another title"}, headers=owner.headers)
        assert_replayed(post(client, EQUIPMENT, body, owner), first)
        client.delete(first.headers["Location"], headers=owner.headers)
        assert_replayed(post(client, EQUIPMENT, body, owner), first)
        assert client.get(first.headers["Location"]).status_code == 404

    def test_of_a_conversation_that_existed_is_one_too(self, client: FlaskClient, renter: Person) -> None:
        body = {"participant_ids": [str(add_user())]}
        post(client, CONVERSATIONS, body, renter, None)
        first = post(client, CONVERSATIONS, body, renter)
        assert first.status_code == 200
        assert_replayed(post(client, CONVERSATIONS, body, renter), first)

    def test_of_a_message_tells_nobody_again_and_the_first_time_not_before_it_is_committed(
        self, app: Flask, client: FlaskClient, renter: Person, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        told: list[tuple[Event, bool]] = []
        bus = app.extensions["chat"].bus
        monkeypatch.setattr(bus, "publish", lambda event: told.append((event, not in_unit_of_work())))
        path = f"{CONVERSATIONS}/{add_conversation(renter.id, add_user())}/messages"
        for _ in range(2):
            post(client, path, {"content": "Is it free?"}, renter)
        assert [(event.data, is_committed) for event, is_committed in told] == [({"seq": 1}, True)]

    def test_of_a_message_goes_with_its_client_msg_id(self, client: FlaskClient, renter: Person) -> None:
        path = f"{CONVERSATIONS}/{add_conversation(renter.id, add_user())}/messages"
        body = {"content": "Is it free?", "client_msg_id": "m-1"}
        first = post(client, path, body, renter)
        assert_replayed(post(client, path, body, renter), first)
        other = post(client, path, body, renter, "another-key")
        assert (other.status_code, other.json) == (200, first.json)
        assert "Idempotent-Replayed" not in other.headers


class TestOtherRequests:
    @pytest.mark.parametrize("change", [{"title": "Other drill"}, {"daily_rate": 25}, {"title": "Cordless drill "}])
    def test_with_another_body_is_refused(self, client: FlaskClient, owner: Person, change: Any) -> None:
        first = post(client, EQUIPMENT, body := new_equipment(), owner)
        assert_error(post(client, EQUIPMENT, body | change, owner), 422, "IDEMPOTENCY_KEY_REUSED")
        assert_error(post(client, EQUIPMENT, {}, owner), 422, "IDEMPOTENCY_KEY_REUSED")
        assert count_rows(Equipment) == 1
        assert_replayed(post(client, EQUIPMENT, body, owner), first)

    def test_to_another_path_is_refused(self, client: FlaskClient, owner: Person) -> None:
        photo = {"photo_url": "https://example.com/1.jpg"}
        one, other = (f"{EQUIPMENT}/{add_equipment(owner.id)}/photos" for _ in range(2))
        assert post(client, one, photo, owner).status_code == 201
        assert_error(post(client, other, photo, owner), 422, "IDEMPOTENCY_KEY_REUSED")
        assert count_rows(EquipmentPhoto) == 1

    def test_of_another_user_has_nothing_to_do_with_it(
        self, client: FlaskClient, owner: Person, tenant: TenantProcess
    ) -> None:
        other = add_person(tenant, Role.OWNER)
        first = post(client, EQUIPMENT, body := new_equipment(), owner)
        theirs = post(client, EQUIPMENT, body, other)
        assert theirs.status_code == 201
        assert "Idempotent-Replayed" not in theirs.headers
        assert (theirs.json or {})["id"] != (first.json or {})["id"]
        assert (theirs.json or {})["owner_id"] == str(other.id)

    def test_with_another_key_is_another(self, client: FlaskClient, owner: Person) -> None:
        body = new_equipment()
        for key in ("a", "A", "a.", "a" * 255):
            answer = post(client, EQUIPMENT, body, owner, key)
            assert answer.status_code == 201
            assert "Idempotent-Replayed" not in answer.headers
        assert count_rows(Equipment) == 4

    def test_without_a_key_keeps_nothing_and_costs_nothing(
        self, client: FlaskClient, renter: Person, counting_statements: Callable[[], Any]
    ) -> None:
        path = f"{CONVERSATIONS}/{add_conversation(renter.id, add_user())}/messages"
        with counting_statements() as plain:
            post(client, path, {"content": "Hello"}, renter, None)
        with counting_statements() as keyed:
            post(client, path, {"content": "Hello"}, renter)
        with counting_statements() as replayed:
            post(client, path, {"content": "Hello"}, renter)
        # The identity and the message; with a key also the claim, the stored response, and its insertion.
        assert (len(plain), len(keyed), len(replayed)) == (2, 5, 3)
        assert count_rows(IdempotencyKey) == 1

    @pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
    def test_that_creates_nothing_ignores_it(self, client: FlaskClient, owner: Person, method: str) -> None:
        path = f"{EQUIPMENT}/{add_equipment(owner.id)}"
        sent = {**owner.headers, "Idempotency-Key": "not a key"}
        answer = client.open(path, method=method, json={"title": "Other drill"}, headers=sent)
        assert answer.status_code in (200, 204)
        assert count_rows(IdempotencyKey) == 0


class TestErrors:
    def test_a_refused_request_may_be_mended_and_sent_with_its_key(self, client: FlaskClient, renter: Person) -> None:
        assert_error(post(client, EQUIPMENT, new_equipment(), renter), 403, "FORBIDDEN")
        client.put("/api/v1/users/me/owner-profile", json={"business_info": {}}, headers=renter.headers)
        for wrong in ({}, new_equipment(title=""), new_equipment(category_id=str(UUID(int=0)))):
            assert_error(post(client, EQUIPMENT, wrong, renter), 400, "VALIDATION_ERROR")
        sent = {**renter.headers, "Idempotency-Key": KEY, "Content-Type": "application/json"}
        for data in (b"", b"{", b"[]", b"\xff", b'{"a":1,"a":1}', b"[" * 5000, b'{"a":' + b"9" * 300 + b"}"):
            assert client.post(EQUIPMENT, data=data, headers=sent).status_code == 400
        made = post(client, EQUIPMENT, new_equipment(), renter)
        assert made.status_code == 201
        assert "Idempotent-Replayed" not in made.headers

    def test_a_conflict_that_is_over_is_over(self, client: FlaskClient, admin: Person) -> None:
        taken = post(client, CATEGORIES, {"name": "Boats"}, admin, None)
        assert_error(post(client, CATEGORIES, {"name": "Boats"}, admin), 409, "CONFLICT")
        client.delete(f"{CATEGORIES}/{(taken.json or {})['id']}", headers=admin.headers)
        assert post(client, CATEGORIES, {"name": "Boats"}, admin).status_code == 201

    def test_what_was_done_before_it_failed_is_undone(
        self, client: FlaskClient, owner: Person, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: Any) -> None:
            raise RuntimeError("after the listing, before its answer is kept")

        with monkeypatch.context() as patch:
            patch.setattr(idempotency, "_store", fail)
            assert post(client, EQUIPMENT, body := new_equipment(), owner).status_code == 500
        assert (count_rows(Equipment), count_rows(IdempotencyKey)) == (0, 0)
        assert post(client, EQUIPMENT, body, owner).status_code == 201
        assert count_rows(Equipment) == 1


class TestKeys:
    @pytest.mark.parametrize(
        ("key", "same"),
        [
            *((key, key) for key in ("k", "!", "~", "a/b+c=d;e:f", "\\", '"a,b"', '"' + "k" * 255 + '"')),
            *((f'"{KEY}"', KEY), (r'"a\\b"', r"a\b"), (r'"\\\\"', r"\\")),
        ],
    )
    def test_these_are_taken_with_or_without_quotes(
        self, client: FlaskClient, owner: Person, key: str, same: str
    ) -> None:
        first = post(client, EQUIPMENT, body := new_equipment(), owner, key)
        assert_replayed(post(client, EQUIPMENT, body, owner, same), first)

    @pytest.mark.parametrize(
        "key",
        ["", " ", '""', '"', '"k', 'k"', "k" * 256, '"' + "k" * 257 + '"', "a b", "a,b", '"a","b"', '"a";p=1',
         r'"a\b"', "a\tb", "a\x7fb", "é", "\x00", "\udcff".encode("utf-8", "surrogateescape").decode("latin-1")],
    )  # fmt: skip
    def test_these_are_not(self, client: FlaskClient, owner: Person, key: str) -> None:
        answer = post(client, EQUIPMENT, new_equipment(), owner, key)
        assert "Idempotency-Key" in assert_error(answer, 400, "BAD_REQUEST")["message"]
        twice = [*owner.headers.items(), ("Idempotency-Key", "a"), ("Idempotency-Key", key)]
        assert_error(client.post(EQUIPMENT, json=new_equipment(), headers=twice), 400, "BAD_REQUEST")
        assert (count_rows(Equipment), count_rows(IdempotencyKey)) == (0, 0)

    def test_neither_key_nor_body_is_stored_or_logged(
        self, client: FlaskClient, owner: Person, logged: list[EventDict], capfd: pytest.CaptureFixture[str]
    ) -> None:
        key = uuid4().hex
        body = new_equipment()
        for change in ({}, {}, {"title": "Other drill"}):
            post(client, EQUIPMENT, body | change, owner, key)
        post(client, EQUIPMENT, body, owner, f"{key} {key}")
        with transaction() as session:
            kept = session.execute(text("SELECT k::text FROM idempotency_keys AS k")).scalars().all()
        assert len(kept) == 1
        assert not any(text in kept[0] for text in (key, key.encode().hex(), "coordinates"))
        assert key not in str(logged) + "".join(capfd.readouterr())


class TestEnd:
    def test_a_key_is_kept_for_24_hours(self, client: FlaskClient, owner: Person) -> None:
        post(client, EQUIPMENT, new_equipment(), owner)
        with transaction() as session:
            is_a_day = text("SELECT expires_at - created_at = interval '24 hours' FROM idempotency_keys")
            assert session.scalar(is_a_day) is True

    def test_an_expired_one_is_a_new_one(self, client: FlaskClient, owner: Person) -> None:
        first = post(client, EQUIPMENT, body := new_equipment(), owner)
        expire()
        second = post(client, EQUIPMENT, body, owner)
        assert second.status_code == 201
        assert "Idempotent-Replayed" not in second.headers
        assert (second.json or {})["id"] != (first.json or {})["id"]
        assert_replayed(post(client, EQUIPMENT, body, owner), second)
        expire()
        assert post(client, EQUIPMENT, new_equipment(title="Other drill"), owner).status_code == 201

    def test_maintenance_removes_the_expired_ones_and_no_others(
        self, app: Flask, client: FlaskClient, owner: Person
    ) -> None:
        fill(owner, 2_400)
        expire()
        first = post(client, EQUIPMENT, body := new_equipment(), owner)
        done = app.test_cli_runner().invoke(args=["maintenance"])
        assert done.exit_code == 0
        assert "idempotency keys: 2400 expired rows removed\n" in done.output
        assert_replayed(post(client, EQUIPMENT, body, owner), first)

    def test_a_user_who_has_as_many_as_there_may_be_waits(self, client: FlaskClient, owner: Person) -> None:
        first = post(client, EQUIPMENT, body := new_equipment(), owner)
        fill(owner, idempotency.MAX_KEYS - 1)
        refused = post(client, EQUIPMENT, body, owner, "one-more")
        assert_error(refused, 429, "RATE_LIMITED")
        assert count_rows(Equipment) == 1
        assert_replayed(post(client, EQUIPMENT, body, owner), first)
        expire()
        assert post(client, EQUIPMENT, body, owner, "one-more").status_code == 201


class TestRights:
    def test_without_a_token_there_is_no_answer(self, client: FlaskClient, owner: Person) -> None:
        post(client, EQUIPMENT, body := new_equipment(), owner)
        assert client.post(EQUIPMENT, json=body, headers={"Idempotency-Key": KEY}).status_code == 401

    def test_who_is_no_admin_any_more_is_told_nothing(self, client: FlaskClient, admin: Person) -> None:
        post(client, CATEGORIES, {"name": "Boats"}, admin)
        change_user(admin.id, role=Role.OWNER)
        assert_error(post(client, CATEGORIES, {"name": "Boats"}, admin), 403, "FORBIDDEN")

    def test_who_is_no_owner_any_more_is_told_what_came_of_it_and_lists_nothing_new(
        self, client: FlaskClient, owner: Person
    ) -> None:
        first = post(client, EQUIPMENT, body := new_equipment(), owner)
        change_user(owner.id, role=Role.RENTER)
        assert_replayed(post(client, EQUIPMENT, body, owner), first)
        assert_error(post(client, EQUIPMENT, body, owner, "new"), 403, "FORBIDDEN")

    def test_sign_up_takes_none(self, client: FlaskClient) -> None:
        body = {"email": f"{uuid4().hex}@example.com", "password": "Lake-kayaks-1843", "username": uuid4().hex[:20]}
        sent = {"Idempotency-Key": KEY}
        statuses = [client.post("/api/v1/auth/auth0/signup", json=body, headers=sent).status_code for _ in range(2)]
        assert statuses == [201, 409]
        assert count_rows(IdempotencyKey) == 0


def expire() -> None:
    with transaction() as session:
        session.execute(text("UPDATE idempotency_keys SET expires_at = now() - interval '1 second'"))


def fill(person: Person, rows: int) -> None:
    with transaction() as session:
        session.execute(
            text(
                "INSERT INTO idempotency_keys (user_id, key_digest, fingerprint, status, headers, body, expires_at)"
                " SELECT :user_id, int4send(n), '', 201, '{}', '', now() + interval '1 hour'"
                " FROM generate_series(1, :rows) AS n"
            ),
            {"user_id": person.id, "rows": rows},
        )

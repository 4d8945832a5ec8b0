"""Concurrent changes by admins over two workers, and requests of a user while the user is deleted.

Concurrent: a transaction holds the rows that all of them change until each of them waits, and is then committed.
"""

import os
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any
from uuid import uuid4

import psycopg2
import pytest
from websockets.exceptions import InvalidStatus

from tests.support.assertions import assert_error
from tests.support.databases import LOCK_WAITS
from tests.support.processes import run
from tests.support.processes.service import ServiceProcess
from tests.support.processes.tenant import TenantProcess
from tests.support.users import NEW_LISTING, ChatUser
from tests.support.waiting import all_at_once, statuses, until
from tests.support.ws_client import ChatClient

Newcomer = Callable[..., ChatUser]
Sql = Callable[..., Any]
AtOnce = Callable[..., list[Any]]
NewCategory = Callable[[], tuple[str, str]]


@pytest.fixture
def admins(newcomer: Newcomer, sql: Sql) -> list[ChatUser]:
    """The only two admins."""
    sql("UPDATE users SET role = 'renter' WHERE role = 'admin'")
    two = [newcomer(email=f"{uuid4().hex}@example.com", email_verified=True) for _ in range(2)]
    sql("UPDATE users SET role = 'admin' WHERE id = ANY(%s::uuid[])", [admin.id for admin in two])
    return two


@pytest.fixture
def at_once(database_url: str, sql: Sql) -> AtOnce:
    """The results of calls that start while a statement holds rows that they need, and go on once it is committed."""

    def call_all(calls: list[Callable[[], Any]], statement: str, *values: Any) -> list[Any]:
        holder = psycopg2.connect(database_url)
        with ThreadPoolExecutor(len(calls)) as threads:
            try:
                with holder.cursor() as cursor:
                    cursor.execute(statement, values)
                begun: list[Future[Any]] = []
                for call in calls:
                    begun.append(threads.submit(call))
                    until(lambda: sql(LOCK_WAITS) >= len(begun) or any(future.done() for future in begun))
                holder.commit()
                return [future.result() for future in begun]
            finally:
                holder.close()

    return call_all


def demote(who: ChatUser, whom: ChatUser) -> Any:
    return who.call("PUT", f"/admin/users/{whom.id}/role", json={"role": "renter"})


def delete(who: ChatUser, whom: ChatUser) -> Any:
    return who.call("DELETE", f"/admin/users/{whom.id}")


HOLD_ADMINS = "SELECT id FROM users WHERE role = 'admin' ORDER BY id FOR UPDATE"
COUNT_ADMINS = "SELECT count(*) FROM users WHERE role = 'admin'"


@pytest.mark.attack("accounts")
@pytest.mark.parametrize("deeds", [(demote, demote), (delete, delete), (demote, delete), (delete, demote)])
def test_of_two_admins_that_demote_or_delete_each_other_one_stays(
    admins: list[ChatUser], sql: Sql, at_once: AtOnce, deeds: Any
) -> None:
    one, other = admins
    entries = sql("SELECT count(*) FROM audit_log")
    answers = at_once([lambda: deeds[0](one, other), lambda: deeds[1](other, one)], HOLD_ADMINS)
    by_status = sorted(answer.status_code for answer in answers)
    assert by_status[0] in (200, 204)
    assert by_status[1] == 403
    assert sql(COUNT_ADMINS) == 1
    assert sql("SELECT count(*) FROM audit_log") == entries + 1


@pytest.mark.attack("accounts")
@pytest.mark.parametrize("deed", [demote, delete, None], ids=["demote", "delete", "another shell"])
def test_a_shell_beside_an_admin_or_another_shell_leaves_one_admin(
    admins: list[ChatUser], environment: dict[str, str], sql: Sql, at_once: AtOnce, deed: Any
) -> None:
    one, other = admins
    emails = [sql("SELECT email FROM users WHERE id = %s", admin.id) for admin in admins]
    rival = partial(deed, one, other) if deed else partial(promote, environment, emails[1], "owner")
    exit_code, outcome = at_once([partial(promote, environment, emails[0], "renter"), rival], HOLD_ADMINS)
    if deed:  # the shell demotes the acting admin, or comes too late and finds the last admin
        assert (outcome.status_code, exit_code) in ((403, 0), (200, 1), (204, 1))
    else:
        assert {exit_code, outcome} == {0, 1}
    assert sql(COUNT_ADMINS) == 1


def promote(environment: dict[str, str], email: str, role: str) -> int:
    """What an operator does from a shell; its exit code."""
    command = (sys.executable, "-m", "flask", "--app", "wsgi", "users", "promote", email, role)
    return run(*command, env={"PATH": os.environ["PATH"], "APP_ENV": "test", **environment}).returncode


def test_a_change_and_its_entry_are_of_one_transaction(admins: list[ChatUser], newcomer: Newcomer, sql: Sql) -> None:
    # PostgreSQL keeps with each row which transaction wrote it.
    user = newcomer()
    assert admins[0].call("PUT", f"/admin/users/{user.id}/role", json={"role": "owner"}).status_code == 200
    written = sql("SELECT xmin::text FROM users WHERE id = %s", user.id)
    assert sql("SELECT xmin::text FROM audit_log WHERE subject_id = %s", user.id) == written


def test_a_user_deleted_many_times_at_once_is_deleted_once(
    admins: list[ChatUser], newcomer: Newcomer, sql: Sql, at_once: AtOnce
) -> None:
    user = newcomer()
    calls = [lambda who=who: delete(who, user) for who in admins * 2]
    answers = at_once(calls, "SELECT id FROM users WHERE id = %s FOR UPDATE", user.id)
    assert Counter(answer.status_code for answer in answers) == {204: 1, 404: 3}
    assert sql("SELECT count(*) FROM audit_log WHERE subject_id = %s", user.id) == 1


@pytest.mark.attack("accounts")
def test_fifty_uses_of_a_deleted_user_s_token_at_once_create_no_user(
    admins: list[ChatUser], newcomer: Newcomer, sql: Sql, service: ServiceProcess
) -> None:
    email = f"{uuid4().hex}@example.com"
    user = newcomer(email=email, email_verified=True)
    assert delete(admins[0], user).status_code == 204
    assert statuses(all_at_once(service, [user.token] * 50)) == {401: 50}
    assert sql("SELECT count(*) FROM users WHERE email = %s", email) == 0


@pytest.mark.attack("accounts")
def test_first_uses_of_another_identity_while_its_user_is_deleted_make_one_user(
    service: ServiceProcess, tenant: TenantProcess, newcomer: Newcomer, sql: Sql, at_once: AtOnce
) -> None:
    # Each finds the user by the verified e-mail address, and waits to be linked to a user that is then deleted.
    email = f"{uuid4().hex}@example.com"
    user = newcomer(email=email, email_verified=True)
    again = tenant.token(sub=f"google-oauth2|{uuid4().hex}", email=email, email_verified=True)
    calls = [lambda: all_at_once(service, [again])[0]] * 4
    answers = at_once(calls, "DELETE FROM users WHERE id = %s", user.id)
    assert Counter(answer.status_code for answer in answers) == {200: 4}
    (new_id,) = {answer.json()["id"] for answer in answers}
    assert new_id != user.id
    assert sql("SELECT count(*) FROM users WHERE email = %s", email) == 1
    assert user.call("GET", "/auth/me").status_code == 401


@pytest.mark.attack("accounts")
def test_a_deleted_user_s_sockets_end_and_no_new_one_begins(
    admins: list[ChatUser], newcomer: Newcomer, service: ServiceProcess
) -> None:
    ada, ben = newcomer(), newcomer()
    talk = ada.begin(ben)
    with ChatClient(ben) as idle, ChatClient(ben) as sending, ChatClient(ben) as renewing:
        assert delete(admins[0], ben).status_code == 204
        sending.say("message", conversation_id=talk, content="I am gone")
        assert sending.expect("error")["code"] == "FORBIDDEN"
        renewing.say("auth", token=ben.token)
        assert renewing.expect("error")["message"] == "The account of this token was deleted."
        assert renewing.close_code() == 4500
        ada.send(talk, "Are you there?")
        assert idle.all_until_pong() == []
        assert (idle.close_code(), sending.close_code()) == (4503, 4503)
    assert [message["content"] for message in ada.messages(talk)] == ["Are you there?"]
    with pytest.raises(InvalidStatus) as refusal, ChatClient(ben, additional_headers=ben.headers):
        pass
    assert refusal.value.response.status_code == 401


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [("DELETE FROM users", 404, "NOT_FOUND"), ("UPDATE users SET role = 'renter'", 403, "FORBIDDEN")],
)
def test_a_listing_that_is_created_while_its_owner_is_deleted_or_becomes_a_renter_is_refused(
    newcomer: Newcomer, sql: Sql, at_once: AtOnce, change: str, status: int, code: str
) -> None:
    owner = newcomer().become_owner()
    call = partial(owner.call, "POST", "/equipment", json=NEW_LISTING)
    (answer,) = at_once([call], f"{change} WHERE id = %s", owner.id)
    assert_error(answer, status, code)
    assert sql("SELECT count(*) FROM equipment WHERE owner_id = %s", owner.id) == 0


def test_an_owner_profile_is_answered_with_the_role_that_was_given_while_it_was_saved(
    newcomer: Newcomer, at_once: AtOnce
) -> None:
    user = newcomer()
    path = "/users/me/owner-profile"
    call = partial(user.call, "PUT", path, json={"business_info": {"since": 2026}})
    (answer,) = at_once([call], "UPDATE users SET role = 'admin' WHERE id = %s", user.id)
    read = user.call("GET", path)
    assert answer.json() == read.json() == {"business_info": {"since": 2026}, "role": "admin"}
    assert answer.headers["ETag"] == read.headers["ETag"]


def test_a_mark_under_way_while_the_membership_ends_is_refused(newcomer: Newcomer, sql: Sql, at_once: AtOnce) -> None:
    ada, ben = newcomer(), newcomer()
    talk = ada.begin(ben)
    call = partial(ben.call, "POST", f"/conversations/{talk}/read")
    end = "DELETE FROM conversation_participants WHERE conversation_id = %s AND user_id = %s"
    (answer,) = at_once([call], end, talk, ben.id)
    assert_error(answer, 403, "FORBIDDEN")


def moves(who: ChatUser, category_id: str, name: str, below: str) -> Callable[[], Any]:
    return partial(who.call, "PUT", f"/admin/categories/{category_id}", json={"name": name, "parent_id": below})


@pytest.fixture
def new_category(admins: list[ChatUser]) -> Callable[[], tuple[str, str]]:
    """Makes categories; a call gives the id and the name of one."""

    def make() -> tuple[str, str]:
        name = uuid4().hex
        answer = admins[0].call("POST", "/admin/categories", json={"name": name})
        assert answer.status_code == 201, answer.text
        return answer.json()["id"], name

    return make


# A change of a category waits for this after it has read what it decides by.
HOLD_CATEGORIES = "LOCK TABLE categories IN SHARE ROW EXCLUSIVE MODE"


def test_two_moves_at_the_same_instant_close_no_circle(
    admins: list[ChatUser], new_category: NewCategory, sql: Sql, at_once: AtOnce
) -> None:
    (one, one_name), (other, other_name) = new_category(), new_category()
    calls = [moves(admins[0], one, one_name, other), moves(admins[1], other, other_name, one)]
    answers = at_once(calls, HOLD_CATEGORIES)
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    assert sql("SELECT count(*) FROM categories WHERE id = ANY(%s::uuid[]) AND parent_id IS NULL", [one, other]) == 1
    changes = "SELECT count(*) FROM audit_log WHERE subject_id = ANY(%s::uuid[]) AND action = 'category.changed'"
    assert sql(changes, [one, other]) == 1


def test_one_name_given_by_two_at_the_same_instant_is_given_once(admins: list[ChatUser], at_once: AtOnce) -> None:
    name = uuid4().hex
    calls = [partial(who.call, "POST", "/admin/categories", json={"name": name}) for who in admins]
    answers = at_once(calls, HOLD_CATEGORIES)
    assert sorted(answer.status_code for answer in answers) == [201, 409]


@pytest.mark.parametrize("first", ["deletion", "listing"])
def test_a_category_is_deleted_or_listed_in_and_never_both(
    admins: list[ChatUser], new_category: NewCategory, sql: Sql, at_once: AtOnce, first: str
) -> None:
    category_id, _ = new_category()
    calls = {
        "deletion": partial(admins[0].call, "DELETE", f"/admin/categories/{category_id}"),
        "listing": partial(admins[1].call, "POST", "/equipment", json={**NEW_LISTING, "category_id": category_id}),
    }
    order = sorted(calls, key=lambda name: name != first)
    hold = "SELECT id FROM categories WHERE id = %s FOR UPDATE"
    answers = dict(zip(order, at_once([calls[name] for name in order], hold, category_id), strict=True))
    assert (answers["deletion"].status_code, answers["listing"].status_code) in ((204, 400), (409, 201))
    is_listed = answers["listing"].ok
    assert sql("SELECT count(*) FROM equipment WHERE category_id = %s", category_id) == is_listed
    assert sql("SELECT count(*) FROM categories WHERE id = %s", category_id) == is_listed


@pytest.fixture
def listing_owner(newcomer: Newcomer) -> ChatUser:
    return newcomer().become_owner()


@pytest.mark.parametrize("sender", ["the owner", "another admin"])
@pytest.mark.parametrize("first", ["message", "deletion"])
def test_a_message_about_a_listing_and_the_deletion_of_its_owner_do_not_deadlock(
    admins: list[ChatUser], listing_owner: ChatUser, at_once: AtOnce, sender: str, first: str
) -> None:
    # The deletion takes the listing out of the conversation, and holds every admin besides the one it deletes.
    writer = listing_owner if sender == "the owner" else admins[1]
    talk = admins[1].begin(listing_owner, equipment_id=listing_owner.list_equipment())
    calls = {
        "message": partial(writer.call, "POST", f"/conversations/{talk}/messages", json={"content": "Is it free?"}),
        "deletion": partial(delete, admins[0], listing_owner),
    }
    order = sorted(calls, key=lambda name: name != first)
    hold = "SELECT id FROM conversations WHERE id = %s FOR UPDATE"
    answers = dict(zip(order, at_once([calls[name] for name in order], hold, talk), strict=True))
    assert answers["deletion"].status_code == 204
    is_too_late = sender == "the owner" and first == "deletion"
    assert answers["message"].status_code == (403 if is_too_late else 201)
    assert len(admins[1].messages(talk)) == (0 if is_too_late else 1)


@pytest.mark.parametrize("what", ["begin a conversation", "become an owner"])
def test_the_deletion_of_an_owner_and_a_request_that_needs_the_owner_do_not_deadlock(
    admins: list[ChatUser], newcomer: Newcomer, listing_owner: ChatUser, sql: Sql, at_once: AtOnce, what: str
) -> None:
    if what == "begin a conversation":
        body: dict[str, Any] = {"participant_ids": [listing_owner.id], "equipment_id": listing_owner.list_equipment()}
        request, expected = partial(newcomer().call, "POST", "/conversations", json=body), 400
    else:
        sql("UPDATE users SET role = 'renter' WHERE id = %s", listing_owner.id)
        body = {"business_info": {"since": 2026}}
        request, expected = partial(listing_owner.call, "PUT", "/users/me/owner-profile", json=body), 404
    hold = "SELECT id FROM users WHERE id = %s FOR UPDATE"
    answers = at_once([partial(delete, admins[0], listing_owner), request], hold, listing_owner.id)
    assert [answer.status_code for answer in answers] == [204, expected]


def test_of_two_who_change_the_category_they_both_saw_at_the_same_instant_one_does(
    admins: list[ChatUser], new_category: NewCategory, sql: Sql, at_once: AtOnce
) -> None:
    category_id, _ = new_category()
    seen = admins[0].call("GET", f"/categories/{category_id}").headers["ETag"]
    calls = [
        *(partial(on_condition, who, seen, "PUT", category_id, {"name": uuid4().hex}) for who in admins),
        *(partial(on_condition, who, seen, "DELETE", category_id) for who in admins),
    ]
    answers = at_once(calls, HOLD_CATEGORIES)
    counted = Counter(answer.status_code for answer in answers)
    assert counted in ({200: 1, 412: 3}, {204: 1, 404: 3})
    made = "SELECT count(*) FROM audit_log WHERE subject_id = %s AND action <> 'category.created'"
    assert sql(made, category_id) == 1


def on_condition(who: ChatUser, tag: str, method: str, category_id: str, body: Any = None) -> Any:
    return who.call(method, f"/admin/categories/{category_id}", json=body, headers={"If-Match": tag})


def test_a_user_is_not_deleted_with_a_listing_that_is_made_at_the_same_instant(
    admins: list[ChatUser], listing_owner: ChatUser, at_once: AtOnce
) -> None:
    path = f"/admin/users/{listing_owner.id}"
    seen = {"If-Match": admins[0].call("GET", path).headers["ETag"]}
    removing = partial(admins[0].call, "DELETE", path, headers=seen)
    listing = partial(listing_owner.call, "POST", "/equipment", json=NEW_LISTING)
    answers = at_once([removing, listing], "SELECT FROM users WHERE id = %s FOR UPDATE", listing_owner.id)
    assert tuple(answer.status_code for answer in answers) in ((204, 404), (412, 201))


def test_a_request_with_an_idempotency_key_and_the_deletion_of_its_user_do_not_deadlock(
    admins: list[ChatUser], listing_owner: ChatUser, sql: Sql, at_once: AtOnce
) -> None:
    owner, listing_id = listing_owner, listing_owner.list_equipment()
    photo, key = {"photo_url": "https://example.com/1.jpg"}, {"Idempotency-Key": uuid4().hex}
    adding = partial(owner.call, "POST", f"/equipment/{listing_id}/photos", json=photo, headers=key)
    answers = at_once(
        [adding, partial(delete, admins[0], owner)], "SELECT FROM equipment WHERE id = %s FOR UPDATE", listing_id
    )
    assert [answer.status_code for answer in answers] == [201, 204]
    assert sql("SELECT count(*) FROM idempotency_keys WHERE user_id = %s", owner.id) == 0

"""What admins read in the audit log: newest first, each entry once at any depth, by whom, of what and from when."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask.testing import FlaskClient
from structlog.contextvars import bind_contextvars

from app.common import audit, paging
from app.common.audit import OPERATOR, Action
from app.db.session import transaction
from app.errors import Forbidden
from app.models import AuditEntry, Role
from tests.support.admin_api import ADMIN, audit_log, change_role, delete_user, role_of
from tests.support.assertions import assert_error, assert_ok, problems
from tests.support.processes.tenant import TenantProcess
from tests.support.rows import Person, add_equipment, add_person

LOG = f"{ADMIN}/audit-log"
NO_TIMES = ["2026-03-01", "2026-03-01T11:00:00", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "now", "0"]


@pytest.fixture
def read(client: FlaskClient, admin: Person) -> Callable[..., dict[str, Any]]:

    def get(**query: Any) -> dict[str, Any]:
        return dict(assert_ok(client.get(LOG, query_string=query, headers=admin.headers)))

    return get


def write(
    number: int, *, actor_id: UUID | None = OPERATOR, action: Action = Action.USER_CHANGED, **values: Any
) -> UUID:
    """An entry about somebody; what it is about."""
    with transaction() as session:
        audit.record(session, actor_id, action, subject := uuid4(), after={"number": number})
        if values:
            entry = session.query(AuditEntry).filter_by(subject_id=subject).one()
            for name, value in values.items():
                setattr(entry, name, value)
    return subject


def numbers(*pages: dict[str, Any]) -> list[int]:
    return [entry["after"]["number"] for page in pages for entry in page["entries"]]


def test_an_entry_says_who_did_what_when_and_how_it_was_before(
    client: FlaskClient, admin: Person, renter: Person, read: Callable[..., Any]
) -> None:
    began = datetime.now(UTC)
    change_role(client, admin, renter.id, "owner", **{"X-Request-Id": "request-of-a-test"})
    (entry,) = read()["entries"]
    assert isinstance(entry.pop("id"), int)
    assert timedelta(0) <= began - datetime.fromisoformat(entry.pop("created_at")) < timedelta(minutes=5)
    assert entry == {
        "actor_id": str(admin.id),
        "actor_username": (client.get(f"/api/v1/users/{admin.id}").json or {})["username"],
        "action": "user.role_changed",
        "subject_id": str(renter.id),
        "before": {"role": "renter"},
        "after": {"role": "owner"},
        "request_id": "request-of-a-test",
    }


def test_an_entry_has_the_id_of_its_request_whatever_is_bound_to_the_log(
    client: FlaskClient, admin: Person, renter: Person, read: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    record = audit.record

    def bind_first(*args: Any, **options: Any) -> None:
        bind_contextvars(request_id="id-of-another-request")
        record(*args, **options)

    monkeypatch.setattr(audit, "record", bind_first)
    change_role(client, admin, renter.id, "owner", **{"X-Request-Id": "request-of-a-test"})
    assert [entry["request_id"] for entry in read()["entries"]] == ["request-of-a-test"]


def test_an_operator_has_no_id_and_a_deleted_actor_no_name(
    client: FlaskClient, tenant: TenantProcess, admin: Person, renter: Person, read: Callable[..., Any]
) -> None:
    other = add_person(tenant, Role.ADMIN)
    write(1)
    change_role(client, other, renter.id, "owner")
    delete_user(client, admin, other.id)
    deletion, change, shell = read()["entries"]
    assert (shell["actor_id"], shell["actor_username"], shell["before"]) == (None, None, None)
    assert (change["actor_id"], change["actor_username"]) == (str(other.id), None)
    assert (deletion["actor_id"], deletion["after"]) == (str(admin.id), None)


def test_the_filters_combine(read: Callable[..., Any], admin: Person) -> None:
    subject = write(1, actor_id=admin.id)
    write(2, actor_id=admin.id, action=Action.USER_DELETED)
    write(3)
    for filters, wanted in (
        ({"actor_id": admin.id}, [2, 1]),
        ({"action": "user.changed"}, [3, 1]),
        ({"subject_id": subject}, [1]),
        ({"actor_id": admin.id, "action": "user.changed"}, [1]),
        ({"action": "category.created"}, []),
        ({"actor_id": uuid4()}, []),
    ):
        page = read(**filters)
        assert (numbers(page), page["total"]) == (wanted, len(wanted)), filters


def test_a_time_is_from_one_on_and_before_the_other_in_any_zone(read: Callable[..., Any]) -> None:
    for hour in (10, 11, 12):
        write(hour, created_at=datetime(2026, 3, 1, hour, tzinfo=UTC))
    for since, until, wanted in (
        ("2026-03-01T11:00:00Z", None, [12, 11]),
        ("2026-03-01T11:00:00.000001Z", None, [12]),
        (None, "2026-03-01T11:00:00Z", [10]),
        ("2026-03-01T12:00:00+01:00", "2026-03-01T13:00:00+01:00", [11]),
        ("2026-03-01T11:00:00Z", "2026-03-01T11:00:00Z", []),
    ):
        assert numbers(read(since=since, until=until)) == wanted, (since, until)


@pytest.mark.attack("hostile input")
@pytest.mark.parametrize(
    ("query", "field"),
    [
        *(({field: time}, field) for field in ("since", "until") for time in NO_TIMES),
        ({"since": "2026-03-02T00:00:00Z", "until": "2026-03-01T00:00:00Z"}, "since"),
        ({"page": "1", "cursor": "x"}, "cursor"),
        ({"per_page": "101"}, "per_page"),
        ({"page": "0"}, "page"),
        ({"action": "everything"}, "action"),
        ({"action": "user.chang"}, "action"),
        ({"actor_id": "me"}, "actor_id"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(
    client: FlaskClient, admin: Person, query: dict[str, str], field: str
) -> None:
    assert problems(client.get(LOG, query_string=query, headers=admin.headers)) == [(field, "invalid")]


def test_a_walk_by_cursor_holds_each_once_while_others_write(read: Callable[..., Any]) -> None:
    for number in range(7):
        write(number)
    pages = [read(per_page=3)]
    while pages[-1]["next_cursor"]:
        write(99)
        pages.append(read(per_page=3, cursor=pages[-1]["next_cursor"]))
    assert numbers(*pages) == [6, 5, 4, 3, 2, 1, 0]
    assert [page["page"] for page in pages] == [1, 2, 3]
    assert [page["total"] for page in pages] == [7, 8, 9]


def test_pages_by_their_number_hold_the_same(read: Callable[..., Any]) -> None:
    for number in range(5):
        write(number)
    assert numbers(*(read(per_page=2, page=page) for page in (1, 2, 3, 4))) == [4, 3, 2, 1, 0]
    assert read(page=1_000_000) == {"entries": [], "total": 5, "page": 1_000_000, "per_page": 20, "next_cursor": None}


@pytest.mark.attack("hostile input")
@pytest.mark.parametrize("forged", ["", "x", "1e9", "9" * 300, "-1", "1; --", "\u0663"])
def test_a_forged_or_foreign_cursor_does_no_harm(
    client: FlaskClient, admin: Person, read: Callable[..., Any], forged: str
) -> None:
    for number in range(2):
        write(number)
    cursor = paging.encode_cursor(paging.Position(page=2, key=None, id=forged), of_list=("audit log",))
    answer = client.get(LOG, query_string={"cursor": cursor}, headers=admin.headers)
    if answer.status_code != 200:
        assert problems(answer) == [("cursor", "invalid")]
    foreign = {"cursor": read(per_page=1)["next_cursor"], "action": "user.changed"}
    assert problems(client.get(LOG, query_string=foreign, headers=admin.headers)) == [("cursor", "invalid")]


@pytest.mark.parametrize("per_page", [1, 100])
def test_a_page_costs_the_same_statements_whatever_its_size(
    client: FlaskClient, admin: Person, counting_statements: Callable[[], Any], per_page: int
) -> None:
    for number in range(101):
        write(number)
    with counting_statements() as counted:
        answer = client.get(LOG, query_string={"per_page": per_page}, headers=admin.headers)
    assert len((answer.json or {})["entries"]) == per_page
    assert len(counted) == 2  # the caller, and the page with its total


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "users/{user}/role", {"role": "admin"}),
        ("DELETE", "users/{user}", None),
        ("PUT", "equipment/{equipment}/availability", {"is_available": False}),
        ("DELETE", "equipment/{equipment}", None),
    ],
)
def test_a_change_whose_entry_fails_is_rolled_back(
    client: FlaskClient,
    admin: Person,
    owner: Person,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    path: str,
    body: Any,
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise Forbidden("The log is full.")

    equipment_id = add_equipment(owner.id)
    before = assert_ok(client.get(f"/api/v1/equipment/{equipment_id}"))
    monkeypatch.setattr("app.common.audit.record", fail)
    url = f"{ADMIN}/{path.format(user=owner.id, equipment=equipment_id)}"
    assert_error(client.open(url, method=method, json=body, headers=admin.headers), 403, "FORBIDDEN")
    assert assert_ok(client.get(f"/api/v1/equipment/{equipment_id}")) == before
    assert (role_of(owner.id), audit_log()) == ("owner", [])

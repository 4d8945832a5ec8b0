"""What admins see: counts, users and listings by page, exactly; and what a search of theirs finds, letter by letter."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from flask.testing import FlaskClient

from app.models import Role, User
from tests.support.admin_api import ADMIN
from tests.support.assertions import assert_ok, problems
from tests.support.processes.tenant import TenantProcess
from tests.support.rows import (
    EPOCH,
    Person,
    add_category,
    add_equipment,
    add_person,
    add_user,
    category_id,
    change_user,
    count_rows,
)


@pytest.fixture
def ask(client: FlaskClient, admin: Person) -> Callable[..., dict[str, Any]]:

    def get(path: str, **query: Any) -> dict[str, Any]:
        return dict(assert_ok(client.get(f"{ADMIN}/{path}", query_string=query, headers=admin.headers)))

    return get


def found(page: dict[str, Any], kind: str = "users") -> set[str]:
    return {row["id"] for row in page[kind]}


def test_the_counts_are_exact_and_cost_one_statement(
    client: FlaskClient, admin: Person, owner: Person, counting_statements: Callable[[], Any]
) -> None:
    def stats() -> dict[str, int]:
        with counting_statements() as counted:
            answer = client.get(f"{ADMIN}/stats", headers=admin.headers)
        assert len(counted) == 2  # the caller, and all of it
        return dict(answer.json or {})

    before = stats()
    add_equipment(owner.id)
    add_equipment(owner.id, is_available=False)
    add_user()
    add_category()
    more = {"total_users": 1, "total_equipment": 2, "available_equipment": 1, "total_categories": 1}
    assert stats() == {name: before[name] + more[name] for name in before}
    assert set(before) == set(more)


class TestUsers:
    def test_one_is_shown_as_in_the_list(self, ask: Callable[..., Any], owner: Person) -> None:
        add_equipment(owner.id)
        shown = ask(f"users/{owner.id}")
        assert shown["equipment_count"] == 1
        assert shown in ask("users", search=owner.email)["users"]

    @pytest.mark.parametrize("role", list(Role))
    def test_those_of_a_role(
        self, ask: Callable[..., Any], renter: Person, owner: Person, admin: Person, role: Role
    ) -> None:
        page = ask("users", role=role.value, per_page=100)
        assert {row["role"] for row in page["users"]} == {role.value}
        assert page["total"] == len(page["users"]) == count_rows(User, role=role)

    def test_a_filter_narrows_a_search(self, ask: Callable[..., Any], owner: Person, renter: Person) -> None:
        for user in (owner, renter):
            change_user(user.id, full_name="Sam Smith")
        assert found(ask("users", search="sam s", role="owner")) == {str(owner.id)}


class TestSearch:
    @pytest.mark.parametrize("field", ["email", "username", "full_name"])
    @pytest.mark.parametrize("part", ["needle", "NEEDLE", "éneedley", "eed", " Needle "])
    def test_it_looks_in_each_of_these_in_any_case_and_anywhere(
        self, ask: Callable[..., Any], field: str, part: str
    ) -> None:
        user_id, _ = add_user(), add_user()
        change_user(user_id, **{field: "xÉNeedleY"})
        assert found(ask("users", search=part)) == {str(user_id)}

    @pytest.mark.parametrize("wild", ["%", "_", "\\", "a%c", "a_c", "\\%", "'", '"', "||", ".*", "%25"])
    def test_nothing_in_it_is_a_wildcard(self, ask: Callable[..., Any], wild: str) -> None:
        exact, alike = add_user(), add_user()
        change_user(exact, full_name=f"xx{wild}xx")
        change_user(alike, full_name="xxabcxx")
        page = ask("users", search=wild)
        assert (found(page), page["total"]) == ({str(exact)}, 1)

    def test_two_fields_are_not_read_as_one(self, ask: Callable[..., Any]) -> None:
        change_user(add_user(), username="left-part", full_name="right")
        for across in ("partright", "part right"):
            assert ask("users", search=across)["total"] == 0

    @pytest.mark.parametrize("blank", ["", "  ", "null", "undefined"])
    def test_a_blank_one_asks_for_nothing(self, ask: Callable[..., Any], renter: Person, blank: str) -> None:
        assert ask("users", search=blank, role=blank)["total"] == ask("users")["total"] > 1

    @pytest.mark.parametrize("part", ["CORDLESS", "less dr", "@OWNERS.", "100%_off\\"])
    def test_of_listings_it_looks_in_the_title_and_the_owner_s_email(
        self, ask: Callable[..., Any], owner: Person, part: str
    ) -> None:
        change_user(owner.id, email="sam@owners.example")
        wanted = add_equipment(owner.id, title="Cordless drill, 100%_off\\")
        add_equipment(add_user(), title="Something else at 100, off")
        assert found(ask("equipment", search=part), "equipment") == {str(wanted)}


class TestEquipment:
    def test_it_is_shown_with_its_owner_and_its_category(self, ask: Callable[..., Any], owner: Person) -> None:
        equipment_id = add_equipment(owner.id, title="A tent", daily_rate="7.5", category_id=category_id("Tents"))
        (shown,) = ask("equipment", owner_id=owner.id)["equipment"]
        assert shown.pop("created_at").endswith("+00:00")
        assert shown == {
            "id": str(equipment_id),
            "title": "A tent",
            "owner_id": str(owner.id),
            "owner_email": owner.email,
            "category_id": str(category_id("Tents")),
            "category_name": "Tents",
            "daily_rate": "7.50",
            "is_available": True,
        }

    def test_an_owner_without_an_email_has_none(self, ask: Callable[..., Any]) -> None:
        add_equipment(owner_id := add_user())
        assert ask("equipment", owner_id=owner_id)["equipment"][0]["owner_email"] is None

    def test_the_filters_combine(self, ask: Callable[..., Any], owner: Person, admin: Person) -> None:
        tents, camping = category_id("Tents"), category_id("Camping & Hiking")
        wanted = add_equipment(owner.id, title="A tent", category_id=tents, is_available=False)
        add_equipment(owner.id, title="A tent", category_id=tents)
        add_equipment(owner.id, title="A tent", is_available=False)
        add_equipment(admin.id, title="A tent", category_id=tents, is_available=False)
        add_equipment(owner.id, title="Another", category_id=tents, is_available=False)
        for category in (tents, camping):
            filters = {"owner_id": owner.id, "category_id": category, "is_available": "false", "search": "a tent"}
            page = ask("equipment", **filters)
            assert (found(page, "equipment"), page["total"]) == ({str(wanted)}, 1)
        assert ask("equipment", category_id=uuid4())["total"] == 0


@pytest.mark.parametrize("kind", ["users", "equipment"])
class TestPages:
    @pytest.fixture(autouse=True)
    def many(self, owner: Person, tenant: TenantProcess) -> None:
        """Seven of each of one instant, and some others."""
        for number in range(7):
            add_equipment(owner.id, created_at=EPOCH, title=f"Paged {number}")
            change_user(add_person(tenant).id, created_at=EPOCH, full_name=f"Paged {number}")

    def test_they_hold_each_once_newest_first(self, ask: Callable[..., Any], kind: str) -> None:
        pages = [ask(kind, per_page=3, page=number) for number in (1, 2, 3, 4)]
        totals = [(page["page"], page["per_page"], page["total"]) for page in pages]
        everything = ask(kind, per_page=100)
        assert totals == [(number, 3, everything["total"]) for number in (1, 2, 3, 4)]
        rows = [row for page in pages for row in page[kind]]
        assert rows == everything[kind][:12]
        assert [row["created_at"] for row in rows] == sorted((row["created_at"] for row in rows), reverse=True)
        assert set(everything) == {kind, "total", "page", "per_page"}

    def test_twenty_are_on_one_unless_more_are_asked_for(self, ask: Callable[..., Any], kind: str) -> None:
        assert (ask(kind)["page"], ask(kind)["per_page"]) == (1, 20)

    def test_one_beyond_the_end_is_empty_and_tells_the_total(self, ask: Callable[..., Any], kind: str) -> None:
        beyond = ask(kind, search="paged", page=1_000_000, per_page=100)
        assert (beyond[kind], beyond["total"]) == ([], 7)

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            *(("page", value) for value in ("0", "-1", "1000001", "1.5", "x", "9" * 30)),
            *(("per_page", value) for value in ("0", "-1", "101", "1e2", "x")),
        ],
    )
    def test_what_is_out_of_bounds_is_refused_by_name(
        self, client: FlaskClient, admin: Person, kind: str, field: str, value: str
    ) -> None:
        answer = client.get(f"{ADMIN}/{kind}", query_string={field: value}, headers=admin.headers)
        assert problems(answer) == [(field, "invalid")]

    @pytest.mark.parametrize("per_page", [1, 100])
    def test_one_costs_the_same_statements_whatever_its_size(
        self, client: FlaskClient, admin: Person, counting_statements: Callable[[], Any], kind: str, per_page: int
    ) -> None:
        for query in ({"search": "paged"}, {}, {"category_id": str(category_id())}):
            if kind == "equipment" or "category_id" not in query:
                with counting_statements() as counted:
                    page = {"per_page": per_page, **query}
                    answer = client.get(f"{ADMIN}/{kind}", query_string=page, headers=admin.headers)
                assert len((answer.json or {})[kind]) >= min(per_page, 7)
                assert len(counted) == 2  # the caller, and the page with its total

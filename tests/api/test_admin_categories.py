"""Changes of the category tree: no circles, unique names among siblings, and no deletion of a category in use."""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, insert, select
from werkzeug.test import TestResponse

from app.db.session import transaction
from app.equipment.categories import MAX_DEPTH
from app.equipment.repository import MAX_CATEGORIES
from app.models import Category
from tests.support.admin_api import ADMIN, audit_log
from tests.support.assertions import assert_error, assert_invalid, problems
from tests.support.rows import Person, add_category, add_equipment, category_id

CATEGORIES = f"{ADMIN}/categories"


class CategoryAdmin:
    def __init__(self, client: FlaskClient, admin: Person) -> None:
        self.client, self.headers = client, admin.headers

    def add(self, name: Any, **more: Any) -> TestResponse:
        return self.client.post(CATEGORIES, json={"name": name, **more}, headers=self.headers)

    def change(self, category: UUID, **body: Any) -> TestResponse:
        return self.client.put(f"{CATEGORIES}/{category}", json=body, headers=self.headers)

    def move(self, category: UUID, below: UUID | None) -> TestResponse:
        name = (self.client.get(f"/api/v1/categories/{category}").json or {})["name"]
        return self.change(category, name=name, parent_id=below and str(below))

    def delete(self, category: UUID) -> TestResponse:
        return self.client.delete(f"{CATEGORIES}/{category}", headers=self.headers)

    def list(self) -> Any:
        return self.client.get(CATEGORIES, headers=self.headers).json


@pytest.fixture
def categories(client: FlaskClient, admin: Person) -> CategoryAdmin:
    return CategoryAdmin(client, admin)


def chain(length: int) -> list[UUID]:
    """So many categories, each below the one before."""
    ids = [add_category()]
    while len(ids) < length:
        ids.append(add_category(parent_id=ids[-1]))
    return ids


def conflict(answer: TestResponse) -> list[tuple[str, str]]:
    """Which field a 409 is about, and the word for what is wrong with it."""
    details = assert_error(answer, 409, "CONFLICT").get("details", [])
    return [(problem["field"], problem["code"]) for problem in details]


def assert_logged(admin: Person, action: str, category: UUID, *, before: Any, after: Any) -> None:
    """Check that the audit log holds this entry and no other."""
    (entry,) = audit_log()
    assert entry.pop("request_id")
    expected = {"actor_id": admin.id, "action": f"category.{action}", "subject_id": category}
    assert entry == expected | {"before": before, "after": after}


def parent_of(category: UUID) -> UUID | None:
    with transaction() as session:
        return session.get_one(Category, category).parent_id


class TestAdding:
    def test_it_is_there_for_everybody_at_once(self, client: FlaskClient, categories: CategoryAdmin) -> None:
        answer = categories.add("  Boats ")
        assert answer.status_code == 201, answer.text
        made = answer.json or {}
        assert (made["name"], made["parent_id"], made["children"]) == ("Boats", None, [])
        assert client.get(answer.headers["Location"]).json == made
        child = categories.add("Sail", parent_id=made["id"]).json or {}
        assert child["parent_id"] == made["id"]
        assert client.get(answer.headers["Location"]).json == made | {"children": [child]}
        assert categories.list() == client.get("/api/v1/categories").json

    def test_it_is_written_down(self, admin: Person, categories: CategoryAdmin) -> None:
        parent = category_id("Water Sports")
        made = categories.add("Sail", parent_id=str(parent)).json or {}
        after = {"name": "Sail", "parent_id": str(parent)}
        assert_logged(admin, "created", UUID(made["id"]), before=None, after=after)

    @pytest.mark.parametrize(
        "name", ["x", "x" * 101, "", " x ", None, 1, ["Boats"], "Bo\0ats", "Bo\u202eats"], ids=repr
    )
    def test_a_name_is_of_two_to_a_hundred_letters(self, categories: CategoryAdmin, name: Any) -> None:
        assert_invalid(categories.add(name), "name")

    def test_a_parent_that_is_not_there_is_refused_by_name(self, categories: CategoryAdmin) -> None:
        assert problems(categories.add("Boats", parent_id=str(uuid4()))) == [("parent_id", "unknown_reference")]
        assert audit_log() == []

    @pytest.mark.parametrize("same", ["Tents", "tENTS"])
    def test_siblings_have_different_names(self, categories: CategoryAdmin, same: str) -> None:
        camping = str(category_id("Camping & Hiking"))
        assert conflict(categories.add(same, parent_id=camping)) == [("name", "taken")]
        assert categories.add(same).status_code == 201  # elsewhere it is free
        assert conflict(categories.add(same)) == [("name", "taken")]
        assert len(audit_log()) == 1

    def test_there_are_no_more_than_are_ever_listed(self, categories: CategoryAdmin) -> None:
        with transaction() as session:
            there = session.scalars(select(func.count()).select_from(Category)).one()
            names = [{"name": f"Number {number}"} for number in range(MAX_CATEGORIES - there - 1)]
            session.execute(insert(Category), names)
        assert categories.add("The last").status_code == 201
        assert conflict(categories.add("One too many")) == []
        assert len(categories.list()) == MAX_CATEGORIES


class TestChanging:
    def test_a_name_changes_and_the_place_stays(
        self, client: FlaskClient, admin: Person, categories: CategoryAdmin
    ) -> None:
        tents, camping = category_id("Tents"), category_id("Camping & Hiking")
        answer = categories.change(tents, name="tents")
        assert (answer.status_code, (answer.json or {})["name"]) == (200, "tents")
        assert answer.json == client.get(f"/api/v1/categories/{tents}").json
        assert categories.change(tents, name="tents", parent_id=str(camping)).status_code == 200  # changes nothing
        before, after = ({"name": name, "parent_id": str(camping)} for name in ("Tents", "tents"))
        assert_logged(admin, "changed", tents, before=before, after=after)

    def test_it_moves_with_all_below_it(self, client: FlaskClient, categories: CategoryAdmin, owner: Person) -> None:
        one, two, three = chain(3)
        equipment_id = add_equipment(owner.id, category_id=three)
        assert categories.move(two, None).status_code == 200
        assert (parent_of(two), parent_of(three)) == (None, two)
        for category, total in ((one, 0), (two, 1)):
            page = client.get(f"/api/v1/equipment?category_id={category}").json or {}
            assert page["total"] == total
        assert categories.move(two, one).status_code == 200
        assert [each["id"] for each in (client.get(f"/api/v1/equipment?category_id={one}").json or {})["items"]] == [
            str(equipment_id)
        ]
        assert [entry["after"]["parent_id"] for entry in audit_log()] == [None, str(one)]

    @pytest.mark.parametrize("target", [0, 1, 2, 3], ids=["itself", "its child", "a grandchild", "the lowest"])
    def test_it_cannot_be_below_itself(self, categories: CategoryAdmin, target: int) -> None:
        ids = chain(4)
        assert conflict(categories.move(ids[0], ids[target])) == [("parent_id", "circle")]
        assert [parent_of(each) for each in ids] == [None, *ids[:-1]]
        assert audit_log() == []

    def test_a_parent_that_is_not_there_and_a_missing_name_are_refused(self, categories: CategoryAdmin) -> None:
        assert problems(categories.move(add_category(), uuid4())) == [("parent_id", "unknown_reference")]
        assert problems(categories.change(add_category(), parent_id=None)) == [("name", "required")]

    def test_neither_a_name_nor_a_move_makes_twins(self, categories: CategoryAdmin) -> None:
        twin = add_category("Tents", category_id("Cleaning"))
        assert conflict(categories.move(twin, category_id("Camping & Hiking"))) == [("name", "taken")]
        assert conflict(categories.change(twin, name="floor MACHINES")) == [("name", "taken")]
        assert audit_log() == []


class TestDepth:
    """Each category is shown inside each above it, so the depth is what bounds the public list."""

    def test_no_category_is_added_too_deep(self, categories: CategoryAdmin) -> None:
        ids = chain(MAX_DEPTH - 1)
        last = categories.add("The last", parent_id=str(ids[-1]))
        assert last.status_code == 201
        deeper = categories.add("Deeper", parent_id=(last.json or {})["id"])
        assert conflict(deeper) == [("parent_id", "too_deep")]

    def test_none_is_moved_there_with_what_is_below_it(self, categories: CategoryAdmin) -> None:
        deep, branch = chain(MAX_DEPTH - 1), chain(2)
        assert conflict(categories.move(branch[0], deep[-1])) == [("parent_id", "too_deep")]
        assert categories.move(branch[0], deep[-2]).status_code == 200


class TestDeleting:
    def test_one_in_no_use_is_gone_and_written_down(
        self, client: FlaskClient, admin: Person, categories: CategoryAdmin
    ) -> None:
        category = add_category("Boats")
        answer = categories.delete(category)
        assert (answer.status_code, answer.data) == (204, b"")
        assert client.get(f"/api/v1/categories/{category}").status_code == 404
        assert_logged(admin, "deleted", category, before={"name": "Boats", "parent_id": None}, after=None)

    def test_one_with_listings_stays(self, categories: CategoryAdmin, owner: Person) -> None:
        category = add_category()
        add_equipment(owner.id, category_id=category)
        assert "listings" in assert_error(categories.delete(category), 409, "CONFLICT")["message"]
        assert parent_of(category) is None
        assert audit_log() == []

    def test_one_with_others_below_it_stays(self, categories: CategoryAdmin) -> None:
        above, below = chain(2)
        assert "below" in assert_error(categories.delete(above), 409, "CONFLICT")["message"]
        assert [categories.delete(each).status_code for each in (below, above)] == [204, 204]


def test_a_change_costs_the_same_statements_however_many_there_are(
    categories: CategoryAdmin, counting_statements: Callable[[], Any]
) -> None:
    costs = []
    for number in range(2):
        with counting_statements() as adding:
            made = categories.add(f"Boats {number}").json or {}
        with counting_statements() as changing:
            categories.change(made["id"], name=f"Ships {number}")
        with counting_statements() as deleting:
            categories.delete(made["id"])
        costs.append([len(adding), len(changing), len(deleting)])
        chain(4)
    # The caller, the lock, the tree, the change, the tree again, the entry.
    assert costs == [[6, 6, 5]] * 2

"""The tally of listings: exact at every moment, and no writer waits for another because of it."""

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from io import StringIO
from threading import Event
from typing import Any
from uuid import UUID

import pytest
from psycopg2.errors import DeadlockDetected, ForeignKeyViolation, LockNotAvailable

from app.db.engine import blocking_waits
from tests.support.tally import ADD, DIFFERENCE, Shop

SKIPPED = ["--exclude-table=spatial_ref_sys"]  # PostGIS's own
WRITERS = 6
ROUNDS = 60
MOST_CHANGES = 4
SOME = "(SELECT id FROM equipment WHERE id > %(from)s ORDER BY id LIMIT %(number)s FOR UPDATE SKIP LOCKED)"
MOVE = f"UPDATE equipment SET category_id = %(category)s WHERE id IN {SOME}"  # noqa: S608 - of this module's own
TURN = f"UPDATE equipment SET is_available = NOT is_available WHERE id IN {SOME}"  # noqa: S608 - as above
REMOVE = f"DELETE FROM equipment WHERE id IN {SOME}"  # noqa: S608 - as above


@pytest.fixture
def shop(database_url_factory: Callable[[], str]) -> Shop:
    return Shop(database_url_factory())


def test_each_change_is_counted(shop: Shop) -> None:
    shop.add(5)
    shop.add(3, category=1, available=False)
    shop.assert_exact(8)
    shop.query("UPDATE equipment SET is_available = NOT is_available, category_id = %(to)s", to=shop.categories[2])
    shop.assert_exact(8)
    shop.query("UPDATE equipment SET title = 'Something else'")
    shop.assert_exact(8)
    shop.query("DELETE FROM equipment WHERE is_available")
    shop.assert_exact(5)
    shop.query("TRUNCATE equipment CASCADE")
    shop.assert_exact(0)
    shop.add(2)
    shop.assert_exact(2)


def test_what_one_statement_both_adds_and_changes_is_counted_once(shop: Shop) -> None:
    shop.add(2)
    shop.query("""
        INSERT INTO equipment (id, owner_id, category_id, title, description, daily_rate, condition, location)
        SELECT CASE copy WHEN 1 THEN id ELSE gen_random_uuid() END,
            owner_id, category_id, title, description, daily_rate, condition, location
        FROM equipment, generate_series(1, 2) AS copy
        ON CONFLICT (id) DO UPDATE SET is_available = false
    """)
    shop.assert_exact(4)


def test_a_copy_of_many_is_counted(shop: Shop) -> None:
    lines = "".join(
        f"{shop.owners[n % 3]}\t{shop.categories[n % 4]}\tDrill\tA drill among many.\t5\tgood\tBern\t{n % 5 > 0}\n"
        for n in range(5_000)
    )
    columns = ("owner_id", "category_id", "title", "description", "daily_rate", "condition", "location", "is_available")
    with blocking_waits(), closing(shop.connect()) as connection, connection, connection.cursor() as cursor:
        cursor.copy_from(StringIO(lines), "equipment", columns=columns)
    shop.assert_exact(5_000)
    assert len(shop.query("SELECT id FROM equipment_tally")) == 8


def test_listings_that_go_with_their_owner_are_counted(shop: Shop) -> None:
    for owner in range(3):
        shop.add(4, owner=owner, category=owner)
    shop.query("DELETE FROM users WHERE id = %(owner)s", owner=shop.owners[1])
    shop.assert_exact(8)


def test_what_is_rolled_back_was_never_counted_in_part_or_whole(shop: Shop) -> None:
    shop.add(3)
    with closing(shop.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(ADD, shop.listing(7))
        cursor.execute("SAVEPOINT part")
        cursor.execute("DELETE FROM equipment")
        cursor.execute("SELECT sum(listings) FROM equipment_tally")
        assert cursor.fetchone() == (0,)  # its own changes, at once
        cursor.execute("ROLLBACK TO part")
        cursor.execute("SELECT sum(listings) FROM equipment_tally")
        assert cursor.fetchone() == (10,)
        shop.assert_exact(3)  # to others
        connection.rollback()
    shop.assert_exact(3)


def test_a_category_takes_its_tally_with_it(shop: Shop) -> None:
    shop.add(2)
    with pytest.raises(ForeignKeyViolation):
        shop.query("DELETE FROM categories WHERE id = %(id)s", id=shop.categories[0])
    shop.assert_exact(2)
    shop.query("DELETE FROM equipment")
    shop.query("DELETE FROM categories WHERE id = %(id)s", id=shop.categories[0])
    assert shop.query("SELECT id FROM equipment_tally WHERE category_id = %(id)s", id=shop.categories[0]) == []


def test_no_writer_waits_for_another_that_counts_the_same(shop: Shop) -> None:
    shop.add(9)
    connections = [shop.connect() for _ in range(WRITERS)]
    for connection in connections:
        connection.cursor().execute(ADD, shop.listing())
    for connection in connections:
        # Each is at a row of its own by now, and stays at it.
        connection.cursor().execute(ADD, shop.listing(category=1))
        connection.cursor().execute(ADD, shop.listing())
    rows = shop.query("SELECT id FROM equipment_tally")
    for connection in connections:
        connection.commit()
        connection.close()
    assert len(rows) == 1  # the others are not to be seen yet
    shop.assert_exact(9 + 3 * WRITERS)
    assert len(shop.query("SELECT id FROM equipment_tally")) <= 2 * WRITERS


def test_rows_are_used_again(shop: Shop) -> None:
    for _ in range(50):
        shop.add()
    shop.assert_exact(50)
    assert len(shop.query("SELECT id FROM equipment_tally")) == 1


def test_it_is_exact_at_every_moment_while_many_write_anything(shop: Shop) -> None:
    shop.add(20)
    is_over = Event()
    with ThreadPoolExecutor(WRITERS + 1) as threads:
        watching = threads.submit(lambda: list(differences(shop, is_over)))
        writing = [threads.submit(write, shop, random.Random(seed)) for seed in range(WRITERS)]
        try:
            waited = [writer.result() for writer in writing]
        finally:
            is_over.set()
        looks = watching.result()
    assert len(looks) > 10
    assert not any(looks)
    assert waited == [0] * WRITERS
    shop.assert_exact(shop.column("SELECT count(*) FROM equipment")[0])
    # No more than were ever held at once: a transaction may hold one for each of its changes.
    assert len(shop.query("SELECT id FROM equipment_tally")) <= 2 * len(shop.categories) * WRITERS * MOST_CHANGES


def differences(shop: Shop, is_over: Event) -> Iterator[list[tuple[Any, ...]]]:
    while not is_over.is_set():
        yield shop.query(DIFFERENCE)


def write(shop: Shop, pick: random.Random) -> int:
    """Transactions of random changes, some of them rolled back; how often one waited for another's tally."""
    waited = 0
    with closing(shop.connect()) as connection, connection.cursor() as cursor:
        for _ in range(ROUNDS):
            try:
                for _ in range(pick.randint(1, MOST_CHANGES)):
                    change(cursor, shop, pick)
                (connection.rollback if pick.random() < 0.3 else connection.commit)()
            except (LockNotAvailable, DeadlockDetected) as error:
                connection.rollback()
                waited += "equipment_tally" in str(error)
    return waited


def change(cursor: Any, shop: Shop, pick: random.Random) -> None:
    """Add, move, offer or withdraw, or remove a few, which nobody else is at."""
    cursor.execute(
        pick.choice([ADD, MOVE, TURN, REMOVE]),
        {
            "owner": pick.choice(shop.owners),
            "category": pick.choice(shop.categories),
            "available": pick.random() < 0.5,
            "from": str(UUID(int=pick.getrandbits(128))),
            "number": pick.randint(1, 9),
        },
    )

"""The tally of listings: exact whatever happens to them, at every moment, and nobody waits because of it."""

import random
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from io import StringIO
from threading import Event
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import psycopg2
import pytest
from psycopg2.errors import DeadlockDetected, ForeignKeyViolation, LockNotAvailable

from app.database import blocking_waits
from deploy.local.cluster import PostgresCluster
from deploy.local.installation import installation_for
from tests.support.databases import alembic

SKIPPED = ["--exclude-table=spatial_ref_sys"]  # PostGIS's own
WRITERS = 6
ROUNDS = 60
MOST_CHANGES = 4
# What a writer of the tally would need if one waited for another.
SHORT_WAIT = "-c lock_timeout=200ms -c deadlock_timeout=100ms"
DIFFERENCE = """
    SELECT coalesce(counted.category_id, tallied.category_id), is_available, counted.listings, tallied.listings
    FROM (SELECT category_id, is_available, count(*) AS listings FROM equipment GROUP BY 1, 2) AS counted
    FULL JOIN (
        SELECT category_id, is_available, sum(listings) AS listings FROM equipment_tally GROUP BY 1, 2
    ) AS tallied USING (category_id, is_available)
    WHERE coalesce(counted.listings, 0) <> coalesce(tallied.listings, 0)
"""
ADD = """
    INSERT INTO equipment (owner_id, category_id, title, description, daily_rate, condition, location, is_available)
    SELECT %(owner)s, %(category)s, 'Drill', 'A drill among many.', 5, 'good', 'Bern', %(available)s
    FROM generate_series(1, %(number)s)
"""

SOME = "(SELECT id FROM equipment WHERE id > %(from)s ORDER BY id LIMIT %(number)s FOR UPDATE SKIP LOCKED)"
MOVE = f"UPDATE equipment SET category_id = %(category)s WHERE id IN {SOME}"  # noqa: S608 - of this module's own
TURN = f"UPDATE equipment SET is_available = NOT is_available WHERE id IN {SOME}"  # noqa: S608 - as above
REMOVE = f"DELETE FROM equipment WHERE id IN {SOME}"  # noqa: S608 - as above


class Shop:
    """A database with categories and owners, and connections to it that wait for nobody."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.query("INSERT INTO categories (name) SELECT 'Kind ' || n FROM generate_series(1, 4) AS n")
        self.query("INSERT INTO users (username) SELECT 'owner-' || n FROM generate_series(1, 3) AS n")
        self.categories: list[str] = self.column("SELECT id::text FROM categories WHERE name LIKE 'Kind %%' ORDER BY 1")
        self.owners: list[str] = self.column("SELECT id::text FROM users ORDER BY 1")

    def connect(self) -> Any:
        return psycopg2.connect(self.url, options=SHORT_WAIT)

    def query(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        with closing(self.connect()) as connection, connection, connection.cursor() as cursor:
            cursor.execute(statement, values)
            return list(cursor.fetchall()) if cursor.description else []

    def column(self, statement: str) -> list[Any]:
        return [row[0] for row in self.query(statement)]

    def add(self, number: int = 1, *, category: int = 0, owner: int = 0, available: bool = True) -> None:
        self.query(ADD, **self.listing(number, category=category, owner=owner, available=available))

    def listing(self, number: int = 1, *, category: int = 0, owner: int = 0, available: bool = True) -> dict[str, Any]:
        return {
            "owner": self.owners[owner], "category": self.categories[category], "available": available, "number": number
        }  # fmt: skip

    def total(self) -> int:
        return int(self.column("SELECT coalesce(sum(listings), 0) FROM equipment_tally")[0])

    def assert_exact(self, total: int) -> None:
        assert self.query(DIFFERENCE) == []
        assert self.total() == total


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


def test_nobody_waits_for_another_who_counts_the_same(shop: Shop) -> None:
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


def test_listings_of_before_are_counted_while_others_write(shop: Shop) -> None:
    shop.add(500)
    alembic(shop.url, "downgrade", "0007")
    is_over = Event()

    def sell() -> int:
        done = 0
        while not is_over.is_set():
            shop.add(2, category=done % 4)
            shop.query("DELETE FROM equipment WHERE id = (SELECT id FROM equipment LIMIT 1)")
            done += 1
        return done

    with ThreadPoolExecutor(1) as threads:
        selling = threads.submit(sell)
        try:
            alembic(shop.url, "upgrade", "head")
        finally:
            is_over.set()
        sold = selling.result()
    assert sold > 10
    shop.assert_exact(500 + sold)


def test_going_down_and_up_again_counts_nothing_twice(shop: Shop) -> None:
    shop.add(5)
    alembic(shop.url, "downgrade", "0008")
    shop.add(2)
    alembic(shop.url, "upgrade", "head")
    shop.assert_exact(7)


@pytest.mark.parametrize(
    "how",
    [[], ["--data-only"], ["--data-only", "--disable-triggers"]],
    ids=["everything", "the data alone", "the data alone, without triggers"],
)
def test_a_restore_counts_nothing_twice(shop: Shop, cluster: PostgresCluster, how: list[str], tmp_path: Any) -> None:
    shop.add(5)
    shop.add(2, category=1, available=False)
    dump, name = str(tmp_path / "dump"), f"restored_{uuid4().hex}"
    bindir = installation_for(cluster.data).bindir
    if how:
        cluster.create_database(name, template=urlsplit(shop.url).path[1:])
        url = cluster.url(name)
        tables = "users, identities, categories, equipment, equipment_tally, alembic_version"
        run(bindir / "psql", "--dbname", url, "--command", f"TRUNCATE {tables} CASCADE")
    else:
        cluster.create_database(name)
        url = cluster.url(name)
    run(bindir / "pg_dump", "--dbname", shop.url, "--format=custom", *how[:1], *SKIPPED, "--file", dump)
    run(bindir / "pg_restore", "--dbname", url, "--exit-on-error", "--no-comments", *how, dump)
    with closing(psycopg2.connect(url)) as restored, restored.cursor() as cursor:
        cursor.execute(DIFFERENCE)
        assert cursor.fetchall() == []
        cursor.execute("SELECT sum(listings) FROM equipment_tally")
        assert cursor.fetchone() == (7,)
    cluster.drop_database(name)


def run(*command: Any) -> None:
    done = subprocess.run(list(map(str, command)), check=False, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr

"""A shop whose listings the tally counts, for tests of the triggers, of migrations and of restores."""

from contextlib import closing
from typing import Any

import psycopg2

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


class Shop:
    """A database with categories and owners, and connections to it that wait for nobody."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.query("INSERT INTO categories (name) SELECT 'Kind ' || n FROM generate_series(1, 4) AS n")
        self.query("INSERT INTO users (username) SELECT 'owner-' || n FROM generate_series(1, 3) AS n")
        self.categories: list[str] = self.column("SELECT id::text FROM categories WHERE name LIKE 'Kind %' ORDER BY 1")
        self.owners: list[str] = self.column("SELECT id::text FROM users ORDER BY 1")

    def connect(self) -> Any:
        return psycopg2.connect(self.url, options=SHORT_WAIT)

    def query(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        with closing(self.connect()) as connection, connection, connection.cursor() as cursor:
            cursor.execute(statement, values or None)
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

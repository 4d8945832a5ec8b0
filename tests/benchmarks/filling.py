"""Filling a migrated database with a data set: a million listings in a minute or two.

The server makes the rows itself, of a pool of texts and of digests of their numbers, on two connections at once. What
would be looked after row by row, indexes and foreign keys, is dropped before and made anew in bulk afterwards, from the
definitions that the database itself gives, so that it ends as the migrations made it.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import psycopg2

from app.db.engine import blocking_waits
from app.demo.copying import copy_rows
from tests.benchmarks.dataset import MOST_TEXTS, SHARE_WITH_COORDINATES, Dataset, texts

WORKERS = 2
FILLED = ("equipment", "equipment_photos")
SESSION = "-c synchronous_commit=off -c maintenance_work_mem=512MB -c work_mem=256MB -c jit=off -c timezone=UTC"

_MAKE_TEXTS = """
CREATE UNLOGGED TABLE texts (
    number int PRIMARY KEY, category_id uuid, title text, description text, daily_rate numeric(10, 2),
    condition equipment_condition, location text, is_available boolean
)"""

_ADD_OWNERS = """
INSERT INTO users (id, email, email_verified, role, username, full_name, created_at, updated_at)
SELECT md5('owner/' || n)::uuid, 'owner-' || n || '@gearyard.example', true, 'owner', 'owner-' || n, 'Owner ' || n,
    '2025-01-01', '2025-01-01'
FROM generate_series(0, %(owners)s - 1) n"""

# A digest's digits are as good as dice, and the same with every version of PostgreSQL, which random() is not.
_ADD_LISTINGS = """
INSERT INTO equipment (
    id, owner_id, category_id, title, description, daily_rate, condition, location, coordinates, is_available,
    created_at, updated_at
)
SELECT digest::uuid, md5('owner/' || n %% %(owners)s)::uuid, category_id, title, description, daily_rate, condition,
    location,
    CASE WHEN dice[3] < %(with_coordinates)s THEN ST_SetSRID(ST_MakePoint(
        %(west)s + dice[1] * (%(east)s - %(west)s),
        degrees(asin(sin(radians(%(south)s)) + dice[2] * (sin(radians(%(north)s)) - sin(radians(%(south)s)))))
    ), 4326)::geography END,
    is_available, listed_at, listed_at
FROM generate_series(%(first)s, %(last)s) n
CROSS JOIN LATERAL (SELECT md5('listing/' || n) AS digest) drawn
CROSS JOIN LATERAL (
    SELECT ARRAY(
        SELECT ('x' || substr(digest, place, 8))::bit(32)::bigint::float8 / 4294967296
        FROM unnest('{1,9,17,25}'::int[]) place
    ) AS dice
) thrown
CROSS JOIN LATERAL (SELECT timestamptz '2026-06-01 00:00Z' - dice[4] * interval '730 days' AS listed_at) dated
JOIN texts ON texts.number = n %% %(texts)s"""

# For a listing of either connection, in the order in which they were added.
_ADD_PHOTOS = """
INSERT INTO equipment_photos (id, equipment_id, photo_url, is_primary, order_index, created_at)
SELECT md5('photo/' || n || '/' || i)::uuid, digest::uuid,
    'https://picsum.photos/seed/gearyard-' || n || '-' || i || '/1200/800', i = 0, i, '2026-06-01 00:00Z'
FROM generate_series(%(first)s, %(last)s) n
CROSS JOIN LATERAL (SELECT md5('listing/' || n) AS digest) drawn
CROSS JOIN generate_series(0, ('x' || substr(digest, 32, 1))::bit(4)::int %% 4) i"""

_INDEXES = """
SELECT pg_get_indexdef(indexrelid), relname FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
WHERE indrelid = %(table)s::regclass
ORDER BY pg_relation_size(indexrelid) DESC, relname"""
_CONSTRAINTS = """
SELECT conrelid::regclass::text, conname, contype::text, pg_get_constraintdef(oid) FROM pg_constraint
WHERE contype IN ('p', 'u', 'f') AND (conrelid = %(table)s::regclass OR confrelid = %(table)s::regclass)
ORDER BY contype, conname"""


def fill(url: str, dataset: Dataset) -> None:
    """Put the data set into the migrated and otherwise empty database at `url`, and leave it vacuumed and analysed."""
    with blocking_waits():
        _run(url, [_MAKE_TEXTS])
        with _connected(url) as connection:
            copy_rows(connection, "texts", _columns("texts", connection), texts(dataset.listings))
        _run(url, ["ANALYZE texts", _ADD_OWNERS], owners=dataset.owners)
        with _bare(url):
            parts = [_part(dataset, worker) for worker in range(WORKERS)]
            _at_once(lambda part: _run(url, [_ADD_LISTINGS, _ADD_PHOTOS], **part), parts)
        _run(url, ["DROP TABLE texts"])
        _at_once(lambda table: _run(url, [f"VACUUM (ANALYZE) {table}"]), ("equipment", "equipment_photos, users"))
        _run(url, ["CHECKPOINT"])


def _part(dataset: Dataset, worker: int) -> dict[str, Any]:
    """What one connection of several adds: a run of numbers as long as any other's."""
    edges = [dataset.listings * part // WORKERS for part in (worker, worker + 1)]
    return {
        "first": edges[0],
        "last": edges[1] - 1,
        "owners": dataset.owners,
        "texts": min(MOST_TEXTS, dataset.listings),
        "with_coordinates": SHARE_WITH_COORDINATES,
        **dataset.box._asdict(),
    }


@contextmanager
def _bare(url: str) -> Iterator[None]:
    """The tables without indexes, foreign keys, and the trigger that tells a listing of its photos; then with them."""
    with _connected(url) as connection:
        constraints = [row for table in FILLED for row in _rows(connection, _CONSTRAINTS, table)]
        indexes = [row for table in FILLED for row in _rows(connection, _INDEXES, table)]
    unique = dict.fromkeys(constraints)  # a foreign key between the two is of both
    foreign = [one for one in unique if one[2] == "f"]
    keys = [one for one in unique if one[2] != "f"]
    _run(url, [f"ALTER TABLE {table} DROP CONSTRAINT {name}" for table, name, _, _ in (*foreign, *keys)])
    names_of_keys = {name for _, name, _, _ in keys}
    _run(url, [f"DROP INDEX {name}" for _, name in indexes if name not in names_of_keys])
    _run(url, ["ALTER TABLE equipment_photos DISABLE TRIGGER USER"])
    yield
    _run(url, ["ALTER TABLE equipment_photos ENABLE TRIGGER USER"])
    _at_once(lambda definition: _run(url, [definition]), [definition for definition, _ in _slowest_first(indexes)])
    kinds = {"p": "PRIMARY KEY", "u": "UNIQUE"}
    _run(url, [f"ALTER TABLE {t} ADD CONSTRAINT {name} {kinds[kind]} USING INDEX {name}" for t, name, kind, _ in keys])
    _run(url, [f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}" for table, name, _, definition in foreign])


def _slowest_first(indexes: list[Any]) -> list[Any]:
    """So that no connection is left with the longest while the other has nothing to do."""
    return sorted(indexes, key=lambda index: (" USING gin " not in index[0], " USING gist " not in index[0]))


def _at_once(act: Any, parts: Iterable[Any]) -> None:
    with ThreadPoolExecutor(WORKERS) as pool:
        for _ in pool.map(act, parts):
            pass


def _run(url: str, statements: Iterable[str], **values: Any) -> None:
    with _connected(url) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement, values or None)


def _rows(connection: Any, query: str, table: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(query, {"table": table})
        found: list[Any] = cursor.fetchall()
        return found


def _columns(table: str, connection: Any) -> tuple[str, ...]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {table} LIMIT 0")  # noqa: S608 - a name of this module's
        return tuple(column.name for column in cursor.description)


@contextmanager
def _connected(url: str) -> Iterator[Any]:
    with closing(psycopg2.connect(url, options=SESSION)) as connection:
        connection.autocommit = True  # VACUUM runs in no transaction; and what fails here is made anew from nothing
        yield connection

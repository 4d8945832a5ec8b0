"""Migrations of a database that is in use: nobody waits long for one, and one waits long for nobody."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from threading import Event

import psycopg2
import pytest
from alembic.script import ScriptDirectory
from psycopg2 import sql
from psycopg2.errors import LockNotAvailable, SerializationFailure

from app.database import LOCK_TIMEOUT_MS
from tests.support import ROOT
from tests.support.databases import alembic, run_alembic

USERS = 100_000
# What a service of the first revision reads and writes.
TABLES = ("users", "identities", "categories", "equipment")
FILL = """
    INSERT INTO users (username) SELECT 'migrated-' || n FROM generate_series(1, %(users)s) AS n;
    INSERT INTO identities (issuer, subject, user_id) SELECT 'https://a.example/', 'auth0|' || username, id FROM users;
    INSERT INTO categories (name) VALUES ('Migrated');
    INSERT INTO equipment (owner_id, category_id, title, description, daily_rate, condition, location)
    SELECT id, (SELECT min(id::text)::uuid FROM categories), username, 'As it was before.', 5, 'good', 'Bern'
    FROM users LIMIT %(users)s / 5;
    ANALYZE;
"""


def revisions_after(first: str) -> list[str]:
    """Every revision that follows, in their order."""
    script = ScriptDirectory(str(ROOT / "migrations"))
    return [revision.revision for revision in reversed(list(script.iterate_revisions("head", first)))]


@pytest.fixture
def url(database_url_factory: Callable[[], str]) -> str:
    """A database of its own, at the newest revision."""
    return database_url_factory()


def test_nobody_who_reads_or_writes_waits_long_for_a_migration(url: str) -> None:
    alembic(url, "downgrade", "0001")
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(FILL, {"users": USERS})
    for revision in revisions_after("0001"):
        with traffic(url) as refused:
            alembic(url, "upgrade", revision)
        assert refused() == [], f"revision {revision} keeps a lock for too long"


@contextmanager
def traffic(url: str) -> Iterator[Callable[[], list[str]]]:
    """Read and write every table over and over; afterwards, who waited longer than is fair, and for what."""
    is_over = Event()
    with ThreadPoolExecutor(len(TABLES) * 2) as threads:
        users = [threads.submit(use, url, is_over, table, change) for table in TABLES for change in (False, True)]
        try:
            yield lambda: [refusal for user in users for refusal in user.result()]
        finally:
            is_over.set()


def use(url: str, is_over: Event, table: str, change: bool) -> list[str]:
    read = sql.SQL("SELECT * FROM {} LIMIT 1 OFFSET 5").format(sql.Identifier(table))
    write = sql.SQL("UPDATE {0} SET created_at = now() WHERE ctid = (SELECT ctid FROM {0} LIMIT 1)").format(
        sql.Identifier(table)
    )
    refused = []
    with closing(psycopg2.connect(url, options=f"-c lock_timeout={LOCK_TIMEOUT_MS}")) as connection:
        connection.autocommit = True
        while not is_over.is_set():
            try:
                connection.cursor().execute(write if change else read)
            except LockNotAvailable as error:
                refused.append(f"{table}: {error}")
            except SerializationFailure:
                pass
    return refused


def current(url: str) -> str:
    return alembic(url, "current").split()[0]


def test_a_migration_that_finds_a_table_in_use_gives_up_and_leaves_nothing(url: str) -> None:
    alembic(url, "downgrade", "0001")
    with closing(psycopg2.connect(url)) as holder, holder.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM users")  # a transaction that goes on, as a forgotten one does
        cursor.execute("LOCK TABLE users IN ACCESS SHARE MODE")
        gave_up = run_alembic(url, "upgrade", "head")
        assert gave_up.returncode == 1
        assert gave_up.stderr.splitlines()[-1].startswith("Waited for a lock, and gave up")
        assert "Traceback" not in gave_up.stderr
        reached = current(url)
        assert reached < revisions_after("0001")[-1]
        # What each revision up to there has done stays, and whoever migrates again goes on from it.
        holder.rollback()
    assert run_alembic(url, "upgrade", "head").returncode == 0
    assert current(url) == revisions_after("0001")[-1]


def test_two_who_migrate_at_once_migrate_one_after_the_other(url: str) -> None:
    alembic(url, "downgrade", "base")
    with ThreadPoolExecutor() as threads:
        ended = [threads.submit(run_alembic, url, "upgrade", "head") for _ in range(3)]
        assert [each.result().returncode for each in ended] == [0, 0, 0], [each.result().stderr for each in ended]
    assert current(url) == revisions_after("0001")[-1]

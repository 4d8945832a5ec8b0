"""Migrations of a database that is in use: requests do not wait long for them, nor they for requests."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from threading import Event

import psycopg2
import pytest
from alembic.script import ScriptDirectory
from psycopg2 import sql
from psycopg2.errors import LockNotAvailable, SerializationFailure

from app.db.engine import LOCK_TIMEOUT_MS
from tests.support import ROOT
from tests.support.assertions import assert_error
from tests.support.databases import alembic, query, run_alembic, scalar
from tests.support.processes.service import ServiceProcess
from tests.support.processes.tenant import TenantProcess
from tests.support.tally import Shop

USERS = 20_000
PAUSE_SECONDS = 0.01  # between two statements: far less than the lock timeout
# What a service of the first revision reads and writes.
TABLES = ("users", "identities", "categories", "equipment")
FILL = f"""
    INSERT INTO users (username) SELECT 'migrated-' || n FROM generate_series(1, {USERS}) AS n;
    INSERT INTO identities (issuer, subject, user_id) SELECT 'https://a.example/', 'auth0|' || username, id FROM users;
    INSERT INTO categories (name) VALUES ('Migrated');
    INSERT INTO equipment (owner_id, category_id, title, description, daily_rate, condition, location)
    SELECT id, (SELECT min(id::text)::uuid FROM categories), username, 'As it was before.', 5, 'good', 'Bern'
    FROM users LIMIT {USERS} / 5;
    ANALYZE;
"""  # noqa: S608 - of this module's own


def revisions_after(first: str) -> list[str]:
    """Every revision that follows, in their order."""
    script = ScriptDirectory(str(ROOT / "migrations"))
    return [revision.revision for revision in reversed(list(script.iterate_revisions("head", first)))]


@pytest.fixture
def url(database_url_factory: Callable[[], str]) -> str:
    """A database of its own, at the newest revision."""
    return database_url_factory()


def test_no_read_or_write_waits_long_for_a_migration(url: str) -> None:
    alembic(url, "downgrade", "0001")
    query(url, FILL)
    for revision in revisions_after("0001"):
        with traffic(url) as refused:
            alembic(url, "upgrade", revision)
        assert refused() == [], f"revision {revision} keeps a lock for too long"


@contextmanager
def traffic(url: str) -> Iterator[Callable[[], list[str]]]:
    """Read and write every table over and over; afterwards, which statements waited longer than the lock timeout."""
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
        while not is_over.wait(PAUSE_SECONDS):
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
        # What each revision up to there has done stays, and the next migration goes on from it.
        holder.rollback()
    assert run_alembic(url, "upgrade", "head").returncode == 0
    assert current(url) == revisions_after("0001")[-1]


def test_migrations_started_at_once_run_one_after_the_other(url: str) -> None:
    alembic(url, "downgrade", "base")
    with ThreadPoolExecutor() as threads:
        ended = [threads.submit(run_alembic, url, "upgrade", "head") for _ in range(3)]
        assert [each.result().returncode for each in ended] == [0, 0, 0], [each.result().stderr for each in ended]
    assert current(url) == revisions_after("0001")[-1]


def test_migrations_go_up_down_and_up_again(url: str) -> None:
    alembic(url, "downgrade", "base")
    tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'spatial_ref_sys'"
    assert scalar(url, tables) == 1  # alembic's own
    alembic(url, "upgrade", "head")
    alembic(url, "check")


def test_a_schema_that_is_behind_is_not_ready_and_a_later_one_is(url: str, tenant: TenantProcess) -> None:
    with ServiceProcess({"DATABASE_URL": url, **tenant.env()}, workers=1) as service:
        alembic(url, "downgrade", "0001")
        error = assert_error(service.request("GET", "/ready"), 503, "SERVICE_UNAVAILABLE")
        assert error["message"] == "The database schema is behind this code."
        assert "schema 0001" in service.log()
        assert service.request("GET", "/health").text == "ok"
        alembic(url, "upgrade", "head")
        assert service.request("GET", "/ready").text == "ready"
        # The next release has migrated, and this one has not been replaced yet.
        query(url, "UPDATE alembic_version SET version_num = 'later'")
        service.stop()
        service.start()
        assert service.request("GET", "/ready").text == "ready"


@pytest.fixture
def shop(url: str) -> Shop:
    return Shop(url)


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
    assert sold > 0
    shop.assert_exact(500 + sold)


def test_going_down_and_up_again_counts_nothing_twice(shop: Shop) -> None:
    shop.add(5)
    alembic(shop.url, "downgrade", "0008")
    shop.add(2)
    alembic(shop.url, "upgrade", "head")
    shop.assert_exact(7)

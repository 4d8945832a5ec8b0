"""The PostgreSQL cluster of a test run, and the migrated template from which its databases are cloned."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2

from deploy.local.cluster import PostgresCluster
from deploy.local.disposable import disposable_cluster
from tests.support import ROOT
from tests.support.processes import run
from tests.support.scratch import scratch_directory

DIRECTORY = ROOT / ".local" / "test"
# `disposable_cluster` takes every `.local/test-…` for the directory of a dead run.
PREPARED = ROOT / ".local" / "prepared"
# Session-scoped services keep their pools open. Without a bound, write-ahead log of dropped databases stays.
SETTINGS = {"max_connections": "500", "max_wal_size": "128MB", "min_wal_size": "32MB"}
# How many connections to this database wait for a lock.
LOCK_WAITS = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


@contextmanager
def run_cluster() -> Iterator[PostgresCluster]:
    """A running cluster that holds the template; databases and roles that an interrupted run left are dropped."""
    with disposable_cluster(DIRECTORY, SETTINGS) as cluster:
        template = template_name()
        for name in cluster.psql(
            "SELECT datname FROM pg_database WHERE datname ~ '^(test|migrated|gearyard_drill)_'"
        ).split():
            if name != template:
                cluster.drop_database(name)
        for role in cluster.psql("SELECT rolname FROM pg_roles WHERE rolname ~ '^test_'").split():
            cluster.psql(f"DROP ROLE {role}")
        if not cluster.has_database(template):
            unfinished = f"test_{template}"
            cluster.create_database(unfinished)
            alembic(cluster.url(unfinished), "upgrade", "head")
            cluster.psql(f"ALTER DATABASE {unfinished} RENAME TO {template}")
        yield cluster


def template_name() -> str:
    """The name of the migrated database; changes whenever a migration changes."""
    digest = hashlib.sha256()
    for path in sorted((ROOT / "migrations").rglob("*.py")):
        digest.update(path.read_bytes())
    return f"migrated_{digest.hexdigest()[:16]}"


def alembic(database_url: str, *command: str) -> str:
    """Run alembic as an operator does and return its output. Raises AssertionError if it fails."""
    done = run_alembic(database_url, *command)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_alembic(database_url: str, *command: str) -> subprocess.CompletedProcess[str]:
    """As `alembic`, with any exit code."""
    alembic_command = (sys.executable, "-m", "alembic", "-c", "migrations/alembic.ini", *command)
    return run(*alembic_command, env={**os.environ, "DATABASE_URL": database_url})


def query(url: str, statement: str, *values: Any, options: str = "") -> list[tuple[Any, ...]]:
    """Run one statement in a transaction of its own; its rows."""
    with closing(psycopg2.connect(url, options=options)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement, values or None)
        return list(cursor.fetchall()) if cursor.description else []


def scalar(url: str, statement: str, *values: Any) -> Any:
    """As `query`; the first value of the first row, None without a row."""
    rows = query(url, statement, *values)
    return rows[0][0] if rows else None


@contextmanager
def breakable_cluster() -> Iterator[PostgresCluster]:
    """A cluster that a test may break, with one migrated database, `gearyard`; removed afterwards."""
    directory = scratch_directory("cluster")
    try:
        for name in ("pgdata", "password"):
            subprocess.run(["cp", "-a", "--reflink=auto", _prepared() / name, directory], check=True)
        with PostgresCluster(directory, durable=False, settings=SETTINGS) as running:
            yield running
    finally:
        shutil.rmtree(directory)


def _prepared() -> Path:
    """The directory of a stopped cluster with that database, made once for each state of the migrations."""
    PREPARED.mkdir(parents=True, exist_ok=True)
    made = PREPARED / template_name()
    with (PREPARED / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            for old in PREPARED.glob("*_*"):
                shutil.rmtree(old)
            unfinished = PREPARED / f"unfinished_{os.getpid()}"
            with PostgresCluster(unfinished, durable=False, settings=SETTINGS) as cluster:
                cluster.create_database("gearyard")
                alembic(cluster.url("gearyard"), "upgrade", "head")
            unfinished.rename(made)
    return made

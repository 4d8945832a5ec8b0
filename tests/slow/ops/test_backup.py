"""A backup can be restored, a drill proves it, and neither leaves anything half-done."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit
from uuid import uuid4

import pytest

from deploy.local.cluster import PostgresCluster
from deploy.local.installation import installation_for
from tests.support import ROOT, processes
from tests.support.databases import query, scalar
from tests.support.tally import DIFFERENCE, Shop

SCRIPT_SECONDS = 120

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(cluster: PostgresCluster) -> Run:
    def call(script: str, *arguments: str, url: str, **environment: str) -> subprocess.CompletedProcess[str]:
        bindir = str(installation_for(cluster.data).bindir)
        variables = {"PATH": os.environ["PATH"], "PG_BINDIR": bindir, "DATABASE_URL": url, **environment}
        return processes.run(ROOT / "deploy" / "data" / script, *arguments, env=variables)

    return call


@pytest.fixture
def url(database_url_factory: Callable[[], str]) -> str:
    """A database with a user, whose name no other has."""
    made = database_url_factory()
    query(made, "INSERT INTO users (username) VALUES (%s)", uuid4().hex)
    return made


@pytest.fixture
def empty(cluster: PostgresCluster) -> Iterator[str]:
    """A database without any table."""
    name = f"test_empty_{uuid4().hex}"
    cluster.create_database(name)
    yield cluster.url(name)
    cluster.drop_database(name)


@pytest.fixture
def plain_owner(cluster: PostgresCluster, empty: str) -> Iterator[str]:
    """The empty database's URL for a role that owns it and has no other right."""
    name, role = urlsplit(empty).path[1:], f"test_plain_{uuid4().hex}"
    query(empty, f"CREATE ROLE {role} LOGIN")
    query(empty, f"ALTER DATABASE {name} OWNER TO {role}")
    query(empty, "CREATE EXTENSION postgis")  # the one that takes a superuser
    yield empty.replace("//gearyard@", f"//{role}@")
    cluster.drop_database(name)
    cluster.psql(f"DROP ROLE {role}")


@pytest.mark.parametrize("target", ["empty", "plain_owner"])
def test_a_backup_is_restored_into_an_empty_database(
    request: pytest.FixtureRequest, run: Run, url: str, target: str, tmp_path: Path
) -> None:
    restored_url = request.getfixturevalue(target)
    backup = run("backup.sh", str(tmp_path), url=url)
    assert backup.returncode == 0, backup.stderr
    dump = Path(backup.stdout.strip())
    assert dump.stat().st_mode & 0o077 == 0  # it holds everybody's messages
    restored = run("restore.sh", str(dump), url=restored_url)
    assert (restored.returncode, restored.stderr) == (0, "")
    for statement in ("SELECT username FROM users", "SELECT version_num FROM alembic_version"):
        assert query(restored_url, statement) == query(url, statement) != []


def test_a_drill_compares_what_was_restored_and_removes_it(run: Run, url: str) -> None:
    drill = run("drill.sh", url=url)
    assert drill.returncode == 0, drill.stderr
    assert "users 1" in drill.stdout
    left = query(url, "SELECT datname FROM pg_database WHERE datname LIKE 'gearyard_drill%'")
    assert left == []


def test_only_the_newest_backups_are_kept(run: Run, url: str, tmp_path: Path) -> None:
    made = [run("backup.sh", str(tmp_path), url=url, KEEP="2").stdout.strip() for _ in range(3)]
    assert sorted(map(str, tmp_path.iterdir())) == made[1:]


def test_a_backup_that_fails_leaves_nothing_and_removes_nothing(run: Run, url: str, tmp_path: Path) -> None:
    good = run("backup.sh", str(tmp_path), url=url).stdout.strip()
    nowhere = urlsplit(url)._replace(path="/nowhere").geturl()
    failed = run("backup.sh", str(tmp_path), url=nowhere, KEEP="1")
    assert failed.returncode != 0
    assert "nowhere" in failed.stderr
    assert [str(path) for path in tmp_path.iterdir()] == [good]


def test_a_database_with_tables_is_not_restored_over(run: Run, url: str, tmp_path: Path) -> None:
    dump = run("backup.sh", str(tmp_path), url=url).stdout.strip()
    before = query(url, "SELECT username FROM users")
    refused = run("restore.sh", dump, url=url)
    assert refused.returncode == 1
    assert "restore into an empty one" in refused.stderr
    assert query(url, "SELECT username FROM users") == before


def test_a_damaged_backup_is_restored_not_even_in_part(run: Run, url: str, empty: str, tmp_path: Path) -> None:
    dump = Path(run("backup.sh", str(tmp_path), url=url).stdout.strip())
    dump.write_bytes(dump.read_bytes()[: dump.stat().st_size * 3 // 4])
    assert run("restore.sh", str(dump), url=empty).returncode != 0
    assert query(empty, "SELECT count(*) FROM pg_tables WHERE tablename = 'users'") == [(0,)]


def test_the_password_is_on_no_command_line(cluster: PostgresCluster, tmp_path: Path) -> None:
    shown, password = tmp_path / "shown", "p@ss: w%rd"
    for name in ("pg_dump", "pg_restore"):
        program = tmp_path / name
        program.write_text(f'#!/bin/bash\necho "$* PGPASSWORD=$PGPASSWORD" >>{shown}\ntouch "${{@: -1}}" 2>/dev/null\n')
        program.chmod(0o755)
    url = f"postgresql://gearyard:{quote(password)}@db.example.com/gearyard?sslmode=require"
    environment = {"PATH": os.environ["PATH"], "PG_BINDIR": str(tmp_path), "DATABASE_URL": url}
    processes.run(ROOT / "deploy/data/backup.sh", tmp_path, env=environment)
    arguments, _, given = shown.read_text().splitlines()[0].partition(" PGPASSWORD=")
    assert given == password
    assert "postgresql://gearyard@db.example.com/gearyard?sslmode=require" in arguments
    assert quote(password) not in arguments


@pytest.mark.parametrize(
    "how",
    [[], ["--data-only"], ["--data-only", "--disable-triggers"]],
    ids=["everything", "the data alone", "the data alone, without triggers"],
)
def test_a_restore_counts_no_listing_twice_in_the_tally(
    cluster: PostgresCluster, database_url_factory: Callable[[], str], empty: str, how: list[str], tmp_path: Path
) -> None:
    shop, target = Shop(database_url_factory()), empty
    shop.add(5)
    shop.add(2, category=1, available=False)
    if how:
        target = database_url_factory()
        query(target, "TRUNCATE users, identities, categories, equipment, equipment_tally, alembic_version CASCADE")
    bindir, dump = installation_for(cluster.data).bindir, str(tmp_path / "dump")
    skipped = "--exclude-table=spatial_ref_sys"  # PostGIS's own
    for command in (
        [f"{bindir}/pg_dump", "--dbname", shop.url, "--format=custom", *how[:1], skipped, "--file", dump],
        [f"{bindir}/pg_restore", "--dbname", target, "--exit-on-error", "--no-comments", *how, dump],
    ):
        subprocess.run(command, check=True, timeout=SCRIPT_SECONDS)
    assert query(target, DIFFERENCE) == []
    assert scalar(target, "SELECT sum(listings) FROM equipment_tally") == 7

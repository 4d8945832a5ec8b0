"""The databases of the data sets, each made once and kept for the next run."""

import hashlib
from pathlib import Path

from deploy.local.cluster import PostgresCluster
from deploy.local.plan import python
from deploy.local.processes import ROOT, run_to_end
from tests.benchmarks import dataset, filling
from tests.benchmarks.dataset import Dataset

MIGRATE_SECONDS = 120

# A quarter of what a small production server has; the rest is what a server that others depend on has anyway.
PRODUCTION_LIKE = {
    "shared_buffers": "1GB",
    "effective_cache_size": "3GB",
    "max_wal_size": "4GB",
    "random_page_cost": "1.1",
    "checkpoint_timeout": "15min",
}


def ensure_database(cluster: PostgresCluster, wanted: Dataset) -> str:
    """The URL of the data set's database, which is made if it is not there, or of another making.

    What it is made by is noted in its comment when it is complete: an interrupted one is made anew.
    """
    url, made_by = cluster.url(wanted.database), fingerprint()
    if cluster.has_database(wanted.database):
        if _comment(cluster, wanted) == made_by:
            return url
        cluster.drop_database(wanted.database)
    cluster.create_database(wanted.database)
    migrate(cluster, wanted.database)
    filling.fill(url, wanted)
    cluster.psql(f"COMMENT ON DATABASE {wanted.database} IS '{made_by}'")
    return url


def migrate(cluster: PostgresCluster, database: str) -> None:
    """Bring a database to the newest schema, as an operator does."""
    run_to_end(
        python("-m", "alembic", "-c", "migrations/alembic.ini", "upgrade", "head"),
        what="The migration",
        log=cluster.directory / "log" / "migrate.log",
        timeout_seconds=MIGRATE_SECONDS,
        env={"PATH": "/usr/bin:/bin", "DATABASE_URL": cluster.url(database)},
    )


def fingerprint() -> str:
    """Another one whenever what makes the data has changed."""
    sources = [Path(dataset.__file__), Path(filling.__file__)]
    sources += sorted((ROOT / "app" / "demo").glob("*.py")) + sorted((ROOT / "migrations" / "versions").glob("*.py"))
    return hashlib.sha256(b"\0".join(source.read_bytes() for source in sources)).hexdigest()


def _comment(cluster: PostgresCluster, wanted: Dataset) -> str:
    return cluster.psql(
        f"SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = '{wanted.database}'"  # noqa: S608
    )

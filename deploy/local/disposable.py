"""A cluster for tests and checks: quick, kept between runs, never in the way of another run."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from deploy.local.cluster import ClusterBusy, PostgresCluster


@contextmanager
def disposable_cluster(directory: Path, settings: Mapping[str, str] | None = None) -> Iterator[PostgresCluster]:
    """A running cluster whose data nobody will miss, for tests and checks.

    It stays in `directory` for the next time. While another process uses that one, this is a cluster in a sibling
    directory that is removed afterwards. `settings` are PostgreSQL's.
    """
    cluster = PostgresCluster(directory, durable=False, settings=settings)
    try:
        cluster.start()
    except ClusterBusy:
        with _sibling(directory) as spare, PostgresCluster(spare, durable=False, settings=settings) as cluster:
            yield cluster
        return
    try:
        yield cluster
    finally:
        cluster.stop()


@contextmanager
def _sibling(directory: Path) -> Iterator[Path]:
    """A directory beside `directory` that carries this process's id and goes with it; takes dead ones' along."""
    for old in directory.parent.glob(f"{directory.name}-*"):
        if not Path(f"/proc/{old.name.rpartition('-')[2]}").exists():
            shutil.rmtree(old, ignore_errors=True)
    spare = directory.with_name(f"{directory.name}-{os.getpid()}")
    try:
        yield spare
    finally:
        shutil.rmtree(spare, ignore_errors=True)

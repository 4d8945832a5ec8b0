"""Directories of this test process, removed at its end; those of a process that was killed go with the next run."""

import atexit
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

from deploy.local.cluster import PostgresCluster
from tests.support import ROOT

SCRATCH = ROOT / ".local" / "test-scratch"


def scratch_directory(prefix: str) -> Path:
    """A new directory."""
    return Path(tempfile.mkdtemp(prefix=f"{prefix}-", dir=_of_this_process()))


@cache
def _of_this_process() -> Path:
    SCRATCH.mkdir(parents=True, exist_ok=True)
    for left in SCRATCH.iterdir():
        if not Path(f"/proc/{left.name}").exists():
            _remove(left)
    own = SCRATCH / str(os.getpid())
    own.mkdir(exist_ok=True)
    atexit.register(_remove, own)
    return own


def _remove(directory: Path) -> None:
    """Remove it with the socket directories of its clusters, which lie in /tmp."""
    for cluster in directory.glob("*/pgdata"):
        shutil.rmtree(PostgresCluster(cluster.parent).socket_directory, ignore_errors=True)
    shutil.rmtree(directory, ignore_errors=True)

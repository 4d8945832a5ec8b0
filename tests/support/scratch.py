"""Directories of this test process, removed at its end; those of a process that was killed go with the next run."""

import atexit
import fcntl
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

from deploy.local.cluster import PostgresCluster
from tests.support import ROOT

# `disposable_cluster` takes every `.local/test-…` for the directory of a dead run.
SCRATCH = ROOT / ".local" / "scratch"


def scratch_directory(prefix: str) -> Path:
    return Path(tempfile.mkdtemp(prefix=f"{prefix}-", dir=_of_this_process()))


@cache
def _of_this_process() -> Path:
    # Locks and not process ids tell which directories are in use: processes of another PID namespace are not in /proc.
    SCRATCH.mkdir(parents=True, exist_ok=True)
    cleaning = os.open(SCRATCH, os.O_RDONLY)
    fcntl.flock(cleaning, fcntl.LOCK_EX)
    for left in SCRATCH.iterdir():
        if _lock(left):
            _remove(left)
    own = Path(tempfile.mkdtemp(dir=SCRATCH))
    own.chmod(0o755)
    _lock(own)
    os.close(cleaning)
    atexit.register(_remove, own)
    return own


def _lock(directory: Path) -> bool:
    """Lock it until this process ends; False if another process has it."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    return True


def _remove(directory: Path) -> None:
    """Remove it with the socket directories of its clusters, which lie in /tmp."""
    for data in directory.rglob("pgdata"):
        shutil.rmtree(PostgresCluster(data.parent).socket_directory, ignore_errors=True)
    shutil.rmtree(directory, ignore_errors=True)

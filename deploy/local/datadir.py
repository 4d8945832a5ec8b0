"""Making a data directory, and naming it to a server that cannot walk the way to it."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from deploy.local.installation import Installation
from deploy.local.processes import Account, LocalError, run_to_end, wait_until

INITDB_SECONDS = 120
REMOVE_SECONDS = 20
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}  # without the caller's PG* variables
STAGING_PREFIX = "initdb-"


@contextmanager
def by_descriptor(directory: Path) -> Iterator[tuple[str, int]]:
    """A path to `directory` for a child that inherits the descriptor beside it.

    A checkout may lie under a directory that the server's user cannot enter (/root is 0700), or at a path longer than
    PostgreSQL's 1,024 bytes. A descriptor that this process opened needs no rights on the way, and no capability.
    """
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}", fd
    finally:
        os.close(fd)


def initialise(
    data: Path, installation: Installation, account: Account, *, role: str, password: str, durable: bool
) -> None:
    """Make the data directory `data`, which appears complete or not at all.

    Raises:
        LocalError: when initdb fails (shows the end of its log), or remains of an earlier one cannot be removed.

    """
    for interrupted in data.parent.glob(f"{STAGING_PREFIX}*"):
        # Its initdb may be ending at this very moment, and then removes and writes there too.
        if not wait_until(partial(_is_removed, interrupted), REMOVE_SECONDS):
            raise LocalError(f"{interrupted}, left by an interrupted start, cannot be removed.")
    staging = Path(tempfile.mkdtemp(prefix=STAGING_PREFIX, dir=data.parent))
    try:
        (staging / "password").write_text(password)
        (staging / data.name).mkdir(mode=0o700)
        for path in (staging, staging / "password", staging / data.name):
            os.chown(path, account.uid, account.gid)
        _initdb(staging, data, installation, account, role=role, durable=durable)
        (staging / data.name).rename(data)
        _sync(data.parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)  # what stays is removed before the next attempt


def _is_removed(directory: Path) -> bool:
    shutil.rmtree(directory, ignore_errors=True)
    return not directory.exists()


def _initdb(
    staging: Path, data: Path, installation: Installation, account: Account, *, role: str, durable: bool
) -> None:
    with by_descriptor(staging) as (path, fd):
        run_to_end(
            [
                installation.program("initdb"),
                *("--pgdata", f"{path}/{data.name}", "--pwfile", f"{path}/password", "--username", role),
                *("--auth-local", "trust", "--auth-host", "scram-sha-256"),
                *("--encoding", "UTF8", "--locale", "C.UTF-8", "--no-instructions"),
                *(() if durable else ("--no-sync",)),
            ],
            what="initdb",
            log=data.parent / "log" / "initdb.log",
            timeout_seconds=INITDB_SECONDS,
            env=ENVIRONMENT,
            cwd=Path("/"),
            account=account,
            keep_open=[fd],
        )


def _sync(directory: Path) -> None:
    """Make a rename in `directory` survive a power cut."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)

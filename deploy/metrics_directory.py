"""Where the workers of one service keep their counts: a directory of its own, made at its start and removed at its end.

Imports nothing of the service: prometheus_client must find PROMETHEUS_MULTIPROC_DIR set when it is first imported.
"""

import atexit
import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
PREFIX = "gearyard-metrics-"
# The lock of each directory, held by whoever serves from it: by the process that made it, and by its children.
_locks: dict[Path, int] = {}


def prepare() -> Path:
    """Make this process's directory (0700), empty, and point PROMETHEUS_MULTIPROC_DIR to it. Again: the same one.

    It is made inside of what that variable said before, else among the temporary files; so services that are told the
    same place do not mix their counts. What services that were killed have left there is removed.

    Raises:
        SystemExit: it cannot be made; one line says why.
    """
    if not _locks:
        parent = Path(os.environ.get(VARIABLE) or tempfile.gettempdir())
        try:
            parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _remove_leftovers(parent)
            _make_and_lock(parent)
        except OSError as error:
            raise SystemExit(f"Invalid settings: {VARIABLE}: {error.strerror}: {parent}") from None
    (directory,) = _locks
    os.environ[VARIABLE] = str(directory)
    return directory


def forget(pid: int) -> None:
    """Remove the files of a process that ended before it had written their head: no reader could make sense of them."""
    for directory in _locks:
        for path in directory.glob(f"*_{pid}.db"):
            if path.stat().st_size == 0:
                path.unlink()


def _remove(directory: Path, owner: int) -> None:
    if os.getpid() == owner:  # a worker's end is not the service's
        shutil.rmtree(directory, ignore_errors=True)


def _make_and_lock(parent: Path) -> None:
    while not _locks:
        directory = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        try:
            lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:  # the same, a moment earlier
            if not parent.exists():
                raise
            continue
        fcntl.flock(lock, fcntl.LOCK_EX)
        if directory.exists():  # else another service took it for a leftover before it was locked
            _locks[directory] = lock
            atexit.register(_remove, directory, os.getpid())
        else:
            os.close(lock)


def _remove_leftovers(parent: Path) -> None:
    for directory in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):  # somebody else's, or just gone
            lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(directory, ignore_errors=True)
            finally:
                os.close(lock)

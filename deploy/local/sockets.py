"""Where local servers listen: loopback ports, and private directories for Unix sockets."""

import os
import socket
import stat
from pathlib import Path

from deploy.local.processes import Account, LocalError

LOOPBACK = "127.0.0.1"


def port_is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now; raises PermissionError where it may not."""
    with socket.socket() as probe:
        # As servers do: connections that linger from the last run must not count as a listener.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except PermissionError:
            raise
        except OSError:
            return False
    return True


def free_port() -> int:
    """A loopback port that nobody listens on at this moment; the kernel picks it."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def private_directory(path: Path, account: Account) -> None:
    """Make an empty directory that only `account` (and root) can enter, in a place where anybody may create one.

    One that an earlier run left is emptied: its socket's lock file may name a process id that is in use again.

    Raises:
        LocalError: when something is there that somebody else owns, or can enter.

    """
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        found = path.lstat()  # not stat: a link may point anywhere
        if (
            not stat.S_ISDIR(found.st_mode)
            or found.st_uid not in {account.uid, os.geteuid()}
            or stat.S_IMODE(found.st_mode) & 0o077
        ):
            raise LocalError(
                f"{path} is needed for PostgreSQL's socket, but something of user id {found.st_uid} is there "
                "that this run did not make: have it removed, then start again."
            ) from None
        for left in path.iterdir():
            left.unlink()
    if not account.is_this_process:
        os.chown(path, account.uid, account.gid, follow_symlinks=False)

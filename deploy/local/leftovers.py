"""What an earlier run of the same cluster may have left behind when it was killed."""

import os
import signal
from contextlib import suppress
from pathlib import Path

from deploy.local.processes import Account, LocalError, wait_until

SHUTDOWN_SECONDS = 20
KILL_SECONDS = 5


def clear_leftovers(data: Path, cluster_name: str, account: Account) -> None:
    """End every server process of this cluster that is still there, then drop its stale pid file.

    Only for the holder of the cluster's lock: then nobody supervises such a process any more. It was told to shut
    down when its supervisor ended, so it is first given the time for that.

    Raises:
        LocalError: when one cannot be ended.

    """
    pid_file = data / "postmaster.pid"
    left = server_processes(cluster_name, account)
    if left and pid_file.exists():
        postmaster = int(pid_file.read_text().split("\n")[0])
        if postmaster in left:
            _signal(postmaster, signal.SIGINT)
    if left and not _all_gone(cluster_name, account, SHUTDOWN_SECONDS):
        for pid in server_processes(cluster_name, account):
            _signal(pid, signal.SIGKILL)
        if not _all_gone(cluster_name, account, KILL_SECONDS):
            raise LocalError(f"PostgreSQL processes of an earlier run cannot be ended: {left}.")
    # The kernel may have given the number in the file to another process, and then PostgreSQL would not start.
    pid_file.unlink(missing_ok=True)


def server_processes(cluster_name: str, account: Account) -> list[int]:
    """The live processes of the server of this name that runs as this account."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            # Both are readable for everybody; the working directory, which would say more, is not always, even to root.
            if (
                entry.stat().st_uid == account.uid
                and (entry / "comm").read_text() == "postgres\n"
                and cluster_name.encode() in (entry / "cmdline").read_bytes()
            ):
                found.append(int(entry.name))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it ended meanwhile, or is hidden from us and therefore not ours
    return found


def _all_gone(cluster_name: str, account: Account, timeout_seconds: float) -> bool:
    return wait_until(lambda: not server_processes(cluster_name, account), timeout_seconds)


def _signal(pid: int, sign: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # it may end by itself in the meantime
        os.kill(pid, sign)

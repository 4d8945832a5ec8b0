"""Starting the PostgreSQL server process of a private cluster."""

import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from deploy.local.datadir import ENVIRONMENT, by_descriptor
from deploy.local.installation import Installation
from deploy.local.processes import Account, spawn
from deploy.local.sockets import LOOPBACK

LOG_BYTES = 10_000_000

SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "huge_pages": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "off",
    "log_line_prefix": "%m [%p] %q%u@%d ",
}
# For data that nobody will miss. Commits stay synchronous: they then outlive a SIGKILL of the server (not a power cut),
# which tests of faults rely on, and without fsync that costs next to nothing.
NOT_DURABLE = {"fsync": "off", "full_page_writes": "off"}


def start_server(
    data: Path,
    log: Path,
    installation: Installation,
    account: Account,
    *,
    port: int,
    socket_directory: Path,
    durable: bool,
    extra: Mapping[str, str],
) -> subprocess.Popen[bytes]:
    """Start the server and return at once; it shuts down when this process ends (see `spawn`).

    Its settings, with `extra` besides or instead of the usual ones, are given here and not in its file, so that a
    change of them reaches a cluster that exists. The socket directory's name becomes the cluster's, which is in every
    process title: how a leftover is recognised.
    """
    settings = SETTINGS | ({} if durable else NOT_DURABLE) | dict(extra)
    settings |= {
        "port": str(port),
        "unix_socket_directories": str(socket_directory),
        "cluster_name": socket_directory.name,
    }
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))
    with log.open("ab") as output, by_descriptor(data) as (path, fd):
        return spawn(
            [installation.program("postgres"), "-D", path, *options],
            env=ENVIRONMENT,
            cwd=Path("/"),
            death_signal=signal.SIGINT,  # a fast shutdown
            output=output,
            account=account,
            keep_open=[fd],
        )


def is_ready(data: Path, pid: int) -> bool:
    """Whether the server `pid` accepts connections, by its pid file: line 1 is its process id, line 8 its state."""
    try:
        lines = (data / "postmaster.pid").read_text().split("\n")
    except FileNotFoundError:
        return False
    return len(lines) > 7 and lines[0] == str(pid) and lines[7].strip() == "ready"

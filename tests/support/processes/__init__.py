"""Server processes that tests start. Each ends with the test process, even if that is killed."""

import subprocess
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.support import ROOT


def tied(command: list[str]) -> list[str]:
    """Let the kernel send SIGTERM to the process when this one ends, however that happens.

    The signal is tied to the thread that starts the process (prctl(2)), so a command of another thread stays as it is.
    """
    is_main = threading.current_thread() is threading.main_thread()
    return ["setpriv", "--pdeathsig=TERM", "--", *command] if is_main else command


def run(
    *command: str | Path, env: Mapping[str, str] | None = None, cwd: Path = ROOT, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run a command until it exits, and return its exit code and output."""
    return subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, timeout=timeout, check=False)


def child_pids(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def rss_kib(pids: Iterable[int]) -> int:
    """The resident memory of these processes, in KiB."""
    statuses = (Path(f"/proc/{pid}/status").read_text() for pid in pids)
    return sum(int(status.partition("VmRSS:")[2].split()[0]) for status in statuses)

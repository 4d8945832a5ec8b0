"""Child processes that cannot outlive this one, locks that end with their holder, waits that end."""

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[2]
POLL_SECONDS = 0.02
KILL_SECONDS = 5


class LocalError(Exception):
    """What failed on this machine and what to do about it, in words for the person at the terminal."""


@dataclass(frozen=True)
class Account:
    """A user of this machine, as the kernel knows it."""

    uid: int
    gid: int

    @property
    def is_this_process(self) -> bool:
        """True when no change of user is needed to act as this account."""
        return self.uid == os.geteuid()


def spawn(
    args: Sequence[str | Path],
    *,
    env: Mapping[str, str],
    cwd: Path = ROOT,
    death_signal: signal.Signals = signal.SIGTERM,
    output: IO[bytes] | None = None,
    account: Account | None = None,
    keep_open: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own, which gets `death_signal` when this process ends, however that happens.

    The session keeps a terminal's Ctrl-C from the child: only its parent decides when it stops. The kernel ties the
    death signal to the *thread* that starts the child, so call this from the main thread. With `account`, this
    process must be root or that account. `output` takes stdout and stderr; without it the child writes to ours.
    """
    switch: list[str] = []
    if account is not None and not account.is_this_process:
        switch = [f"--reuid={account.uid}", f"--regid={account.gid}", "--clear-groups"]
    # setpriv sets the death signal last, because the kernel clears it on every change of user.
    command = ["setpriv", *switch, f"--pdeathsig={death_signal.name.removeprefix('SIG')}", "--", *map(str, args)]
    return subprocess.Popen(  # noqa: S603 - a fixed program and arguments of our own, no shell
        command,
        env=dict(env),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT if output else None,
        start_new_session=True,
        pass_fds=keep_open,
    )


def stop(process: subprocess.Popen[bytes], *, sign: signal.Signals = signal.SIGTERM, grace_seconds: float) -> None:
    """End a child of `spawn` and reap it: `sign` first, SIGKILL for its whole group after `grace_seconds`."""
    if process.poll() is None:
        process.send_signal(sign)
        try:
            process.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            kill_group(process)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL a child of `spawn` with all that still runs in its session's first group, and reap it."""
    with suppress(ProcessLookupError):  # it may end by itself in the meantime
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(KILL_SECONDS)


def run_to_end(
    args: Sequence[str | Path],
    *,
    what: str,
    log: Path,
    timeout_seconds: float,
    env: Mapping[str, str],
    cwd: Path = ROOT,
    account: Account | None = None,
    keep_open: Sequence[int] = (),
) -> None:
    """Run a command and wait for its end; its output goes to `log`.

    Raises:
        LocalError: when it fails or takes longer than `timeout_seconds`; shows the end of the log.

    """
    with log.open("wb") as output:
        process = spawn(args, env=env, cwd=cwd, output=output, account=account, keep_open=keep_open)
        try:
            failure = f"failed with exit code {code}" if (code := process.wait(timeout_seconds)) else None
        except subprocess.TimeoutExpired:
            failure = f"did not end within {timeout_seconds:.0f} s"
        finally:
            stop(process, grace_seconds=KILL_SECONDS)
    if failure:
        raise LocalError(f"{what} {failure}. {end_of(log)}")


def end_of(log: Path, lines: int = 15) -> str:
    """The last lines of a log, indented under its name, for an error message."""
    try:
        text = log.read_text(errors="replace").rstrip()
    except OSError:
        text = ""
    shown = "\n".join(f"    {line}" for line in text.splitlines()[-lines:])
    return f"The end of {log}:\n{shown or '    (empty)'}"


def wait_until(condition: Callable[[], bool], timeout_seconds: float) -> bool:
    """Ask `condition` until it is true or the time is over; whether it became true."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read; readers see the old text or the new one, nothing between."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    new.replace(path)


class FileLock:
    """An exclusive flock(2), which the kernel ends with its last holder; the file stays and carries a note.

    A child that is given the descriptor (`spawn(keep_open=…)`) holds the lock on, even after this process.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    @property
    def fd(self) -> int:
        """The descriptor of the held lock."""
        if self._fd is None:
            raise RuntimeError(f"{self.path} is not locked")
        return self._fd

    @property
    def is_held(self) -> bool:
        """Whether this object holds the lock."""
        return self._fd is not None

    def acquire(self, note: str) -> bool:
        """Take the lock if it is free, without waiting, and leave `note` for others. False when it is taken."""
        if self._fd is None:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                return False
            self._fd = fd
            os.ftruncate(fd, 0)
            os.write(fd, note.encode())
        return True

    def note(self) -> str:
        """What the present or last holder left."""
        return self.path.read_text().strip()

    def release(self) -> None:
        """Give the lock up, if held; a child that was given the descriptor keeps it."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

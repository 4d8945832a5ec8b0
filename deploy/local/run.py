"""`make run`: the whole service on this machine, in the foreground, until Ctrl-C.

One run per checkout. Everything it writes is under `.local/run`; what it starts ends with it, even if it is killed.
Exit code 0 after Ctrl-C (or SIGTERM, SIGHUP), 1 when something failed.
"""

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from deploy.local.plan import DEMO_EMAILS, DEMO_PASSWORD, STATE, Plan, readable
from deploy.local.processes import FileLock, LocalError, wait_until
from deploy.local.stack import Stack

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PREVIOUS_RUN_SECONDS = 40


class Stopped(BaseException):
    """Somebody asked this run to end; not an Exception, as KeyboardInterrupt is none."""


def main() -> int:
    """Run until told to stop; the exit code."""
    _raise_on_stop_signals()
    started = time.monotonic()
    try:
        plan = Plan.from_env(os.environ)
        (STATE / "log").mkdir(parents=True, exist_ok=True)
        children_lock = _become_the_only_run(plan)
        plan.require_free_ports()
        stack = Stack(plan, _say, children_lock)
        try:
            stack.start()
            _write(_welcome(plan, stack, time.monotonic() - started))
            # A terminal that closes sends its hang-up to the session's first process only, which may not pass it on.
            on_terminal = sys.stdout.isatty()
            stack.watch(lambda: not on_terminal or sys.stdout.isatty())
        finally:
            _ignore_stop_signals()
            _say("Stopping…")
            stack.close()
    except LocalError as error:
        sys.stderr.write(f"make run: {error}\n")
        return 1
    except Stopped:
        return 0
    return 0


def _raise_on_stop_signals() -> None:
    def handler(_number: int, _frame: FrameType | None) -> None:
        _ignore_stop_signals()
        raise Stopped

    for number in STOP_SIGNALS:
        # Under nohup, a hang-up is to be ignored. An ignored SIGINT is merely how a shell starts background jobs.
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def _ignore_stop_signals() -> None:
    """Once the end has begun, another Ctrl-C must not interrupt it; every step of it has a time limit."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _become_the_only_run(plan: Plan) -> FileLock:
    """Take the checkout's lock for this process's life, and the lock that our children will share.

    Raises:
        LocalError: when another run has the checkout.

    """
    mine = FileLock(STATE / "lock")
    if not mine.acquire(f"process {os.getpid()}, on port {plan.port}"):
        raise LocalError(f"this checkout runs already: {mine.note()}. Stop that one with Ctrl-C or `kill`.")
    children = FileLock(STATE / "children.lock")
    if not children.acquire(""):
        _say("Waiting for the previous run to finish…")
        if not wait_until(lambda: children.acquire(""), PREVIOUS_RUN_SECONDS):
            raise LocalError(f"processes of an earlier run do not end; `fuser {readable(children.path)}` lists them.")
    return children


def _welcome(plan: Plan, stack: Stack, seconds: float) -> str:
    base = f"http://127.0.0.1:{plan.port}"
    rows = [("Open", f"{base}/"), ("API docs", f"{base}/docs")]
    if plan.own_tenant:
        rows.append(("Tenant", f"http://127.0.0.1:{plan.tenant_port}/"))
    if stack.cluster is not None:
        secret = readable(stack.cluster.directory / "password")
        rows.append(("Database", f"127.0.0.1:{stack.cluster.port}, user and database gearyard, password in {secret}"))
    if plan.own_tenant and plan.is_development:
        rows.append(("Accounts", "  ".join(DEMO_EMAILS)))
        rows.append(("Password", DEMO_PASSWORD))
    rows += [
        ("Try", f"curl '{base}/api/v1/equipment?limit=3'"),
        ("Settings", f"flask --env-file {readable(STATE / 'env')} …"),
    ]
    table = "\n".join(f"  {name:<10}{value}" for name, value in rows)
    return f"\nGearyard is ready after {seconds:.1f} s.\n\n{table}\n\nCtrl-C stops everything.\n\n"


def _say(text: str) -> None:
    _write(f"==> {text}\n")


def _write(text: str) -> None:
    # After a hang-up there is no terminal, and that must not keep anything from being stopped.
    with suppress(OSError):
        sys.stdout.write(text)
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

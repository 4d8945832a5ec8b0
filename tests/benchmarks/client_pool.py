"""Many sockets, held by a process of their own (`client_pool_process`)."""

import json
import select
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

from deploy.local.processes import ROOT
from deploy.local.sockets import LOOPBACK
from tests.benchmarks.client_pool_process import Plan, Seat
from tests.benchmarks.interleaving import BenchmarkFailed
from tests.benchmarks.people import Person

OPEN_SECONDS = 180
SPARE_SECONDS = 60
END_SECONDS = 30


class ClientPool:
    """`with ClientPool(port, people, messages, per_second) as client_pool:` has a socket open for each of the people.

    A person that is named twice has two. When this process ends, so does the other one. Raises BenchmarkFailed.
    """

    def __init__(self, port: int, people: Sequence[Person], *, messages: int = 0, per_second: float = 0) -> None:
        seats = [Seat(person.token, str(person.conversation_id)) for person in people]
        self._plan = Plan(f"ws://{LOOPBACK}:{port}/api/v1/ws", seats, messages, per_second)
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.client_pool_process"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        try:
            self._tell(json.dumps(asdict(self._plan)))
            self._hear(OPEN_SECONDS)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._end()

    def outcome(self) -> dict[str, Any]:
        """What became of the messages, once all are sent and heard."""
        seconds = self._plan.messages / self._plan.per_second
        return self._hear(seconds + SPARE_SECONDS)

    def still_open(self) -> int:
        """End it; how many sockets were still open. Raises BenchmarkFailed."""
        self._tell("")
        return int(self._hear(SPARE_SECONDS)["open"])

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def _hear(self, seconds: float) -> dict[str, Any]:
        stdout = self._process.stdout
        assert stdout is not None
        readable, _, _ = select.select([stdout], [], [], seconds)
        line = stdout.readline() if readable else ""
        if not line:
            self._errors.seek(0)
            raise BenchmarkFailed(f"the sockets' client failed: {self._errors.read().strip()[-1000:] or 'no answer'}")
        heard: dict[str, Any] = json.loads(line)
        return heard

    def _end(self) -> None:
        try:
            self._process.communicate(timeout=END_SECONDS)  # closes its input: it closes every socket
        except (subprocess.TimeoutExpired, BrokenPipeError):
            self._process.kill()
            self._process.wait()
        self._errors.close()

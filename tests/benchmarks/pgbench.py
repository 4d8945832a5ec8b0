"""What PostgreSQL itself can do: pgbench, running statements of the service with parameters drawn at random."""

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Self

from app.db.engine import CONNECT_TIMEOUT_SECONDS, _connect_args
from deploy.local.installation import installation_for
from tests.benchmarks.interleaving import BenchmarkFailed, Sample
from tests.support.processes import run

SPARE_SECONDS = 30
THREADS = 1  # as wrk has
# The service's connections have run the statement before. pgbench opens its own each time, and a new one takes some ten
# milliseconds to know the tables: its first second does not count.
FIRST_SECONDS = 1
# What the service asks of its own connections.
OPTIONS = str(_connect_args(connect_timeout=CONNECT_TIMEOUT_SECONDS)["options"]).strip()
_RATE = re.compile(r"^progress: [\d.]+ s, ([\d.]+) tps", re.MULTILINE)
_FAILED = re.compile(r"^number of failed transactions: (\d+)", re.MULTILINE)


@dataclass(frozen=True)
class Script:
    """A statement that each connection prepares once, by this name, and a call of it.

    In the call, `:name` stands for a variable, which is drawn anew each time (pgbench, "Meta Commands"). PREPARE and
    EXECUTE are what the service sends, too: values reach the planner in the same way.
    """

    name: str
    preparation: str
    call: str
    variables: Mapping[str, str]

    @property
    def flag(self) -> str:
        """The variable that says whether the connection has prepared it."""
        return f"has_{self.name}"

    def text(self) -> str:
        prepare = [f"\\if :{self.flag} = 0", f"{self.preparation};", f"\\set {self.flag} 1", "\\endif"]
        drawn = [f"\\set {name} {expression}" for name, expression in self.variables.items()]
        return "\n".join([*prepare, *drawn, f"{self.call};", ""])


class Pgbench:
    """`with Pgbench(…) as pgbench:`; `pgbench(seconds)` runs the scripts, each as often as the others: a `Side`."""

    def __init__(self, data: Path, url: str, scripts: Sequence[Script], *, connections: int) -> None:
        self._program = installation_for(data).program("pgbench")
        self._url = url
        self._connections = connections
        self._flags = sorted({script.flag for script in scripts})
        self._directory = tempfile.TemporaryDirectory(prefix="pgbench-")
        self._files = [Path(self._directory.name) / f"{number}.sql" for number, _ in enumerate(scripts)]
        for file, script in zip(self._files, scripts, strict=True):
            file.write_text(script.text())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._directory.cleanup()

    def __call__(self, seconds: float) -> Sample:
        """Transactions a second. Raises BenchmarkFailed where one failed."""
        whole = max(1, round(seconds)) + FIRST_SECONDS
        command = [str(self._program), "-n", "-M", "simple", "-T", str(whole), "-P", "1", "-j", str(THREADS)]
        command += ["-c", str(self._connections)]
        command += [part for flag in self._flags for part in ("-D", f"{flag}=0")]
        command += [part for file in self._files for part in ("-f", str(file))]
        environment = {"PGOPTIONS": OPTIONS, "LANG": "C.UTF-8"}
        done = run(*command, self._url, env=environment, timeout=whole + SPARE_SECONDS)
        return read(done.stdout, done.stderr)


def read(output: str, progress: str) -> Sample:
    """Read what pgbench prints, and what it tells meanwhile. Raises BenchmarkFailed where a transaction failed."""
    rates, failed = _RATE.findall(progress)[FIRST_SECONDS:], _FAILED.search(output)
    if not rates or failed is None or int(failed[1]) or "aborted" in progress:
        raise BenchmarkFailed(f"pgbench failed: {(progress or output).strip()[-1000:]}")
    return Sample(per_second=mean(map(float, rates)))

"""What PostgreSQL itself can do: pgbench, running statements of the service with parameters drawn at random."""

import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from deploy.local.installation import installation_for
from tests.benchmarks.interleaving import BenchmarkFailed, Sample

SPARE_SECONDS = 30
THREADS = 1  # as wrk has
# What the service asks of its own connections.
OPTIONS = "-c jit=off -c timezone=UTC"
_RATE = re.compile(r"^tps = ([\d.]+)", re.MULTILINE)
_FAILED = re.compile(r"^number of failed transactions: (\d+)", re.MULTILINE)
_LATENCY = re.compile(r"^latency average = ([\d.]+) ms", re.MULTILINE)


@dataclass(frozen=True)
class Script:
    """One statement, where `:name` stands for a variable that is drawn anew each time (pgbench, Meta Commands)."""

    statement: str
    variables: Mapping[str, str] = field(default_factory=dict)

    def text(self) -> str:
        """The script as pgbench reads it."""
        drawn = [f"\\set {name} {expression}" for name, expression in self.variables.items()]
        return "\n".join([*drawn, f"{self.statement};", ""])


class Pgbench:
    """`with Pgbench(…) as pgbench:`; `pgbench(seconds)` runs the scripts, each as often as the others: a `Side`.

    Each statement is prepared once for each of the connections, which run one at a time, as fast as they can.
    """

    def __init__(self, data: Path, url: str, scripts: Sequence[Script], *, connections: int) -> None:
        self._program = installation_for(data).program("pgbench")
        self._url = url
        self._connections = connections
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
        whole = max(1, round(seconds))
        command = [str(self._program), "-n", "-M", "prepared", "-T", str(whole), "-j", str(THREADS)]
        command += ["-c", str(self._connections), *(part for file in self._files for part in ("-f", str(file)))]
        done = subprocess.run(
            [*command, self._url],
            env={"PGOPTIONS": OPTIONS, "LANG": "C.UTF-8"},
            capture_output=True,
            text=True,
            timeout=whole + SPARE_SECONDS,
            check=False,
        )
        return read(done.stdout, done.stderr)


def read(output: str, errors: str) -> Sample:
    """Read what pgbench prints. Raises BenchmarkFailed where it did not do what it should."""
    rate, failed, latency = _RATE.search(output), _FAILED.search(output), _LATENCY.search(output)
    if rate is None or latency is None or failed is None or int(failed[1]) or "aborted" in errors:
        raise BenchmarkFailed(f"pgbench failed: {(errors or output).strip()[-1000:]}")
    return Sample(per_second=float(rate[1]))

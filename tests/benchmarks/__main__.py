"""`make bench`: measure the rows, print the table, write it down."""

import argparse
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from deploy.local.plan import readable
from deploy.local.processes import ROOT, LocalError
from tests.benchmarks import report
from tests.benchmarks.findings import Finding
from tests.benchmarks.interleaving import BenchmarkFailed
from tests.benchmarks.rows import ROWS, Row
from tests.benchmarks.scale import FULL, SECONDS_OF_A_SAMPLE, Scale
from tests.benchmarks.stage import Stage

STATE = ROOT / ".local" / "bench"
INTERRUPTED = 130


class Stopped(BaseException):
    """Somebody asked this run to end."""


def main(arguments: Sequence[str] | None = None, scale: Scale = FULL, directory: Path = STATE) -> int:
    """The exit code: 0 when every row could be measured, whatever it found; 1 when one could not; 2 for a row that
    there is not; 130 when stopped.
    """
    options = _parser().parse_args(arguments)
    if options.list:
        _say("\n".join(f"{row.name:<14}{row.description}" for row in ROWS))
        return 0
    if unknown := set(options.rows) - {row.name for row in ROWS}:
        _say(f"make bench: there is no row {', '.join(sorted(unknown))}; --list shows all")
        return 2
    chosen = [row for row in ROWS if not options.rows or row.name in options.rows]
    with _stopping():
        try:
            return run(chosen, scale.quick(options.seconds), directory)
        except Stopped:
            return INTERRUPTED
        except LocalError as error:
            _say(f"make bench: {error}")
            return 1


def run(rows: Sequence[Row], scale: Scale, directory: Path) -> int:
    """Measure these rows; the exit code. Raises LocalError where not even the database starts."""
    began_at = time.monotonic()
    with Stage(directory, scale, _say) as stage:
        findings, failures = _measure(rows, stage)
        results = report.as_json(findings, scale, stage.cluster.psql("SHOW server_version"))
    (directory / "results.json").write_text(results)
    found = [finding for of_row in findings.values() for finding in of_row]
    machine = report.machine()
    _say(f"\n{report.table(found)}\n")
    _say(f"{machine['processor']}, {machine['cores']} cores; {time.monotonic() - began_at:.0f} s")
    _say(f"Every sample is in {readable(directory / 'results.json')}")
    for name, failure in failures.items():
        _say(f"make bench: row {name}: {failure}")
    return 1 if failures else 0


def _measure(rows: Sequence[Row], stage: Stage) -> tuple[dict[str, list[Finding]], dict[str, str]]:
    """What was found by each row, and why some found nothing."""
    findings: dict[str, list[Finding]] = {}
    failures: dict[str, str] = {}
    for row in rows:
        _say(f"{row.name}: {row.description}")
        try:
            findings[row.name] = row.run(stage)
        except (BenchmarkFailed, LocalError) as error:
            failures[row.name] = str(error)
            _say(f"    failed: {error}")
            continue
        for finding in findings[row.name]:
            _say(f"    {report.summary(finding)}")
    return findings, failures


@contextmanager
def _stopping() -> Iterator[None]:
    """Let Ctrl-C and `kill` end the block from inside, so that it stops what it has started."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # another one must not interrupt the stopping
        raise Stopped

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    yield


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench", description="Measure the service beside what it could reach.")
    parser.add_argument("rows", nargs="*", metavar="ROW", help="which rows; all of them, if none is named")
    parser.add_argument("--list", action="store_true", help="list the rows, and measure nothing")
    parser.add_argument("--seconds", type=float, default=SECONDS_OF_A_SAMPLE, help="of each sample (%(default)s)")
    return parser


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

"""What a run has found: as a table for the terminal, and as JSON."""

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from deploy.local.processes import ROOT
from tests.benchmarks.findings import Finding, figure_text
from tests.benchmarks.interleaving import Sample
from tests.benchmarks.scale import Scale

HEADINGS = ("what", "per s", "p50 ms", "p99 ms", "beside", "its per s", "figure", "target", "")
PACKAGES = ("flask", "gunicorn", "gevent", "sqlalchemy", "psycopg2-binary", "marshmallow", "orjson")


def table(findings: Sequence[Finding]) -> str:
    """One line for each finding, in aligned columns, as Markdown reads them too."""
    rows = [HEADINGS, *map(_cells, findings)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = [_line(row, widths) for row in rows]
    return "\n".join([lines[0], _line(["-" * width for width in widths], widths), *lines[1:]])


def summary(finding: Finding) -> str:
    """A finding in a line, for whoever waits for the next."""
    cells = dict(zip(HEADINGS, _cells(finding), strict=True))
    measured = f"{cells['per s']} per s, " if finding.measured else ""
    return f"{finding.what}: {measured}{cells['figure']} beside {finding.reference} (target {cells['target']})"


def _cells(finding: Finding) -> tuple[str, ...]:
    return (
        finding.what,
        *_figures(finding.measured),
        finding.reference,
        _figures(finding.compared_with)[0],
        figure_text(finding.figure, finding.target.unit),
        str(finding.target),
        "met" if finding.is_met else "MISSED",
    )


def _figures(sample: Sample | None) -> tuple[str, str, str]:
    if sample is None:
        return "", "", ""
    times = ("" if time is None else f"{time:.1f}" for time in (sample.p50_ms, sample.p99_ms))
    return (f"{sample.per_second:,.0f}", *times)  # type: ignore[return-value]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"


def as_json(findings: Mapping[str, Sequence[Finding]], scale: Scale, postgres: str) -> str:
    """Every sample of every row, and what they were taken on."""
    content = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _git("rev-parse", "HEAD"),
        "has_changes": bool(_git("status", "--porcelain")),
        "machine": machine(),
        "versions": {"python": platform.python_version(), "postgresql": postgres}
        | {one: version(one) for one in PACKAGES},
        "scale": asdict(scale),
        "rows": {
            name: [asdict(finding) | {"is_met": finding.is_met} for finding in of_row]
            for name, of_row in findings.items()
        },
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def machine() -> dict[str, Any]:
    return {
        "processor": _field("/proc/cpuinfo", "model name"),
        "cores": len(os.sched_getaffinity(0)),
        "memory": _field("/proc/meminfo", "MemTotal"),
        "system": platform.platform(),
    }


def _field(path: str, name: str) -> str:
    lines = Path(path).read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "unknown")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()

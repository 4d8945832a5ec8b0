"""`make lint`'s check of the systemd units: each is well-formed, and each service is as closed as `MOST_EXPOSED` asks.

By systemd's own tools, without starting anything. On a machine without them it says so and ends with 0.
"""

import shutil
import subprocess
import sys

from deploy.local.processes import ROOT

UNITS = ROOT / "deploy" / "systemd"
MOST_EXPOSED = 15  # of systemd-analyze's 0 to 100: it prints 1.5
CHECK_SECONDS = 60
# What lies where an operator installs it, and not here.
ELSEWHERE = "is not executable: No such file or directory"


def main() -> int:
    """Check every unit; the exit code."""
    if shutil.which("systemd-analyze") is None:
        sys.stdout.write("There is no systemd-analyze here: the units were NOT checked.\n")
        return 0
    problems = _malformed() + [line for unit in sorted(UNITS.glob("*.service")) for line in _exposed(unit.name)]
    sys.stdout.write("".join(f"{line}\n" for line in problems) or "The systemd units are well-formed and closed.\n")
    return 1 if problems else 0


def _malformed() -> list[str]:
    names = sorted(unit.name for unit in UNITS.iterdir())
    done = _systemd_analyze("verify", "--man=no", *(f"./{name}" for name in names))
    return [line for line in done.stderr.splitlines() if any(name in line for name in names) and ELSEWHERE not in line]


def _exposed(name: str) -> list[str]:
    done = _systemd_analyze("security", "--offline=true", f"--threshold={MOST_EXPOSED}", "--no-pager", f"./{name}")
    return [] if done.returncode == 0 else [(done.stdout or done.stderr).strip().splitlines()[-1]]


def _systemd_analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603
        ["systemd-analyze", *arguments],  # noqa: S607
        cwd=UNITS,
        capture_output=True,
        text=True,
        timeout=CHECK_SECONDS,
        check=False,
    )


if __name__ == "__main__":
    sys.exit(main())

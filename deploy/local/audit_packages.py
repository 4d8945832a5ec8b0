"""`python -m deploy.local.audit_packages`: is any pinned package known to be vulnerable? Part of `make lint`.

Asks pip-audit about every package of `tests/requirements.txt`, which holds those of the service as well: at OSV, and
where that cannot be had, at PyPI. Ends with 1 where a vulnerability is known. Without data it says so and ends with 0:
a machine without a way to the internet must be able to run the checks. pip-audit itself would then report that
nothing is known.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REQUIREMENTS = Path(__file__).parents[2] / "tests" / "requirements.txt"
SOURCES = (("--vulnerability-service", "osv"), ("--vulnerability-service", "pypi"))
TIMEOUT_SECONDS = 180


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What a source of advisories knows: `vulnerable` in sentences, `unknown` and `audited` by package name."""

    audited: tuple[str, ...]
    unknown: tuple[str, ...]
    vulnerable: tuple[str, ...]


def audit(requirements: Path, source: Sequence[str]) -> Audit | None:
    """Ask one source, given as pip-audit's options; None where it gives no answer."""
    pip_audit = [sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off"]
    command = [*pip_audit, "--disable-pip", "--require-hashes", "--requirement", str(requirements), *source]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)  # noqa: S603
        packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError):
        return None
    return Audit(
        audited=tuple(package["name"] for package in packages if "skip_reason" not in package),
        unknown=tuple(package["name"] for package in packages if "skip_reason" in package),
        vulnerable=tuple(_sentence(package, advisory) for package in packages for advisory in package.get("vulns", ())),
    )


def main(requirements: Path = REQUIREMENTS, sources: Sequence[Sequence[str]] = SOURCES) -> int:
    """Print what the first source that answers knows; the exit status."""
    found = next((answer for source in sources if (answer := audit(requirements, source)) and answer.audited), None)
    sys.stdout.write(_report(found))
    return 1 if found and found.vulnerable else 0


def _report(found: Audit | None) -> str:
    if found is None:
        return "pip-audit: no source of advisories could be reached, so NO package was audited.\n"
    lines = [f"pip-audit: {len(found.audited)} packages audited, {len(found.vulnerable)} advisories."]
    lines += [f"  {sentence}" for sentence in found.vulnerable]
    if found.unknown:
        lines.append(f"  not audited: {', '.join(found.unknown)}")
    return "".join(f"{line}\n" for line in lines)


def _sentence(package: dict[str, Any], advisory: dict[str, Any]) -> str:
    mended = ", ".join(advisory.get("fix_versions") or ()) or "no version yet"
    return f"{package['name']} {package['version']}: {advisory['id']}, mended in {mended}"


if __name__ == "__main__":
    sys.exit(main())

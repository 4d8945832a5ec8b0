"""`python -m deploy.local.audit_packages`: is any pinned package known to be vulnerable? Part of `make lint`.

Asks OSV, through pip-audit, about every package of `tests/requirements.txt`, which holds those of the service as well.
Ends with 1 where a vulnerability is known, and where pip-audit fails. Where OSV cannot be reached it says that nothing
was looked up and ends with 0: a machine without a way to the internet must be able to run the other checks.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REQUIREMENTS = Path(__file__).parents[2] / "tests" / "requirements.txt"
OSV_URL = "https://api.osv.dev/v1/query"
TIMEOUT_SECONDS = 180
# What pip-audit's last words begin with where the network is what failed.
UNREACHABLE = ("requests.exceptions.", "ERROR:pip_audit._cli:Could not connect", "urllib3.exceptions.")


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What OSV knows: `vulnerable` in sentences, `unknown` and `audited` by package name."""

    audited: tuple[str, ...]
    unknown: tuple[str, ...]
    vulnerable: tuple[str, ...]


class AuditFailed(Exception):
    """pip-audit could not do its work: its last words."""


def audit(requirements: Path, osv_url: str) -> Audit | None:
    """Ask about each package; None where OSV cannot be reached. Raises AuditFailed where pip-audit fails."""
    pip_audit = [sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off"]
    command = [*pip_audit, "--disable-pip", "--require-hashes", "--requirement", str(requirements)]
    command += ["--vulnerability-service", "osv", "--osv-url", osv_url]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)  # noqa: S603
        packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        return None
    except ValueError:
        last_words = (done.stderr.strip().splitlines() or ["no output"])[-1]
        if last_words.startswith(UNREACHABLE):
            return None
        raise AuditFailed(last_words) from None
    return Audit(
        audited=tuple(package["name"] for package in packages if "skip_reason" not in package),
        unknown=tuple(package["name"] for package in packages if "skip_reason" in package),
        vulnerable=tuple(_sentence(package, advisory) for package in packages for advisory in package.get("vulns", ())),
    )


def main(requirements: Path = REQUIREMENTS, osv_url: str = OSV_URL) -> int:
    """Print what is known; the exit status."""
    try:
        found = audit(requirements, osv_url)
    except AuditFailed as failure:
        sys.stdout.write(f"pip-audit failed: {failure}\n")
        return 1
    sys.stdout.write(_report(found))
    return 1 if found and found.vulnerable else 0


def _report(found: Audit | None) -> str:
    if found is None:
        return "pip-audit: OSV cannot be reached, so NO package was audited.\n"
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

"""`deploy/SECURITY.md` says what the suite tries: the same attacks in the same numbers, in tests that exist."""

import re
import subprocess
import sys

import pytest

from tests.support import ROOT
from tests.support.attack_counts import TITLE

DOCUMENT = (ROOT / "deploy" / "SECURITY.md").read_text()
COLLECTION_SECONDS = 120


def rows(text: str) -> dict[str, int]:
    """The rows of a table of kinds and counts."""
    return {kind: int(count) for kind, count in re.findall(r"^\| ([^|]+) \| (\d+) \|$", text, flags=re.MULTILINE)}


def test_the_attacks_are_those_that_the_suite_tries() -> None:
    collect = [sys.executable, "-m", "pytest", "--collect-only", "-q"]
    done = subprocess.run(collect, cwd=ROOT, capture_output=True, text=True, timeout=COLLECTION_SECONDS, check=False)
    printed = rows(done.stdout.partition(TITLE)[2])
    assert printed, done.stdout[-2000:] + done.stderr
    assert rows(DOCUMENT) == printed


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:app|deploy|tests)/[\w/.]+)`", DOCUMENT))))
def test_a_file_that_is_named_exists(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize("finding", ["2.1", "2.5", "3.6", "3.8"])
def test_each_finding_about_security_is_answered(finding: str) -> None:
    assert re.search(rf"^\| {re.escape(finding)} \|", DOCUMENT, flags=re.MULTILINE)

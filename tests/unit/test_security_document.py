"""`deploy/SECURITY.md` names the attacks of the suite, files that exist and each finding about security."""

import re
from collections import defaultdict

import pytest

from tests.support import ROOT

DOCUMENT = (ROOT / "deploy" / "SECURITY.md").read_text()


def test_the_kinds_of_attacks_are_those_of_the_suite() -> None:
    marked = defaultdict(set)
    for path in (ROOT / "tests").rglob("test_*.py"):
        for kind in re.findall(r'attack\("([^"]+)"\)', path.read_text()):
            marked[kind].add(str(path.relative_to(ROOT)))
    _, _, table = DOCUMENT.partition("## Attacks tried")
    rows = re.findall(r"^\| ([^|]+) \| (`[^|]+`) \|$", table, flags=re.MULTILINE)
    assert {kind: set(re.findall(r"`([^`]+)`", places)) for kind, places in rows} == marked


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:app|deploy|tests)/[\w/.]+)`", DOCUMENT))))
def test_a_file_that_is_named_exists(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize("finding", ["2.1", "2.5", "3.6", "3.8"])
def test_each_finding_about_security_is_answered(finding: str) -> None:
    assert re.search(rf"^\| {re.escape(finding)} \|", DOCUMENT, flags=re.MULTILINE)

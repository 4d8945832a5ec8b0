"""Counts the attacks that the suite tries, by kind, and prints them at its end: each test marked `attack(kind)` is one.

A pytest plugin. `deploy/SECURITY.md` holds the same table; `tests/unit/test_security_document.py` compares them.
"""

from collections import Counter

import pytest

TITLE = "attacks tried"
_counts: Counter[str] = Counter()


@pytest.hookimpl(tryfirst=True)  # before -k and -m leave any out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Count what was collected."""
    _counts.update(mark.args[0] for item in items for mark in item.iter_markers("attack"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table in Markdown's form."""
    if _counts:
        terminalreporter.section(TITLE)
        for kind, count in sorted(_counts.items()):
            terminalreporter.line(f"| {kind} | {count} |")
        terminalreporter.line(f"| all | {_counts.total()} |")

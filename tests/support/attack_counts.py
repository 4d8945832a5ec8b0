"""A pytest plugin that prints how many attacks of each kind the suite holds: the tests marked `attack(kind)`.

With pytest-xdist the workers collect the tests, so a worker sends its counts to the controller.
"""

from collections import Counter
from typing import Any

import pytest

_counts: Counter[str] = Counter()


@pytest.hookimpl(tryfirst=True)  # before -k and -m deselect tests
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    _counts.update(mark.args[0] for item in items for mark in item.iter_markers("attack"))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send the counts to the controller, from a worker."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["attacks"] = dict(_counts)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take the counts of a worker; every worker collects all tests."""
    _counts.update(Counter(getattr(node, "workeroutput", {}).get("attacks", {})) - _counts)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _counts:
        terminalreporter.section("attacks tried")
        for kind, count in sorted(_counts.items()):
            terminalreporter.line(f"| {kind} | {count} |")
        terminalreporter.line(f"| all | {_counts.total()} |")

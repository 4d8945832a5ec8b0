"""A `Retry-After` that is true."""

import time
from collections.abc import Callable
from typing import Any


def assert_let_in_after_a_second(ask: Callable[[], Any]) -> None:
    """Ask until it is refused; whatever is asked once the second that is told has passed must be let in."""
    answer = ask()
    while answer.status_code != 429:
        answer = ask()
    assert answer.headers["Retry-After"] == "1"
    told_at = asked_at = time.monotonic()
    while answer.status_code == 429:
        assert asked_at < told_at + 1
        asked_at = time.monotonic()
        answer = ask()

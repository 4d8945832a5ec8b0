"""The table of login attempts under a flood of failing accounts: it stays bounded, and expired rows go."""

from collections.abc import Iterator

import pytest
from flask import Flask
from sqlalchemy import Engine

from app.auth import login_attempts
from tests.support.login_attempts import count_rows, emptied_table, flood, guess
from tests.support.waiting import in_parallel

WORKERS = 8


@pytest.fixture(autouse=True)
def table(app: Flask, engine: Engine) -> Iterator[None]:
    with emptied_table():
        yield


@pytest.mark.attack("logins")
def test_a_flood_of_failing_pairs_leaves_it_bounded() -> None:
    flood(100_000, seconds_left=250)
    # Each new row trims its slot, so that many trim every one.
    assert all(in_parallel(guess, 2_000, abreast=WORKERS))
    assert count_rows() <= login_attempts.MAX_FAILING_ROWS + WORKERS


def test_what_expired_is_removed_faster_than_rows_are_added() -> None:
    flood(20_000, seconds_left=-1)
    assert all(in_parallel(guess, 500, abreast=WORKERS))
    # Who cleans at once may look at the same rows; then one leaves them to the other.
    removed = 500 * login_attempts.EXPIRED_REMOVED_AT_ONCE // WORKERS
    assert count_rows() <= 20_000 + 2 * 500 - removed

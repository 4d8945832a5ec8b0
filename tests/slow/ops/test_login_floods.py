"""The table of login attempts under a flood: it does not grow beyond what counts, as expired rows are deleted."""

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
def test_what_expired_is_removed_faster_than_rows_are_added() -> None:
    flood(20_000, seconds_left=-1)
    assert all(in_parallel(guess, 500, abreast=WORKERS))
    # Who cleans at once may look at the same rows; then one leaves them to the other.
    removed = 500 * login_attempts.EXPIRED_BATCH_ROWS // WORKERS
    assert count_rows() <= 20_000 + 2 * 500 - removed

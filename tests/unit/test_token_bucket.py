"""Token buckets: the burst, the rate and the wait that a refusal gives, with a fake clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.realtime.token_bucket import TokenBucket
from tests.support.fakes import Clock


@pytest.fixture
def bucket(clock: Clock) -> TokenBucket:
    """Four a second, ten at once."""
    return TokenBucket(4, 10, clock)


def take_all(bucket: TokenBucket) -> int:
    taken = 0
    while not bucket.take():
        taken += 1
    return taken


def test_who_is_refused_is_told_when_it_will_pass(bucket: TokenBucket, clock: Clock) -> None:
    take_all(bucket)
    assert bucket.take() == 0.25
    clock.now += 0.125
    assert bucket.take() == 0.125
    clock.now += 0.125
    assert bucket.take() == 0.0
    assert bucket.take() == 0.25


def test_it_fills_at_its_rate_and_never_beyond_the_burst(bucket: TokenBucket, clock: Clock) -> None:
    assert take_all(bucket) == 10
    for seconds, tokens in ((0.5, 2), (1, 4), (2.5, 10), (3, 10), (1e9, 10)):
        clock.now += seconds
        assert take_all(bucket) == tokens


def test_several_are_taken_together_or_not_at_all(bucket: TokenBucket) -> None:
    assert bucket.take(8) == 0.0
    assert bucket.take(3) == 0.25
    assert bucket.take(2) == 0.0


def test_taking_none_is_free(bucket: TokenBucket) -> None:
    take_all(bucket)
    assert bucket.take(0) == 0.0


@given(
    per_second=st.integers(1, 1000),
    burst=st.integers(1, 1000),
    pauses=st.lists(st.floats(0, 5), min_size=1, max_size=200),
)
def test_however_it_is_asked_no_more_pass_than_the_burst_and_the_rate_allow(
    per_second: int, burst: int, pauses: list[float]
) -> None:
    clock = Clock()
    bucket = TokenBucket(per_second, burst, clock)
    passed = 0
    for pause in pauses:
        clock.now += pause
        passed += not bucket.take()
    assert passed <= burst + (clock.now - 1000.0) * per_second + 1e-6


@given(per_second=st.floats(0.1, 1000), burst=st.integers(1, 100), pause=st.floats(0, 0.1))
def test_who_waits_as_long_as_told_need_not_wait_again(per_second: float, burst: int, pause: float) -> None:
    clock = Clock()
    bucket = TokenBucket(per_second, burst, clock)
    take_all(bucket)
    clock.now += pause
    wait = bucket.take()
    clock.now += wait
    assert not wait or bucket.take() < 1e-6  # what floating point loses on the way

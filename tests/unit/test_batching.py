"""Batched reads: which concurrent calls share a query, and the effect of a failure."""

from collections.abc import Callable, Sequence
from functools import partial

import gevent
import pytest
from gevent.event import Event

from app.db.batching import BatchLoader, SingleFlight
from app.errors import NotFound, Unavailable

SECONDS = 5


class Table:
    """Rows and a log of the reads. Each read waits until `is_open` is set."""

    def __init__(self) -> None:
        self.rows = {"a": 1, "b": 2, "c": 3}
        self.reads: list[list[str]] = []
        self.is_open = Event()
        self.error: Exception | None = None

    def read(self, keys: Sequence[str]) -> dict[str, int]:
        self.reads.append(list(keys))
        seen = {key: self.rows[key] for key in keys if key in self.rows}
        error = self.error
        self.is_open.wait(SECONDS)
        if error is not None:
            raise error
        return seen


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture
def loader(table: Table) -> BatchLoader[str, int]:
    return BatchLoader(table.read)


def begin(*calls: Callable[[], object]) -> list[gevent.Greenlet]:
    """Let each call run until it waits."""
    greenlets = [gevent.spawn(call) for call in calls]
    gevent.idle()
    return greenlets


def results(greenlets: Sequence[gevent.Greenlet]) -> list[object]:
    gevent.joinall(greenlets, timeout=SECONDS)
    return [greenlet.get(block=False) for greenlet in greenlets]


def test_concurrent_calls_share_a_read(table: Table, loader: BatchLoader[str, int]) -> None:
    calls = begin(*(partial(loader.get, key) for key in ("a", "b", "c", "b", "missing")))
    table.is_open.set()
    assert results(calls) == [1, 2, 3, 2, None]
    assert table.reads == [["a", "b", "c", "missing"]]


def test_a_call_does_not_join_a_read_that_has_begun(table: Table, loader: BatchLoader[str, int]) -> None:
    before = begin(partial(loader.get, "b"))
    table.rows["b"] = 20
    after = begin(partial(loader.get, "b"))
    table.is_open.set()
    assert (results(before), results(after)) == ([2], [20])


def test_a_read_that_hangs_delays_no_later_one(table: Table, loader: BatchLoader[str, int]) -> None:
    hanging = begin(partial(loader.get, "a"))
    table.is_open = Event()
    table.is_open.set()
    assert results(begin(partial(loader.get, "b"))) == [2]
    assert not hanging[0].ready()
    gevent.killall(hanging)


def test_a_failure_is_raised_in_all_calls_that_shared_the_read_and_in_no_other(
    table: Table, loader: BatchLoader[str, int]
) -> None:
    def message(key: str) -> str | None:
        with pytest.raises(NotFound) as raised:
            loader.get(key)
        return raised.value.message

    table.is_open.set()
    table.error = NotFound("gone")
    failing = begin(partial(message, "a"), partial(message, "b"))
    table.error = None
    assert results(failing) == ["gone", "gone"]
    assert loader.get("b") == 2


@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_call_fails_no_other(table: Table, loader: BatchLoader[str, int], killed: int) -> None:
    calls = begin(partial(loader.get, "a"), partial(loader.get, "b"))
    calls.pop(killed).kill()
    table.is_open.set()
    assert results(calls) == [2 - killed]


def test_the_wait_for_a_read_is_bounded(loader: BatchLoader[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.db.batching.SHARED_READ_SECONDS", 0.001)
    with pytest.raises(Unavailable):
        loader.get("a")


def test_a_read_takes_a_bounded_number_of_keys(
    table: Table, loader: BatchLoader[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.db.batching.MAX_KEYS", 2)
    table.is_open.set()
    calls = begin(*(partial(loader.get, key) for key in ("a", "b", "c", "missing", "absent")))
    assert results(calls) == [1, 2, 3, None, None]
    assert table.reads == [["a", "b"], ["c", "missing"], ["absent"]]


def test_a_unit_of_work_reads_by_itself(
    table: Table, loader: BatchLoader[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.db.session.in_unit_of_work", lambda: True)
    calls = begin(partial(loader.get, "a"), partial(loader.get, "b"))
    assert table.reads == [["a"], ["b"]]
    table.is_open.set()
    assert results(calls) == [1, 2]


def test_equal_concurrent_reads_are_made_once_and_different_ones_side_by_side(table: Table) -> None:
    flight: SingleFlight[str, int | None] = SingleFlight()

    def get(key: str) -> int | None:
        return flight.get(key, lambda: table.read([key]).get(key))

    calls = begin(*(partial(get, key) for key in ("a", "a", "b", "missing", "a")))
    assert sorted(table.reads) == [["a"], ["b"], ["missing"]]
    table.is_open.set()
    assert results(calls) == [1, 1, 2, None, 1]
    table.rows["a"] = 10
    assert get("a") == 10

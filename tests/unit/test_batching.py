"""Single-flight and batched reads: which concurrent requests share a read, and the effect of a failure."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import gevent
import pytest
from gevent.event import Event

from app.db.batching import BatchLoader, SingleFlight
from app.errors import NotFound, Unavailable

SECONDS = 5


class Table:
    """What is read, and a log of the reads; each waits at the gate, if that is shut, until it is opened."""

    def __init__(self) -> None:
        self.rows = {"a": 1, "b": 2, "c": 3}
        self.reads: list[list[str]] = []
        self.is_open = Event()
        self.is_open.set()

    def read(self, keys: Sequence[str]) -> dict[str, int]:
        self.reads.append(list(keys))
        seen = {key: self.rows[key] for key in keys if key in self.rows}
        self.is_open.wait(SECONDS)
        return seen


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch waits for the read before it, however slow the machine is."""
    monkeypatch.setattr("app.db.batching.PATIENCE_SECONDS", SECONDS)


@pytest.fixture
def shared(table: Table) -> BatchLoader[str, int]:
    return BatchLoader(table.read)


def begin(*calls: Callable[[], object]) -> list[gevent.Greenlet]:
    """Let each run until it waits for something."""
    greenlets = [gevent.spawn(call) for call in calls]
    gevent.idle()
    return greenlets


def ends(greenlets: Sequence[gevent.Greenlet]) -> list[object]:
    gevent.joinall(greenlets, timeout=SECONDS)
    return [greenlet.get(block=False) for greenlet in greenlets]


def test_those_who_come_while_a_read_is_under_way_share_the_next(table: Table, shared: BatchLoader[str, int]) -> None:
    table.is_open.clear()
    asking = begin(*(partial(shared.get, key) for key in ("a", "b", "c", "b", "nowhere")))
    table.is_open.set()
    assert ends(asking) == [1, 2, 3, 2, None]
    assert table.reads == [["a"], ["b", "c", "nowhere"]]


def test_a_read_that_runs_already_takes_nobody_in(table: Table, shared: BatchLoader[str, int]) -> None:
    table.is_open.clear()
    first = begin(lambda: shared.get("a"))
    second = begin(lambda: shared.get("b"))
    table.is_open.set()
    gevent.joinall(first, timeout=SECONDS)
    table.is_open.clear()
    gevent.idle()
    table.rows["b"] = 20
    third = begin(lambda: shared.get("b"))
    table.is_open.set()
    assert (ends(second), ends(third)) == ([2], [20])


def test_a_read_that_hangs_holds_nobody_up(
    table: Table, shared: BatchLoader[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.db.batching.PATIENCE_SECONDS", 0.001)
    table.is_open.clear()
    hanging = begin(lambda: shared.get("a"))
    table.is_open = Event()
    table.is_open.set()
    assert ends(begin(lambda: shared.get("b"))) == [2]
    assert not hanging[0].ready()
    gevent.killall(hanging)


def test_a_failure_is_for_all_who_shared_the_read_and_for_nobody_else() -> None:
    is_open = Event()
    answers: Iterator[dict[str, int] | NotFound] = iter([{"a": 1}, NotFound("gone"), {"b": 2}])

    def read(_: Sequence[str]) -> dict[str, int]:
        answer = next(answers)
        is_open.wait(SECONDS)
        if isinstance(answer, Exception):
            raise answer
        return answer

    shared = BatchLoader(read)

    def outcome(key: str) -> object:
        try:
            return shared.get(key)
        except NotFound as error:
            return error.message

    asking = begin(lambda: outcome("a"), lambda: outcome("b"), lambda: outcome("c"))
    is_open.set()
    assert ends(asking) == [1, "gone", "gone"]
    assert shared.get("b") == 2


def test_who_shared_a_read_that_was_cut_off_is_told_to_ask_again(table: Table, shared: BatchLoader[str, int]) -> None:
    table.is_open.clear()
    first, leading = begin(lambda: shared.get("a"), lambda: shared.get("b"))

    def refused() -> bool:
        with pytest.raises(Unavailable):
            shared.get("c")
        return True

    following = begin(refused)
    leading.kill()
    table.is_open.set()
    assert ends([first, *following]) == [1, True]
    assert shared.get("c") == 3


def test_a_read_takes_no_more_keys_than_it_may(table: Table) -> None:
    shared = BatchLoader(table.read, most=2)
    table.is_open.clear()
    asking = begin(*(partial(shared.get, key) for key in ("a", "b", "c", "nowhere", "elsewhere")))
    table.is_open.set()
    assert ends(asking) == [1, 2, 3, None, None]
    assert table.reads[0] == ["a"]
    assert max(map(len, table.reads)) == 2


def test_a_part_of_a_whole_reads_for_itself(
    table: Table, shared: BatchLoader[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    table.is_open.clear()
    asking = begin(lambda: shared.get("a"), lambda: shared.get("b"))
    monkeypatch.setattr("app.db.session.in_unit_of_work", lambda: True)
    asking += begin(lambda: shared.get("c"))
    assert table.reads == [["a"], ["c"]]
    table.is_open.set()
    assert ends(asking) == [1, 2, 3]


class TestAlike:
    def test_those_who_ask_for_the_same_share_the_next_read_and_others_do_not_wait(self) -> None:
        gates, reads = {"slow": Event(), "quick": Event()}, []

        def read(key: str) -> str:
            reads.append(key)
            gates[key].wait(SECONDS)
            return key.upper()

        alike = SingleFlight(read)
        slow = begin(*(partial(alike.get, "slow") for _ in range(3)))
        quick = begin(partial(alike.get, "quick"))
        gates["quick"].set()
        assert ends(quick) == ["QUICK"]
        gates["slow"].set()
        assert ends(slow) == ["SLOW"] * 3
        assert reads.count("slow") == 2

    def test_neither_a_result_nor_a_failure_is_kept(self) -> None:
        answers = iter(range(2))

        def read(_: str) -> int:
            for answer in answers:
                return answer
            raise NotFound("gone")

        alike = SingleFlight(read)
        assert [alike.get("a"), alike.get("a")] == [0, 1]
        for _ in range(2):
            with pytest.raises(NotFound):
                alike.get("a")
        assert not alike._asked

"""The rows of the table, each by the name that it can be run alone by, in the order of the table."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.benchmarks.findings import Finding
from tests.benchmarks.rows import growing, memory, reading, sockets, writing
from tests.benchmarks.stage import Stage


@dataclass(frozen=True)
class Row:
    """`run` measures. It raises BenchmarkFailed or LocalError where that cannot be done."""

    name: str
    run: Callable[[Stage], list[Finding]]

    @property
    def description(self) -> str:
        return (self.run.__doc__ or "").partition("\n")[0]


ROWS = (
    Row("radius", reading.radius_search),
    Row("filtered", reading.filtered_search),
    Row("list", reading.unfiltered_list),
    Row("one", reading.one_listing),
    Row("one-304", reading.unchanged_listing),
    Row("me", reading.who_am_i),
    Row("message", writing.send_message),
    Row("cursor", growing.deep_page),
    Row("list-growth", growing.list_growth),
    Row("radius-growth", growing.radius_growth),
    Row("chat", sockets.chat),
    Row("idle", sockets.idle_sockets),
    Row("memory", memory.mixed_requests),
)

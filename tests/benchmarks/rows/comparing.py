"""Sides of a comparison, each over the run's own number of connections, and taking them in turn."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack

from tests.benchmarks.interleaving import Sample, Side, interleave
from tests.benchmarks.pgbench import Pgbench, Script
from tests.benchmarks.stage import Server, Stage
from tests.benchmarks.wrk import HttpLoad, Request

PGBENCH = "pgbench, the same statement"
EMPTY = "an empty view"


def http(stage: Stage, server: Server, requests: Sequence[Request]) -> HttpLoad:
    return HttpLoad(server.port, requests, connections=stage.scale.connections)


def alone(_stage: Stage, server: Server, requests: Sequence[Request]) -> HttpLoad:
    """These requests one by one. Concurrent requests for single listings share a read, which would hide its cost."""
    return HttpLoad(server.port, requests, connections=1)


def empty_view(stage: Stage) -> HttpLoad:
    return http(stage, stage.empty_view, [Request("/")])


def pgbench(stage: Stage, scripts: Sequence[Script]) -> Pgbench:
    """These statements, over the data that most rows are about."""
    url = stage.database(stage.medium)
    return Pgbench(stage.cluster.data, url, scripts, connections=stage.scale.connections)


def compare(stage: Stage, *sides: AbstractContextManager[Side]) -> list[list[Sample]]:
    with ExitStack() as entered:
        ready = [entered.enter_context(side) for side in sides]
        return interleave(ready, rounds=stage.scale.rounds, seconds=stage.scale.seconds)

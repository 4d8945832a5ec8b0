"""Open sockets: what is said over many of them, and what it costs to have them."""

from collections.abc import Sequence
from contextlib import closing
from itertools import cycle, islice
from statistics import median
from typing import Any

from tests.benchmarks import questions
from tests.benchmarks.client_pool import ClientPool
from tests.benchmarks.findings import Finding, Target
from tests.benchmarks.interleaving import BenchmarkFailed, Sample, typical
from tests.benchmarks.people import begin_conversations
from tests.benchmarks.rows.comparing import http
from tests.benchmarks.stage import Stage
from tests.benchmarks.wrk import HttpLoad

DEVICES = 2  # sockets of one person, in the chat
LEAST_SHARE_OF_RATE = 0.95  # below, it was the client that could not keep up
WARM_UP_SOCKETS = 100


def chat(stage: Stage) -> list[Finding]:
    """Chat: 1,000 sockets on 2 workers, 200 messages a second, none lost"""
    data, scale = stage.medium, stage.scale
    people = stage.people(data)[: scale.chat_sockets // DEVICES]
    begin_conversations(stage.cluster, data.database, len(people))
    messages = round(scale.chat_messages_per_second * scale.chat_seconds)
    with (
        closing(stage.new_service(data)) as service,
        ClientPool(
            service.port, people * DEVICES, messages=messages, per_second=scale.chat_messages_per_second
        ) as client_pool,
    ):
        outcome = client_pool.outcome()
    _check(outcome, scale.chat_messages_per_second)
    what = f"chat, {len(people) * DEVICES:,} sockets: send → "
    return [
        _within(f"{what}ack", outcome["per_second"], outcome["ack_ms"], at_most=150),
        _within(f"{what}deliver", outcome["per_second"], outcome["deliver_ms"], at_most=200),
    ]


def _check(outcome: dict[str, Any], per_second: float) -> None:
    wrong = {name: outcome[name] for name in ("unacknowledged", "lost", "heard_twice", "disorder", "errors")}
    if any(wrong.values()):
        raise BenchmarkFailed(f"not every message arrived once and in order: {wrong}")
    if outcome["per_second"] < per_second * LEAST_SHARE_OF_RATE:
        raise BenchmarkFailed(f"the client sent only {outcome['per_second']:.0f} messages a second")


def _within(what: str, per_second: float, times_ms: dict[str, float], *, at_most: float) -> Finding:
    return Finding(
        what=what,
        reference="p99, none lost",
        figure=times_ms["p99"],
        target=Target(at_most, "ms", at_least=False),
        measured=Sample(per_second=per_second, p50_ms=times_ms["p50"], p99_ms=times_ms["p99"]),
    )


def idle_sockets(stage: Stage) -> list[Finding]:
    """5,000 idle sockets on 2 workers: their memory, and HTTP beside them"""
    data, number = stage.medium, stage.scale.idle_sockets
    people = list(islice(cycle(stage.people(data)), number))
    begin_conversations(stage.cluster, data.database, stage.scale.people)
    requests = questions.single(stage.database(data))
    with closing(stage.new_service(data)) as service, http(stage, service, requests) as load:
        with ClientPool(service.port, people[:WARM_UP_SOCKETS]):
            load(stage.scale.seconds)
        without = _samples(stage, load)
        before_kib = service.rss_kib()
        with ClientPool(service.port, people) as client_pool:
            after_kib = service.rss_kib()
            with_sockets = _samples(stage, load)
            if (still := client_pool.still_open()) < number:
                raise BenchmarkFailed(f"only {still} of {number} sockets stayed open")
        without += _samples(stage, load)
    what = f"{number:,} idle sockets"
    return [
        Finding(
            what=f"{what}: memory of each",
            reference=f"{before_kib / 1024:.0f} MiB before, {after_kib / 1024:.0f} MiB with them",
            figure=(after_kib - before_kib) / number,
            target=Target(60, "KB", at_least=False),
        ),
        Finding(
            what=f"{what}: p99 of HTTP beside them",
            reference="p99 without them",
            figure=_p99(with_sockets) / _p99(without),
            target=Target(1.5, at_least=False),
            measured=typical(with_sockets),
            compared_with=typical(without),
            samples={"ours": with_sockets, "reference": without},
        ),
    ]


def _samples(stage: Stage, load: HttpLoad) -> list[Sample]:
    return [load(stage.scale.seconds) for _ in range(stage.scale.rounds)]


def _p99(samples: Sequence[Sample]) -> float:
    return median(sample.p99_ms or 0.0 for sample in samples)

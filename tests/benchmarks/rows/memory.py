"""What many requests leave behind."""

import time
from contextlib import closing
from random import Random

from tests.benchmarks import questions
from tests.benchmarks.findings import Finding, Target
from tests.benchmarks.interleaving import BenchmarkFailed
from tests.benchmarks.people import begin_conversations
from tests.benchmarks.rows.comparing import http
from tests.benchmarks.stage import Stage
from tests.benchmarks.wrk import Request

REQUESTS = 10_000  # that are drawn from
SHARES = {"nearby": 20, "filtered": 10, "newest": 10, "single": 20, "unchanged": 10, "own_account": 10}
SHARES |= {"messages": 8, "histories": 7, "missing": 5}
MOST_REFUSED = 0.10  # of which half are what is missing
CHUNK_SECONDS = 5
MOST_SECONDS = 300
NOT_FOUND = 404


def mixed_requests(stage: Stage) -> list[Finding]:
    """Memory of the workers after 200,000 mixed requests, against after 20,000"""
    data, scale = stage.medium, stage.scale
    rss_kib: dict[int, int] = {}
    with closing(stage.new_service(data)) as service, http(stage, service, _mixture(stage, service.port)) as load:
        done, refused, deadline = 0, 0, time.monotonic() + MOST_SECONDS
        for mark in (scale.few_requests, scale.many_requests):
            while done < mark:
                if time.monotonic() > deadline:
                    raise BenchmarkFailed(f"only {done:,} requests were answered in {MOST_SECONDS} s")
                answers = load.answers(min(CHUNK_SECONDS, scale.seconds))
                done, refused = done + answers.requests, refused + answers.refused
            rss_kib[mark] = service.rss_kib()
    if refused > done * MOST_REFUSED:
        raise BenchmarkFailed(f"{refused:,} of {done:,} requests were answered by 400 or above")
    before, after = rss_kib[scale.few_requests], rss_kib[scale.many_requests]
    return [
        Finding(
            what=f"memory after {scale.many_requests:,} requests: {after / 1024:.0f} MiB",
            reference=f"after {scale.few_requests:,}: {before / 1024:.0f} MiB",
            figure=(after / before - 1) * 100,
            target=Target(5, "%", at_least=False),
        )
    ]


def _mixture(stage: Stage, port: int) -> list[Request]:
    """All that the other rows ask, and what is not there."""
    data, people = stage.medium, stage.people(stage.medium)
    url = stage.database(data)
    begin_conversations(stage.cluster, data.database, len(people))
    kinds = {
        "nearby": questions.nearby(data),
        "filtered": questions.filtered(data),
        "newest": questions.newest(),
        "single": questions.single(url),
        "unchanged": questions.unchanged(url, port),
        "own_account": questions.own_account(people),
        "messages": questions.messages(people),
        "histories": questions.histories(people),
        "missing": [Request(f"{questions.EQUIPMENT}/00000000-0000-0000-0000-000000000000", status=NOT_FOUND)],
    }
    random = Random(REQUESTS)
    names = random.choices(list(SHARES), list(SHARES.values()), k=REQUESTS)
    # The first is one that has a counter: by that one, the script knows whether there are any.
    return [random.choice(kinds[name]) for name in ("messages", *names)]

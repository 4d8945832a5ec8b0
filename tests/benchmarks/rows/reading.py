"""Reading over HTTP, beside PostgreSQL, an empty view, and the conventional way."""

import json
from collections.abc import Sequence
from statistics import mean

from tests.benchmarks import questions
from tests.benchmarks.dataset import FILTERED_RADIUS_KM, HITS, RADIUS_KM, words_of_searches
from tests.benchmarks.findings import Finding, share_of, tail
from tests.benchmarks.interleaving import BenchmarkFailed
from tests.benchmarks.rows.comparing import EMPTY, PGBENCH, compare, empty_view, http, pgbench
from tests.benchmarks.stage import Server, Stage
from tests.benchmarks.statements import radius_search as radius_statement
from tests.benchmarks.wrk import HttpLoad, Request, ask

LOOKED_AT = 100  # answers, before or after the load
# Whichever worker is free takes a connection: of a few, one may take all.
ENOUGH_FOR_EACH_WORKER = 128
OFF_BY = 0.25  # the most that the average number of hits may be


def radius_search(stage: Stage) -> list[Finding]:
    """Radius search: ~65 hits, a page of 20 with photos, exact total"""
    data = stage.medium
    service, requests = stage.service(data), questions.nearby(data)
    _check_hits(service, requests)
    statement = radius_statement(data.box.without_margin(RADIUS_KM), RADIUS_KM)
    ours, postgres, conventional = compare(
        stage, http(stage, service, requests), pgbench(stage, [statement]), http(stage, stage.conventional, requests)
    )
    what = f"radius search, {data.listings:,} listings"
    return [
        share_of(what, ours, PGBENCH, postgres, at_least=0.40),
        share_of(what, ours, "the conventional way", conventional, at_least=3.2),
        tail(what, ours, at_most=3),
    ]


def filtered_search(stage: Stage) -> list[Finding]:
    """Radius search with words, price, category subtree and availability"""
    data = stage.medium
    box = data.box.without_margin(FILTERED_RADIUS_KM)
    statements = [radius_statement(box, FILTERED_RADIUS_KM, words) for words in words_of_searches()]
    ours, postgres = compare(
        stage, http(stage, stage.service(data), questions.filtered(data)), pgbench(stage, statements)
    )
    return [share_of("the same with four more filters", ours, PGBENCH, postgres, at_least=0.60)]


def unfiltered_list(stage: Stage) -> list[Finding]:
    """Unfiltered list, newest first, with exact total"""
    return _beside_empty(stage, "unfiltered list, newest first", questions.newest(), at_least=0.34)


def one_listing(stage: Stage) -> list[Finding]:
    """One listing by id, out of all"""
    requests = questions.single(stage.database(stage.medium))
    return _beside_empty(stage, "one listing by id", requests, at_least=0.36)


def unchanged_listing(stage: Stage) -> list[Finding]:
    """One listing that the client has already: a 304"""
    url, service = stage.database(stage.medium), stage.service(stage.medium)
    requests = questions.unchanged(url, service.port)
    findings = _beside_empty(stage, "one listing, 304", requests, at_least=0.38)
    ask(service.port, requests[:LOOKED_AT])  # and are they still answered by a 304?
    return findings


def who_am_i(stage: Stage) -> list[Finding]:
    """GET /auth/me with the tokens of many people; no JWKS fetch in steady state"""
    service, requests = stage.service(stage.medium), questions.own_account(stage.people(stage.medium))
    with HttpLoad(service.port, requests, connections=ENOUGH_FOR_EACH_WORKER) as load:
        load(stage.scale.seconds)  # from here on, both workers have the keys
    fetches = _key_fetches(stage)
    ours, empty = compare(stage, http(stage, service, requests), empty_view(stage))
    if (more := _key_fetches(stage) - fetches) > 0:
        raise BenchmarkFailed(f"the tenant's keys were fetched {more} times in steady state")
    return [share_of("GET /auth/me", ours, EMPTY, empty, at_least=0.36)]


def _key_fetches(stage: Stage) -> int:
    return int(stage.tenant.counters()["endpoints"]["jwks"])


def _beside_empty(stage: Stage, what: str, requests: Sequence[Request], *, at_least: float) -> list[Finding]:
    ours, empty = compare(stage, http(stage, stage.service(stage.medium), requests), empty_view(stage))
    return [share_of(what, ours, EMPTY, empty, at_least=at_least)]


def _check_hits(service: Server, requests: Sequence[Request]) -> None:
    """The searches find as much as the row says that they do."""
    totals = [json.loads(body)["total"] for _, body in ask(service.port, requests[:LOOKED_AT])]
    if abs(mean(totals) - HITS) > HITS * OFF_BY:
        raise BenchmarkFailed(f"the searches find {mean(totals):.0f} listings on average, not {HITS}")

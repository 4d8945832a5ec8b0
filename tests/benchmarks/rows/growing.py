"""What becomes slower as there is more: pages far down a list, and tables with more in them."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace

from tests.benchmarks import questions
from tests.benchmarks.dataset import Dataset
from tests.benchmarks.findings import Finding, slower_than
from tests.benchmarks.rows.comparing import alone, compare, http
from tests.benchmarks.stage import Server, Stage
from tests.benchmarks.wrk import HttpLoad, Request, ask

DEEP_PAGES = 20


def deep_page(stage: Stage) -> list[Finding]:
    """Page 5,000 by cursor, against page 1"""
    service, number = stage.service(stage.medium), stage.scale.deep_page
    # A page's number leads to the cursor of the one behind it without walking there.
    pages_before = [Request(f"{questions.EQUIPMENT}?page={number - 1 - back}") for back in range(DEEP_PAGES)]
    cursors = [json.loads(body)["next_cursor"] for _, body in ask(service.port, pages_before)]
    deep, first = compare(
        stage,
        alone(stage, service, [Request(f"{questions.EQUIPMENT}?cursor={cursor}") for cursor in cursors]),
        alone(stage, service, questions.newest()),
    )
    return [slower_than(f"page {number:,} by cursor", deep, "page 1", first, at_most=1.2)]


def list_growth(stage: Stage) -> list[Finding]:
    """Unfiltered list with exact total, among 20,000 and among 1,000,000 listings"""
    return _growth(stage, "unfiltered list", lambda _: questions.newest(), alone, at_most=1.2)


def radius_growth(stage: Stage) -> list[Finding]:
    """Radius search at equal density, among 20,000 and among 1,000,000 listings"""
    return _growth(stage, "radius search", questions.nearby, http, at_most=1.5)


def _growth(
    stage: Stage,
    what: str,
    questions_of: Callable[[Dataset], Sequence[Request]],
    asking: Callable[[Stage, Server, Sequence[Request]], HttpLoad],
    *,
    at_most: float,
) -> list[Finding]:
    sizes = [stage.small, stage.medium, stage.large]
    samples = compare(stage, *(asking(stage, stage.service(data), questions_of(data)) for data in sizes))
    largest, smallest = (f"{data.listings:,} listings" for data in (sizes[-1], sizes[0]))
    finding = slower_than(f"{what}, {largest}", samples[-1], smallest, samples[0], at_most=at_most)
    by_size = {f"{data.listings:,} listings": taken for data, taken in zip(sizes, samples, strict=True)}
    return [replace(finding, samples=by_size)]

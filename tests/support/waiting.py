"""Several services, and many requests, at once; and waiting for what must come about."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import requests

from deploy.local.processes import wait_until
from tests.support.processes.service import ServiceProcess
from tests.support.processes.tenant import TenantProcess

T = TypeVar("T")
ME = "/api/v1/auth/me"
PATIENCE_SECONDS = 30


@contextmanager
def side_by_side(services: dict[str, ServiceProcess]) -> Iterator[dict[str, ServiceProcess]]:
    """Run them all; they start at once and end at once."""

    def end(service: ServiceProcess) -> None:
        service.__exit__(None, None, None)

    with ThreadPoolExecutor(len(services)) as pool:
        try:
            for service in services.values():
                service.launch()
            list(pool.map(ServiceProcess.wait_until_ready, services.values()))
            yield services
        finally:
            list(pool.map(end, services.values()))


def until(condition: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until the condition is true; fail if it is not within these seconds."""
    assert wait_until(condition, seconds), "the condition did not become true in time"


def replace_workers(service: ServiceProcess) -> None:
    """Reload (HUP), and wait until as many new workers serve and the old ones, which end their requests, are gone."""
    before = set(service.worker_pids())
    service.reload()
    until(lambda: not before & set(service.worker_pids()) and len(service.worker_pids()) == len(before))


def in_parallel(call: Callable[[int], T], times: int = 20, *, abreast: int = 20) -> list[T]:
    """The results of calls with 0, 1, 2, …, so many at once."""
    with ThreadPoolExecutor(abreast) as pool:
        return list(pool.map(call, range(times)))


def all_at_once(service: ServiceProcess, tokens: list[str], *, abreast: int = 50) -> list[requests.Response]:
    """One request for each token, so many side by side, each on a connection of its own: so they reach every worker."""

    def ask(token: str) -> requests.Response:
        return service.request("GET", ME, headers={"Authorization": f"Bearer {token}", "Connection": "close"})

    return in_parallel(lambda number: ask(tokens[number]), len(tokens), abreast=abreast)


def statuses(answers: list[requests.Response]) -> dict[int, int]:
    return dict(Counter(answer.status_code for answer in answers))


def key_fetches(tenant: TenantProcess) -> int:
    return int(tenant.counters()["endpoints"]["jwks"])

"""A restart behind a socket that systemd holds open: connections wait, and none is refused."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest
import requests

from deploy.local.processes import wait_until
from tests.live.activated_service import ActivatedService
from tests.local.tenant_process import TenantProcess

RESTARTS = 3
CLIENTS = 4


@pytest.fixture
def activated(
    database_url_factory: Callable[[], str], tenant: TenantProcess, tmp_path: Path
) -> Iterator[ActivatedService]:
    with ActivatedService({"DATABASE_URL": database_url_factory(), **tenant.env()}, tmp_path) as service:
        yield service


def ask_until(stop: Event, service: ActivatedService) -> list[int | str]:
    """The statuses of requests, each on a connection of its own, one after the other."""
    answers: list[int | str] = []
    while not stop.is_set():
        try:
            answers.append(service.request("GET", "/api/v1/categories").status_code)
        except requests.RequestException as error:
            answers.append(repr(error))
    return answers


def test_no_request_fails_while_the_service_restarts(activated: ActivatedService) -> None:
    stop = Event()
    with ThreadPoolExecutor(CLIENTS) as pool:
        asking: list[Future[list[int | str]]] = [pool.submit(ask_until, stop, activated) for _ in range(CLIENTS)]
        try:
            for _ in range(RESTARTS):
                activated.restart()
        finally:
            stop.set()
        answers = [answer for each in asking for answer in each.result()]
    assert set(answers) == {200}
    assert len(answers) > RESTARTS * CLIENTS


def test_systemd_is_told_when_it_is_ready(activated: ActivatedService) -> None:
    assert wait_until(lambda: b"READY=1" in activated.notice(), 30)

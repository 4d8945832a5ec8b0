"""Restarts behind a socket that systemd holds open, and reloads (HUP) that take up changed code: no request fails."""

import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Event

import psycopg2
import pytest
import requests

from tests.support import ROOT
from tests.support.databases import LOCK_WAITS, scalar
from tests.support.processes.activated_service import ActivatedService
from tests.support.processes.service import ServiceProcess
from tests.support.waiting import until

RESTARTS = 3
CLIENTS = 4


@pytest.fixture
def activated(environment: dict[str, str], tmp_path: Path) -> Iterator[ActivatedService]:
    with ActivatedService({**environment, "GUNICORN_KEEPALIVE_SECONDS": "1"}, tmp_path) as service:
        yield service


def ask_until(stop: Event, service: ServiceProcess) -> list[int | str]:
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


def test_a_request_that_is_under_way_is_answered_before_the_service_stops(
    environment: dict[str, str], database_url: str
) -> None:
    settings = {**environment, "GUNICORN_KEEPALIVE_SECONDS": "1"}
    with (
        ServiceProcess(settings) as service,
        ThreadPoolExecutor() as threads,
        closing(psycopg2.connect(database_url)) as holder,
    ):
        holder.cursor().execute("LOCK TABLE categories")
        asked = threads.submit(service.request, "GET", "/api/v1/categories")
        until(lambda: scalar(database_url, LOCK_WAITS) == 1)
        stopping = threads.submit(service.stop)
        until(lambda: "Handling signal: term" in service.log())
        holder.rollback()
        assert stopping.result() == 0
        assert asked.result().status_code == requests.codes.ok


def test_systemd_is_told_when_it_is_ready(activated: ActivatedService) -> None:
    until(lambda: b"READY=1" in activated.notice())


def test_a_reload_takes_up_changed_code_and_fails_no_request(tmp_path: Path, environment: dict[str, str]) -> None:
    for name in ("app", "deploy", "migrations"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "wsgi.py", tmp_path)
    with ServiceProcess(environment, root=tmp_path) as service, ThreadPoolExecutor() as threads:
        is_over = Event()
        asking = [threads.submit(ask_until, is_over, service) for _ in range(CLIENTS)]
        try:
            health = tmp_path / "app/observability/health.py"
            health.write_text(health.read_text().replace('Response("ok"', 'Response("renewed"'))
            service.reload()
            until(lambda: {service.request("GET", "/health").text for _ in range(8)} == {"renewed"})
        finally:
            is_over.set()
        assert {answer for each in asking for answer in each.result()} == {200}

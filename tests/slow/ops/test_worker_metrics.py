"""`/metrics` over several workers: the same counts from each of them, after a kill and a reload too."""

import os
import signal
import string
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import islice, product
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import requests

from tests.support.assertions import assert_error
from tests.support.metrics import directory_of, read
from tests.support.processes import run
from tests.support.processes.service import REQUEST_SECONDS, ServiceProcess
from tests.support.processes.tenant import TenantProcess
from tests.support.users import new_user
from tests.support.waiting import in_parallel, replace_workers, statuses, until
from tests.support.ws_client import ChatClient

TOKEN = "metrics-token-of-the-tests"  # noqa: S105
READINGS = 20
REQUESTS = 60
MADE_UP = 1000


@pytest.fixture(scope="module")
def service_settings(parent: Path) -> dict[str, str]:
    return {"METRICS_ADMIN_TOKEN": TOKEN, "PROMETHEUS_MULTIPROC_DIR": str(parent)}


def of_health(series: dict[str, float]) -> float:
    counted = "gearyard_http_request_duration_seconds_count "
    return sum(value for key, value in series.items() if key.startswith(counted) and "'/health'" in key)


def ask_for_health(service: ServiceProcess) -> None:
    close = {"Connection": "close"}
    answers = in_parallel(lambda _: service.request("GET", "/health", headers=close), REQUESTS, abreast=8)
    assert statuses(answers) == {200: REQUESTS}


def writers(directory: Path) -> set[str]:
    """The processes that have counted a request."""
    files = (path for path in directory.glob("histogram_*.db") if b"gearyard_http_request" in path.read_bytes())
    return {path.stem.rpartition("_")[2] for path in files}


def ask_both_workers(service: ServiceProcess, parent: Path) -> int:
    """Ask until each has counted a request, since the kernel may give all to one worker; the count then."""
    known = of_health(read(service))

    def ask() -> bool:
        nonlocal known
        ask_for_health(service)
        known += REQUESTS
        return len(writers(directory_of(parent))) >= 2

    until(ask)
    return int(known)


def test_the_counts_of_all_workers_add_up_whichever_answers(service: ServiceProcess, parent: Path) -> None:
    asked = ask_both_workers(service, parent)
    readings = [read(service) for _ in range(READINGS)]
    assert {of_health(reading) for reading in readings} == {asked}


def test_a_worker_that_is_killed_leaves_the_metrics_and_its_counts(service: ServiceProcess, parent: Path) -> None:
    asked = ask_both_workers(service, parent)
    before = service.worker_pids()
    # As if it had been killed between making a file and writing its head.
    (directory_of(parent) / f"gauge_min_{before[0]}.db").touch()
    os.kill(before[0], signal.SIGKILL)
    until(lambda: len(service.worker_pids()) == 2 and before[0] not in service.worker_pids())
    assert {of_health(read(service)) for _ in range(READINGS)} == {asked}
    ask_for_health(service)
    assert {of_health(read(service)) for _ in range(READINGS)} == {asked + REQUESTS}


def test_a_file_without_its_head_is_a_503_until_it_has_one(service: ServiceProcess, parent: Path) -> None:
    """As while a worker starts: it creates its file empty and then writes the head."""
    empty = directory_of(parent) / "gauge_max_0.db"
    empty.touch()
    assert_error(service.request("GET", "/metrics"), 503, "SERVICE_UNAVAILABLE")
    empty.unlink()
    read(service)


def test_a_reload_keeps_the_counts(service: ServiceProcess) -> None:
    ask_for_health(service)
    before = of_health(read(service))
    replace_workers(service)
    ask_for_health(service)
    assert of_health(read(service)) == before + REQUESTS


@pytest.mark.attack("metrics")
def test_made_up_paths_and_methods_add_no_series(service: ServiceProcess) -> None:
    methods = ["".join(letters) for letters in islice(product(string.ascii_uppercase, repeat=4), MADE_UP)]

    def ask(number: int, method: str) -> None:
        unknown = session.request(method, service.url(f"/nowhere/{number}/{method}?{number}"), timeout=REQUEST_SECONDS)
        assert unknown.status_code == 404
        assert session.request(method, service.url("/health"), timeout=REQUEST_SECONDS).status_code == 405

    session = requests.Session()
    ask(0, "ZZZZ")
    # Whoever has asked whether it is ready has set off a look at the tenant, which is counted when it is over.
    assert service.request("GET", "/ready").ok
    until(lambda: any("discovery" in series for series in read(service)))
    before = read(service).keys()
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(ask, range(1, MADE_UP + 1), methods))
    assert read(service).keys() == before
    assert not any("nowhere" in series or "AAAB" in series for series in before)


def test_the_life_of_a_socket_is_no_requests_duration(service: ServiceProcess, tenant: TenantProcess) -> None:
    with ChatClient(new_user(service, tenant)):
        pass
    assert service.request("GET", "/ws").status_code == 426  # no socket came of it: a request as any other
    replace_workers(service)  # so that nothing is still to be counted
    assert "socket_closed" in service.log()
    of_socket = {key: value for key, value in read(service).items() if "/ws'" in key}
    assert {value for key, value in of_socket.items() if "_total" in key or "_count" in key} == {1}
    assert all("'426'" in key for key in of_socket)


def test_services_that_are_told_the_same_place_do_not_mix_their_counts(
    service: ServiceProcess, environment: dict[str, str], parent: Path
) -> None:
    ask_for_health(service)
    before = of_health(read(service))
    with ServiceProcess(environment) as other:
        assert of_health(read(other)) == 0
        assert len(list(parent.iterdir())) == 2
    assert of_health(read(service)) == before


def run_module(*command: str, **environment: str) -> CompletedProcess[str]:
    return run(sys.executable, "-m", *command, env={**os.environ, "APP_ENV": "test", **environment})


def test_a_place_that_cannot_be_used_stops_the_start_in_one_line(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    nowhere = {**environment, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "file" / "below")}
    done = run_module("gunicorn", "-c", "deploy/gunicorn.conf.py", "wsgi:app", **nowhere)
    assert done.returncode != 0
    (line,) = done.stderr.splitlines()
    assert line.startswith("Invalid settings: PROMETHEUS_MULTIPROC_DIR: ")


def test_a_command_needs_no_directory_for_counts(environment: dict[str, str], tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    done = run_module("flask", "routes", **{**environment, "PROMETHEUS_MULTIPROC_DIR": str(nowhere)})
    assert done.returncode == 0, done.stderr
    assert not nowhere.exists()

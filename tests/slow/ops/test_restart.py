"""A stop answers what is under way, and a reload (HUP) takes up changed code."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg2
import requests

from tests.support import ROOT
from tests.support.databases import LOCK_WAITS, scalar
from tests.support.processes.service import ServiceProcess
from tests.support.waiting import until


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


def test_a_reload_takes_up_changed_code(tmp_path: Path, environment: dict[str, str]) -> None:
    for name in ("app", "deploy", "migrations"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "wsgi.py", tmp_path)
    with ServiceProcess(environment, root=tmp_path) as service:
        health = tmp_path / "app/web/health.py"
        health.write_text(health.read_text().replace('Response("ok"', 'Response("renewed"'))
        service.reload()
        until(lambda: {service.request("GET", "/health").text for _ in range(8)} == {"renewed"})

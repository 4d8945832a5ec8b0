"""A reload (HUP) takes up changed code, and fails no request while it does."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

from tests.support import ROOT
from tests.support.processes.service import ServiceProcess
from tests.support.processes.tenant import TenantProcess
from tests.support.waiting import until


def test_a_reload_takes_up_changed_code_and_fails_no_request(
    tmp_path: Path, database_url_factory: Callable[[], str], tenant: TenantProcess
) -> None:
    for name in ("app", "deploy", "migrations"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "wsgi.py", tmp_path)
    environment = {"DATABASE_URL": database_url_factory(), **tenant.env()}
    with ServiceProcess(environment, root=tmp_path) as service, ThreadPoolExecutor() as threads:
        is_over = Event()

        def ask() -> set[int]:
            statuses = set()
            while not is_over.is_set():
                statuses.add(service.request("GET", "/api/v1/categories").status_code)
            return statuses

        asking = [threads.submit(ask) for _ in range(4)]
        try:
            health = tmp_path / "app/observability/health.py"
            health.write_text(health.read_text().replace('Response("ok"', 'Response("renewed"'))
            service.reload()
            until(lambda: {service.request("GET", "/health").text for _ in range(8)} == {"renewed"})
        finally:
            is_over.set()
        assert set.union(*(statuses.result() for statuses in asking)) == {200}

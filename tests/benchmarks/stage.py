"""What a run stands on, each part started when a row first asks for it, all of it stopped at the end."""

import shutil
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

import requests

from deploy.local.cluster import PostgresCluster
from deploy.local.plan import python
from deploy.local.processes import LocalError, end_of, spawn, stop, wait_until
from deploy.local.sockets import LOOPBACK, free_port
from tests.benchmarks.databases import PRODUCTION_LIKE, ensure_database
from tests.benchmarks.dataset import Dataset
from tests.benchmarks.people import Person, add_people
from tests.benchmarks.scale import Scale
from tests.support.processes import child_pids, rss_kib
from tests.support.processes.tenant import TenantProcess

START_SECONDS = 60
GRACE_SECONDS = 20
PROBE_SECONDS = 2
WORKERS = 2
SERVICE_CONFIGURATION = "deploy/gunicorn.conf.py"
REFERENCE_CONFIGURATION = "tests/benchmarks/reference/gunicorn_conf.py"
# Limits are on, and counted, and out of the load's reach.
OUT_OF_REACH = {
    f"RATE_LIMIT_{name}": "1000000000/minute" for name in ("PUBLIC_SEARCH", "ANONYMOUS", "AUTHENTICATED", "AUTH")
}


class Server:
    """A gunicorn of `WORKERS` workers that is ready."""

    def __init__(self, port: int, process: subprocess.Popen[bytes]) -> None:
        self.port = port
        self._process = process

    def close(self) -> None:
        stop(self._process, grace_seconds=GRACE_SECONDS)

    def rss_kib(self) -> int:
        return rss_kib(child_pids(self._process.pid))


class Stage:
    """`with Stage(directory, scale, say) as stage:` has all that rows need; `say` is told of what takes time.

    Everything is under `directory`: the cluster's data, which stays for the next run, and what the servers write, which
    stays until then. Every process ends with this one.
    Entering it and any of its members raise LocalError if another run has the directory, or a server does not start.
    """

    def __init__(self, directory: Path, scale: Scale, say: Callable[[str], None]) -> None:
        self.directory = directory
        self.scale = scale
        # Growth is measured from the small to the large data set; most rows are about the medium one.
        self.small, self.medium, self.large = (Dataset(size) for size in (scale.small, scale.medium, scale.large))
        self._say = say
        self.cluster: PostgresCluster
        self._written = directory / "servers"  # logs, metrics, the tenant's keys
        self._undo = ExitStack()
        self._urls: dict[Dataset, str] = {}
        self._services: dict[Dataset, Server] = {}
        self._people: dict[Dataset, list[Person]] = {}

    def __enter__(self) -> Self:
        self._say("Starting PostgreSQL…")
        self.cluster = self._undo.enter_context(PostgresCluster(self.directory, settings=PRODUCTION_LIKE))
        # Whoever has the cluster is the only run here: what earlier ones have written is in nobody's use.
        shutil.rmtree(self._written, ignore_errors=True)
        self._written.mkdir()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._undo.close()

    def database(self, dataset: Dataset) -> str:
        """The libpq URL of a database with this data."""
        if dataset not in self._urls:
            self._say(f"Looking after the data set of {dataset.listings:,} listings…")
            self._urls[dataset] = ensure_database(self.cluster, dataset)
        return self._urls[dataset]

    @cached_property
    def tenant(self) -> TenantProcess:
        state = self._written / "tenant"
        state.mkdir(mode=0o700)
        try:
            return self._undo.enter_context(TenantProcess(state=state))
        except RuntimeError as error:
            raise LocalError(str(error)) from None

    def service(self, dataset: Dataset) -> Server:
        """The service over this data, everything switched on; one for all rows that ask for it."""
        if dataset not in self._services:
            self._services[dataset] = self.new_service(dataset)
        return self._services[dataset]

    def new_service(self, dataset: Dataset) -> Server:
        """As `service`, but one that nobody else uses, for whoever closes it."""
        return self._server(f"service-{dataset.listings}", SERVICE_CONFIGURATION, "wsgi:app", dataset, "/ready")

    def people(self, dataset: Dataset) -> list[Person]:
        if dataset not in self._people:
            self.database(dataset)
            self._people[dataset] = add_people(self.cluster, dataset.database, self.tenant, self.scale.people)
        return self._people[dataset]

    @cached_property
    def empty_view(self) -> Server:
        """A Flask app that does nothing, under the service's server settings."""
        app = "tests.benchmarks.reference.empty:app"
        return self._server("empty", REFERENCE_CONFIGURATION, app, self.medium, "/")

    @cached_property
    def conventional(self) -> Server:
        """The radius search as it is usually written, over the same data, under the service's server settings."""
        app = "tests.benchmarks.reference.conventional:app"
        return self._server(
            "conventional", REFERENCE_CONFIGURATION, app, self.medium, "/api/v1/equipment?lat=0&lng=0&radius_km=1"
        )

    def _server(self, name: str, configuration: str, app: str, dataset: Dataset, probe: str) -> Server:
        port = free_port()
        log = self._written / f"{name}-{port}.log"
        environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "DATABASE_URL": self.database(dataset),
            **self.tenant.env(),
            "PORT": str(port),
            "WEB_CONCURRENCY": str(WORKERS),
            "LOG_JSON": "true",
            "PROMETHEUS_MULTIPROC_DIR": str(self._written / f"metrics-{port}"),
            "APP_ENV": "test",  # production refuses a tenant without TLS
            **OUT_OF_REACH,
        }
        with log.open("wb") as output:
            process = spawn(python("-m", "gunicorn", "-c", configuration, app), env=environment, output=output)
        self._undo.callback(stop, process, grace_seconds=GRACE_SECONDS)
        wait_until(lambda: process.poll() is not None or _is_ok(port, probe), START_SECONDS)
        if process.poll() is not None or not _is_ok(port, probe):
            raise LocalError(f"{name} did not start. {end_of(log)}")
        return Server(port, process)


def _is_ok(port: int, path: str) -> bool:
    try:
        return requests.get(f"http://{LOOPBACK}:{port}{path}", timeout=PROBE_SECONDS).ok
    except requests.RequestException:
        return False

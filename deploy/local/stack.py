"""The processes that `make run` stands on, started one after the other and stopped in the reverse order."""

import http.client
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

from deploy.local.cluster import PostgresCluster
from deploy.local.plan import (
    DATABASE,
    DEMO_EMAILS,
    DEMO_PASSWORD,
    STATE,
    Plan,
    client_secret,
    environment_file,
    python,
)
from deploy.local.processes import FileLock, LocalError, end_of, run_to_end, spawn, stop, wait_until, write_private
from deploy.local.sockets import LOOPBACK

MIGRATE_SECONDS = 300
SEED_SECONDS = 300
TENANT_SECONDS = 30
READY_SECONDS = 60
PROBE_SECONDS = 2
SERVICE_GRACE_SECONDS = 20  # open requests end, open sockets are told to reconnect
TENANT_GRACE_SECONDS = 5
WATCH_SECONDS = 0.2


@dataclass
class Stack:
    """All of one run. `close` stops what was started; every process also ends when this one does."""

    plan: Plan
    say: Callable[[str], None]
    children_lock: FileLock
    environment: dict[str, str] = field(init=False)
    cluster: PostgresCluster | None = None
    _children: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _undo: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self.environment = dict(self.plan.environment)
        self.logs = STATE / "log"

    def start(self) -> None:
        """Start everything, in the order in which each needs the other. Raises LocalError at the first failure."""
        if self.plan.own_database:
            self._start_database()
        self._migrate()
        if self.plan.own_tenant:
            self._start_tenant()
        self._write_environment()
        if self.plan.is_development:
            self._seed()
        self._start_service()

    def watch(self, is_wanted: Callable[[], bool]) -> None:
        """Return when `is_wanted` no longer holds; raise LocalError when one of the processes has ended by itself."""
        while is_wanted():
            for name, process in self._children.items():
                if process.poll() is not None:
                    raise LocalError(f"{name} ended by itself (exit code {process.returncode}).{self._log_of(name)}")
            time.sleep(WATCH_SECONDS)

    def close(self) -> None:
        """Stop the service, the tenant and the cluster, in this order."""
        self._undo.close()

    def _start_database(self) -> None:
        self.say("Starting PostgreSQL…")
        self.cluster = PostgresCluster(STATE)
        self.cluster.start()
        self._undo.callback(self.cluster.stop)
        if self.cluster.process is not None:
            self._children["PostgreSQL"] = self.cluster.process
        if not self.cluster.has_database(DATABASE):
            self.cluster.create_database(DATABASE)
        self.environment["DATABASE_URL"] = self.cluster.url(DATABASE)

    def _migrate(self) -> None:
        self.say("Migrating the database…")
        self._run(
            "The migration", "migrate", MIGRATE_SECONDS, "alembic", "-c", "migrations/alembic.ini", "upgrade", "head"
        )

    def _start_tenant(self) -> None:
        self.say("Starting the sign-in tenant…")
        self.environment["AUTH0_CLIENT_SECRET"] = self.environment.get("AUTH0_CLIENT_SECRET") or client_secret(STATE)
        tenant = ("deploy.local.tenant", "--state", str(STATE / "tenant"))
        accounts = [part for email in DEMO_EMAILS for part in ("--add-user", email)]
        password = {"TENANT_USER_PASSWORD": DEMO_PASSWORD}
        self._run("Adding the demo accounts", "accounts", TENANT_SECONDS, *tenant, *accounts, extra=password)
        log = self.logs / "tenant.log"
        with log.open("wb") as output:
            process = spawn(
                python("-m", *tenant, "--port", str(self.plan.tenant_port)),
                env=self.environment,
                output=output,
                keep_open=[self.children_lock.fd],
            )
        self._supervise("The tenant", process, TENANT_GRACE_SECONDS)
        if not _becomes(lambda: b"tenant ready" in log.read_bytes(), process, TENANT_SECONDS):
            raise LocalError(f"The tenant did not start. {end_of(log)}")

    def _write_environment(self) -> None:
        """Leave the settings for commands in another terminal, while this run lasts."""
        path = STATE / "env"
        write_private(path, environment_file(self.environment))
        self._undo.callback(path.unlink, missing_ok=True)

    def _seed(self) -> None:
        self.say("Looking after the demo data…")
        self._run("Filling in demo data", "seed", SEED_SECONDS, "flask", "seed", "--if-empty")

    def _start_service(self) -> None:
        self.say("Starting the service…")
        process = spawn(
            python("-m", "gunicorn", "-c", "deploy/gunicorn.conf.py", "wsgi:app"),
            env={"PROMETHEUS_MULTIPROC_DIR": str(STATE / "metrics"), **self.environment},
            keep_open=[self.children_lock.fd],
        )
        self._supervise("The service", process, SERVICE_GRACE_SECONDS)
        if not _becomes(self._is_ready, process, READY_SECONDS):
            if process.poll() is None:
                raise LocalError(f"The service does not answer GET /ready with 200 after {READY_SECONDS} s.")
            raise LocalError(f"The service ended while it started (exit code {process.returncode}); it said why above.")

    def _is_ready(self) -> bool:
        connection = http.client.HTTPConnection(LOOPBACK, self.plan.port, timeout=PROBE_SECONDS)
        try:
            connection.request("GET", "/ready")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _run(
        self,
        what: str,
        log: str,
        timeout_seconds: float,
        module: str,
        *arguments: str,
        extra: Mapping[str, str] | None = None,
    ) -> None:
        run_to_end(
            python("-m", module, *arguments),
            what=what,
            log=self.logs / f"{log}.log",
            timeout_seconds=timeout_seconds,
            env={**self.environment, **(extra or {})},
            keep_open=[self.children_lock.fd],
        )

    def _supervise(self, name: str, process: subprocess.Popen[bytes], grace_seconds: float) -> None:
        self._children[name] = process
        self._undo.callback(stop, process, grace_seconds=grace_seconds)

    def _log_of(self, name: str) -> str:
        if name == "PostgreSQL" and self.cluster is not None:
            return f" {end_of(self.cluster.log)}"
        return f" {end_of(self.logs / 'tenant.log')}" if name == "The tenant" else " It said why above."


def _becomes(condition: Callable[[], bool], process: subprocess.Popen[bytes], timeout_seconds: float) -> bool:
    """Whether `condition` becomes true while the process lives; known at once when it ends."""
    reached = False

    def is_decided() -> bool:
        nonlocal reached
        reached = condition()
        return reached or process.poll() is not None

    return wait_until(is_decided, timeout_seconds) and reached

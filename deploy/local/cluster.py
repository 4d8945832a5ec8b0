"""A private PostgreSQL + PostGIS cluster in one directory, independent of any that the system runs.

Nothing of it is outside that directory but its Unix socket, which lies in a short path under /tmp because a socket's
path may have 107 bytes only. It serves as the user who starts it, or, for root, as another user (`account_for`).
"""

import hashlib
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from deploy.local.datadir import ENVIRONMENT, initialise
from deploy.local.installation import account_for, installation_for, installations
from deploy.local.leftovers import clear_leftovers
from deploy.local.processes import (
    FileLock,
    LocalError,
    end_of,
    kill_group,
    stop,
    wait_until,
    write_private,
)
from deploy.local.server import is_ready, start_server
from deploy.local.sockets import LOOPBACK, free_port, port_is_free, private_directory

ROLE = "gearyard"
START_SECONDS = 120  # covers the replay after a crash
STOP_SECONDS = 30
PSQL_SECONDS = 120
PORT_ATTEMPTS = 5


class ClusterError(LocalError):
    """The cluster cannot do what was asked; says why, where its log is and how that ends."""


class ClusterBusy(ClusterError):
    """Another live process runs the cluster of this directory."""


class PostgresCluster:
    """One cluster in `directory`: data in `pgdata`, log in `log/postgresql.log`, TCP port and password beside them.

    The role `gearyard` owns it and is its superuser, because creating the extension postgis demands one. Through the
    Unix socket, which only the cluster's user can reach, it needs no password; on 127.0.0.1 it needs `password`.
    Only one process at a time can run the cluster; when that process ends in any way, PostgreSQL shuts down.
    Start it from the main thread (see `spawn`). With `durable=False`, a power cut may cost the data,
    and data that no installed PostgreSQL can read is made anew. `settings` are PostgreSQL's own, for whoever needs
    others than a developer's machine does.
    """

    def __init__(self, directory: Path, *, durable: bool = True, settings: Mapping[str, str] | None = None) -> None:
        self.directory = directory.resolve()
        self.durable = durable
        self.settings = dict(settings or {})
        self.data = self.directory / "pgdata"
        self.log = self.directory / "log" / "postgresql.log"
        token = hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:12]
        self.socket_directory = Path("/tmp") / f"gearyard-{token}"  # noqa: S108 - made private, or refused
        self.process: subprocess.Popen[bytes] | None = None
        self._socket_is_ours = False
        self._lock = FileLock(self.directory / "cluster.lock")
        self._port_file = self.directory / "port"
        self._password_file = self.directory / "password"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    @property
    def is_running(self) -> bool:
        """Whether the server that this object started is alive."""
        return self.process is not None and self.process.poll() is None

    @property
    def port(self) -> int:
        """The TCP port on 127.0.0.1, kept from start to start unless somebody else has taken it."""
        return int(self._port_file.read_text())

    @property
    def password(self) -> str:
        """The role's password on 127.0.0.1."""
        return self._password_file.read_text()

    def url(self, database: str) -> str:
        """The libpq URL of a database, through the Unix socket."""
        return f"postgresql://{ROLE}@/{quote(database)}?host={self.socket_directory}&port={self.port}"

    def tcp_url(self, database: str) -> str:
        """The libpq URL of a database, through 127.0.0.1, password included."""
        return f"postgresql://{ROLE}:{self.password}@{LOOPBACK}:{self.port}/{quote(database)}"

    def start(self) -> None:
        """Bring the cluster up, from nothing if need be; returns when it accepts connections. Idempotent.

        Raises:
            ClusterBusy: when another process runs it.
            ClusterError: when it cannot start.

        """
        if self.is_running:
            return
        try:
            self._claim()
            self._prepare()
            self._launch()
        except LocalError as error:
            self.stop()
            raise error if isinstance(error, ClusterError) else ClusterError(str(error)) from None
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Shut down: roll open transactions back, write everything, remove the socket's directory. Idempotent."""
        if self.process is not None:
            stop(self.process, sign=signal.SIGINT, grace_seconds=STOP_SECONDS)
            self.process = None
        if self._socket_is_ours:
            shutil.rmtree(self.socket_directory, ignore_errors=True)
            self._socket_is_ours = False
        self._lock.release()

    def restart(self) -> None:
        """Stop, then start."""
        self.stop()
        self.start()

    def kill(self) -> None:
        """SIGKILL the server, as the kernel would when memory runs out; `start` recovers it."""
        if self.process is not None:
            kill_group(self.process)

    def psql(self, sql: str, database: str = "postgres") -> str:
        """Run SQL statements and return what they print, one row a line, columns parted by `|`.

        Raises:
            ClusterError: at the first statement that fails, with the server's message.

        """
        program = installation_for(self.data).program("psql")
        command = [str(program), "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", self.url(database), "-f", "-"]
        try:
            done: subprocess.CompletedProcess[str] = subprocess.run(  # noqa: S603 - PostgreSQL's own client, no shell
                command, input=sql, env=ENVIRONMENT, capture_output=True, text=True, timeout=PSQL_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            raise ClusterError(f"psql did not end within {PSQL_SECONDS} s. {end_of(self.log)}") from None
        if done.returncode != 0:
            raise ClusterError(f"psql failed: {done.stderr.strip()}")
        return done.stdout.rstrip("\n")

    def has_database(self, name: str) -> bool:
        """Whether a database of this name exists."""
        return bool(self.psql(f"SELECT 1 FROM pg_database WHERE datname = {_literal(name)}"))  # noqa: S608 - quoted

    def create_database(self, name: str, template: str | None = None) -> None:
        """Create a database, as a copy of `template` if given. Raises ClusterError if the name is taken."""
        copy = f" TEMPLATE {_identifier(template)}" if template else ""
        self.psql(f"CREATE DATABASE {_identifier(name)}{copy}")

    def drop_database(self, name: str) -> None:
        """Drop a database if it exists, and disconnect whoever uses it."""
        self.psql(f"DROP DATABASE IF EXISTS {_identifier(name)} WITH (FORCE)")

    def _claim(self) -> None:
        """Make this process the only one that may touch the directory."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if not self._lock.acquire(str(os.getpid())):
            raise ClusterBusy(f"The database cluster in {self.directory} is in use by process {self._lock.note()}.")

    def _prepare(self) -> None:
        """Leave a data directory that is complete and idle, and a private place for the socket."""
        if not self.durable:
            self._discard_data_of_another_version()
        account, installation = account_for(self.data), installation_for(self.data)
        clear_leftovers(self.data, self.socket_directory.name, account)
        private_directory(self.socket_directory, account)
        self._socket_is_ours = True
        if not self._password_file.exists():
            write_private(self._password_file, secrets.token_urlsafe(24))
        if not self.data.exists():
            initialise(self.data, installation, account, role=ROLE, password=self.password, durable=self.durable)

    def _discard_data_of_another_version(self) -> None:
        version = self.data / "PG_VERSION"
        if version.exists() and version.read_text().strip() not in {one.major for one in installations()}:
            shutil.rmtree(self.data)

    def _launch(self) -> None:
        """Start the server on its port; on another one when somebody took it just before."""
        account, installation = account_for(self.data), installation_for(self.data)
        for _ in range(PORT_ATTEMPTS):
            port = self._choose_port()
            self.process = start_server(
                self.data,
                self.log,
                installation,
                account,
                port=port,
                socket_directory=self.socket_directory,
                durable=self.durable,
                extra=self.settings,
            )
            wait_until(self._is_decided, START_SECONDS)
            if is_ready(self.data, self.process.pid):
                return
            if self.is_running:
                raise ClusterError(f"PostgreSQL is not ready after {START_SECONDS} s. {end_of(self.log)}")
            if port_is_free(port):
                break
        raise ClusterError(
            f"PostgreSQL did not start; removing {self.directory} gives a new and empty one. {end_of(self.log)}"
        )

    def _is_decided(self) -> bool:
        return self.process is None or not self.is_running or is_ready(self.data, self.process.pid)

    def _choose_port(self) -> int:
        if self._port_file.exists() and port_is_free(self.port):
            return self.port
        self._port_file.write_text(str(free_port()))
        return self.port


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"

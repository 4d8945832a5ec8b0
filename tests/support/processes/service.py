"""The service as production runs it, for tests of what only several real workers show."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

import requests

from deploy.local.processes import wait_until
from tests.support import ROOT
from tests.support.openapi_checks import Answer, described
from tests.support.ports import reserve_port
from tests.support.processes import child_pids, rss_kib, tied

START_SECONDS = 60.0
# With REDIS_URL, the same tests run over the other bus.
INHERITED = ("PATH", "HOME", "LANG", "REDIS_URL")
STOP_SECONDS = 30.0
# A suite asks more often than any user; who tests the limits sets them.
GENEROUS_RATES = {
    f"RATE_LIMIT_{name}": "100000/second" for name in ("PUBLIC_SEARCH", "ANONYMOUS", "AUTHENTICATED", "AUTH")
}
# The same for sockets.
GENEROUS_CHAT = {
    "WS_MESSAGES_PER_SECOND": "1000",
    "WS_MESSAGE_BURST": "1000",
    "WS_FRAMES_PER_SECOND": "1000",
    "WS_MAX_SOCKETS_PER_USER": "1000",
}
REQUEST_SECONDS = 30.0


class ServiceProcess:
    """`with ServiceProcess({"DATABASE_URL": …, **tenant.env()}) as service:` runs gunicorn until the block ends."""

    def __init__(self, environment: Mapping[str, str], *, workers: int = 2, root: Path = ROOT) -> None:
        self._root = root
        self.port = reserve_port()
        self._environment = {
            **{name: value for name, value in os.environ.items() if name in INHERITED},
            "APP_ENV": "test",
            "LOG_JSON": "true",
            "PORT": str(self.port),
            "WEB_CONCURRENCY": str(workers),
            **GENEROUS_RATES,
            **environment,
        }
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - has no name, so nothing is left of it
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._log.close()

    def start(self) -> None:
        """Start; returns once it is ready."""
        self.launch()
        self.wait_until_ready()

    def launch(self) -> None:
        """Start, without waiting."""
        self.process = subprocess.Popen(
            tied(self.command()),
            cwd=self._root,
            env=self._environment,
            stderr=self._log,
            stdout=self._log,
            pass_fds=self.passed_descriptors,
        )

    def wait_until_ready(self) -> None:
        """Raises AssertionError if it ends or takes too long."""
        process = self.process
        assert process is not None
        is_decided = wait_until(lambda: process.poll() is not None or self._is_ready(), START_SECONDS)
        if not is_decided or process.poll() is not None:
            raise AssertionError(f"the service did not start:\n{self.log()}")

    def change(self, **environment: str) -> None:
        self._environment |= environment

    def command(self) -> list[str]:
        return [sys.executable, "-m", "gunicorn", "-c", "deploy/gunicorn.conf.py", "wsgi:app"]

    @property
    def passed_descriptors(self) -> tuple[int, ...]:
        """What of this process' open files it inherits: none."""
        return ()

    def _is_ready(self) -> bool:
        try:
            return self.request("GET", "/ready").status_code == requests.codes.ok
        except requests.ConnectionError:
            return False

    def stop(self) -> int | None:
        """Tell it to stop (SIGTERM) and wait; its exit code."""
        if self.process is None:
            return None
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    @property
    def database_url(self) -> str:
        return self._environment["DATABASE_URL"]

    def worker_pids(self) -> list[int]:
        """The processes that serve now; during a reload, the old ones too."""
        assert self.process is not None
        return child_pids(self.process.pid)

    def rss_kib(self) -> int:
        """The resident memory of its workers, in KiB."""
        return rss_kib(self.worker_pids())

    def reload(self) -> None:
        """Tell it to take up changed code (SIGHUP); returns at once."""
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    def log(self) -> str:
        file = self._log.fileno()
        return os.pread(file, os.fstat(file).st_size, 0).decode()  # leaves the offset, which the service shares

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        """One request on a connection of its own. Raises NotDescribed: the answer is not what the description says."""
        timeout = options.pop("timeout", REQUEST_SECONDS)
        answer = requests.request(method, self.url(path), timeout=timeout, **options)
        if self._root == ROOT and not options.get("stream"):  # another checkout has a description of its own
            sent = urlsplit(answer.request.url or "").path
            found = Answer(method, unquote(sent), answer.status_code, answer.headers, answer.content)
            described().check(found)
        return answer

"""A real Prometheus with the files of `deploy/prometheus/`, and the exporter that asks for readiness on its behalf."""

import os
import re
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import requests

from deploy.local.processes import end_of, spawn, stop, wait_until
from tests.support import ROOT
from tests.support.ports import reserve_port
from tests.support.processes.nginx import NginxProcess

FILES = ROOT / "deploy" / "prometheus"
START_SECONDS = 30
STOP_SECONDS = 10
REQUEST_SECONDS = 30


def program(name: str, *, package: str | None = None) -> str:
    """The system's program, or the one that the preparation of the tests unpacked."""
    return shutil.which(name) or str(ROOT / ".local" / (package or name) / "usr" / "bin" / name)


class PrometheusProcess:
    """`with PrometheusProcess(nginx, directory, token=…) as prometheus:` reads what nginx serves."""

    def __init__(self, nginx: NginxProcess, directory: Path, *, token: str) -> None:
        self._nginx = nginx
        self._directory = directory
        self._token = token
        self._port, self._exporter_port = reserve_port(), reserve_port()
        self._running = ExitStack()

    def __enter__(self) -> Self:
        shutil.copy(FILES / "gearyard.rules.yml", self._directory)
        (self._directory / "token").write_text(self._token)
        (self._directory / "prometheus.yml").write_text(self._configuration())
        with self._running:
            exporter = program("prometheus-blackbox-exporter")
            modules = self._directory / "blackbox.yml"
            # As in the file that the package brings; but nginx listens on IPv4 here, and `localhost` may be ::1 first.
            modules.write_text("modules: {http_2xx: {prober: http, http: {preferred_ip_protocol: ip4}}}")
            self._start(exporter, f"--config.file={modules}", f"--web.listen-address=127.0.0.1:{self._exporter_port}")
            self._start(
                program("prometheus"),
                f"--config.file={self._directory}/prometheus.yml",
                f"--storage.tsdb.path={self._directory}/data",
                f"--web.listen-address=127.0.0.1:{self._port}",
            )
            assert wait_until(self._is_ready, START_SECONDS), end_of(self._directory / "prometheus.log")
            self._running = self._running.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def ask(self, path: str, **query: Any) -> Any:
        """The data of its HTTP API's answer. Raises AssertionError where it is not a success."""
        url = f"http://127.0.0.1:{self._port}/api/v1/{path}"
        answer = requests.get(url, params=query, timeout=REQUEST_SECONDS).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def series(self, expression: str) -> list[dict[str, str]]:
        return [one["metric"] for one in self.ask("query", query=expression)["result"]]

    def _start(self, executable: str, *options: str) -> None:
        # Go's programs take this for the certificates that the machine trusts.
        environment = {"PATH": os.environ["PATH"], "SSL_CERT_FILE": str(self._nginx.certificate)}
        log = self._running.enter_context((self._directory / f"{Path(executable).name}.log").open("wb"))
        process = spawn([executable, *options], env=environment, cwd=self._directory, output=log)
        self._running.callback(stop, process, grace_seconds=STOP_SECONDS)

    def _is_ready(self) -> bool:
        try:
            return requests.get(f"http://127.0.0.1:{self._port}/-/ready", timeout=REQUEST_SECONDS).ok
        except requests.ConnectionError:
            return False

    def _configuration(self) -> str:
        """As an operator installs it, but for where things are on this machine, and in less of a hurry there."""
        text = (FILES / "prometheus.yml").read_text()
        changes = {
            r"scrape_interval: 15s": "scrape_interval: 1s",
            r"evaluation_interval: 30s": "evaluation_interval: 1s",
            r"\[127\.0\.0\.1:9093\]": "[]",
            r"api\.gearyard\.example:443": f"localhost:{self._nginx.port}",
            r"https://api\.gearyard\.example/ready": f"{self._nginx.url}/ready",
            r"127\.0\.0\.1:9115": f"127.0.0.1:{self._exporter_port}",
            r"# (authorization:)": r"\1",
            r"# (  credentials_file:) .*": rf"\1 {self._directory}/token",
        }
        for pattern, replacement in changes.items():
            text, count = re.subn(pattern, replacement, text)
            assert count, f"prometheus.yml has no {pattern}"
        return text

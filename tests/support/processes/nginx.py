"""A real nginx with the site of `deploy/nginx/`, in a directory and on ports of its own, in front of a service."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Self

import requests

from deploy.local.processes import wait_until
from tests.support import ROOT
from tests.support.ports import reserve_port
from tests.support.processes import tied
from tests.support.processes.activated_service import ActivatedService
from tests.support.processes.service import ServiceProcess

SITE = ROOT / "deploy" / "nginx" / "gearyard.conf"
UNPACKED = ROOT / ".local" / "nginx" / "usr" / "sbin" / "nginx"
HOST = "api.gearyard.example"
START_SECONDS = 20
MAIN = """
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/main.log;
{user}
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    include {directory}/site.conf;
}}
"""


def program() -> str:
    """The system's nginx, or the one that the preparation of the tests unpacked."""
    return shutil.which("nginx") or str(UNPACKED)


class NginxProcess:
    """`with NginxProcess(service, directory) as nginx:` serves until the block ends."""

    def __init__(self, service: ServiceProcess, directory: Path, *, changes: dict[str, str] | None = None) -> None:
        """Goes to the Unix socket of a service that has one.

        `changes` replace directives of the site, by their names: {"proxy_read_timeout": "3s"}.
        """
        self.directory = directory
        self.port, self.plain_port, self._bare_port = reserve_port(), reserve_port(), reserve_port()
        self.certificate = directory / "certificate.pem"
        self._upstream = f"127.0.0.1:{service.port}"
        if isinstance(service, ActivatedService):
            self._upstream = f"unix:{service.path}"
        self._changes = changes or {}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it serves over TLS."""
        return f"https://localhost:{self.port}"

    @property
    def bare_address(self) -> str:
        """Where it serves the same without TLS, which Python's clients cannot write and read at once (OpenSSL)."""
        return f"127.0.0.1:{self._bare_port}"

    def __enter__(self) -> Self:
        self._make_certificate()
        (self.directory / "site.conf").write_text(self._site())
        configuration = self.directory / "nginx.conf"
        # Root's nginx would serve as another user, who may not read here.
        configuration.write_text(MAIN.format(directory=self.directory, user="user root;" if os.geteuid() == 0 else ""))
        self._process = subprocess.Popen(
            tied([program(), "-e", f"{self.directory}/main.log", "-c", str(configuration)])
        )
        if not wait_until(self._answers, START_SECONDS):
            self.stop()
            raise AssertionError(f"nginx did not start: {(self.directory / 'main.log').read_text()}")
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(START_SECONDS)

    def session(self) -> requests.Session:
        """A client that trusts its certificate and nothing else."""
        session = requests.Session()
        session.trust_env = False
        session.verify = str(self.certificate)
        return session

    def log(self) -> str:
        return "".join((self.directory / name).read_text() for name in ("access.log", "error.log"))

    def _answers(self) -> bool:
        try:
            with self.session() as session:
                return session.get(f"{self.url}/health", timeout=2).ok
        except requests.RequestException:
            return False

    def _make_certificate(self) -> None:
        subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        files = ["-keyout", str(self.directory / "key.pem"), "-out", str(self.certificate)]
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject, *files]
        subprocess.run(command, check=True, capture_output=True, timeout=60)

    def _site(self) -> str:
        """The site as an operator installs it, but for where things are on this machine."""
        site = SITE.read_text()
        places = {
            r"listen \[::\]:\d+[^;]*;": "",
            r"listen 80;": f"listen 127.0.0.1:{self.plain_port};",
            r"listen 443 ": f"listen {self.bare_address};\n    listen 127.0.0.1:{self.port} ",
            rf"server_name {HOST};": "server_name localhost;",
            r"/etc/letsencrypt/live/[^/]+/fullchain\.pem": str(self.certificate),
            r"/etc/letsencrypt/live/[^/]+/privkey\.pem": str(self.directory / "key.pem"),
            r"/var/log/nginx/gearyard\.log": str(self.directory / "access.log"),
            r"/var/log/nginx/gearyard-error\.log": str(self.directory / "error.log"),
            r"unix:/run/gearyard\.sock": self._upstream,
            **{rf"(?m)^(\s*){name} [^;]+;": rf"\g<1>{name} {value};" for name, value in self._changes.items()},
        }
        for pattern, replacement in places.items():
            site, count = re.subn(pattern, replacement, site)
            assert count, f"the site has no {pattern}"
        return site

"""A tenant of one's own for a test: the real process, on a free port, with its own state."""

import os
import select
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import requests

from tests.support import ROOT
from tests.support.ports import reserve_port
from tests.support.processes import tied
from tests.support.scratch import scratch_directory
from tests.support.signing import TokenSigner

START_SECONDS = 60.0
STOP_SECONDS = 10.0
REQUEST_SECONDS = 30.0
CLIENT_ID = "test-client"
CLIENT_SECRET = "test-client-secret"  # noqa: S105 - of a tenant that lives as long as the test
AUDIENCE = "https://api.gearyard.test"
CONNECTION = "Username-Password-Authentication"
PASSWORD = "Correct-horse-7"  # noqa: S105
CHEAP_HASH = "pbkdf2:sha256:1"  # the default takes 60 ms for each password


class TenantProcess:
    """``with TenantProcess() as tenant:`` runs a tenant until the block ends.

    ``stop`` and ``start`` inside the block restart it on the same port with the same state. ``env`` overrides single
    settings; ``state`` keeps the state beyond the block.
    """

    def __init__(self, env: Mapping[str, str] | None = None, state: Path | None = None, *, quiet: bool = True) -> None:
        self._quiet = quiet
        self._overrides = dict(env or {})
        self._is_temporary = state is None
        self.state = state or scratch_directory("tenant")
        self._process: subprocess.Popen[str] | None = None
        self._port = reserve_port()
        self.issuer = ""
        self.http = requests.Session()
        self.http.trust_env = False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.http.close()
        if self._is_temporary:
            shutil.rmtree(self.state)

    def start(self) -> None:
        """Start it; returns once it answers. The second time it takes the port it had. Raises RuntimeError."""
        arguments = [sys.executable, "-m", "deploy.local.tenant", *(["--quiet"] if self._quiet else [])]
        arguments += ["--port", str(self._port), "--state", str(self.state)]
        with (self.state / "stderr.log").open("a") as log:
            self._process = subprocess.Popen(
                tied(arguments), cwd=ROOT, env=self._process_env(), stdout=subprocess.PIPE, stderr=log, text=True
            )
        line = self._first_line(self._process)
        if not line.startswith("tenant ready issuer="):
            self.kill()
            raise RuntimeError(f"the tenant did not start: {self.stderr()[-2000:]}")
        self.issuer = line.strip().partition("issuer=")[2]
        self._port = int(self.issuer.rstrip("/").rpartition(":")[2])
        self._signer = TokenSigner(self.state, issuer=self.issuer, audience=AUDIENCE, client_id=CLIENT_ID)

    def stop(self) -> int | None:
        """Tell it to stop (SIGTERM) and wait; its exit code, or None if it was not running."""
        return self._end(subprocess.Popen.terminate)

    def kill(self) -> int | None:
        return self._end(subprocess.Popen.kill)

    def stderr(self) -> str:
        return (self.state / "stderr.log").read_text()

    def env(self) -> dict[str, str]:
        return {
            "AUTH0_ISSUER": self.issuer,
            "AUTH0_AUDIENCE": AUDIENCE,
            "AUTH0_CLIENT_ID": CLIENT_ID,
            "AUTH0_CLIENT_SECRET": CLIENT_SECRET,
            "AUTH0_CONNECTION": CONNECTION,
        }

    def url(self, path: str) -> str:
        """The absolute URL of a path, with or without its leading slash."""
        return self.issuer + path.removeprefix("/")

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        """One HTTP request to it; redirects are not followed."""
        options.setdefault("timeout", REQUEST_SECONDS)
        options.setdefault("allow_redirects", False)
        return self.http.request(method, self.url(path), **options)

    def control(self, method: str, path: str, json: Any = None) -> Any:
        """Use a control switch, such as ``control("POST", "keys/rotate", {"mode": "revoke"})``; its JSON, or None.

        Raises requests.HTTPError if it refuses.
        """
        if path == "keys/rotate":
            self._signer.key()  # a revocation removes the current key from the file
        response = self.request(method, f"_control/{path}".rstrip("/"), json=json)
        response.raise_for_status()
        return response.json() if response.content else None

    def fault(self, endpoint: str, mode: str, **options: Any) -> None:
        """Let an endpoint misbehave: ``fault("jwks", "down", times=2)``."""
        self.control("POST", "fault", {"endpoint": endpoint, "mode": mode, **options})

    def token(self, **claims: Any) -> str:
        return self._signer.sign(claims=claims)[0]

    def mint(self, **order: Any) -> Any:
        """{token, claims, header}: see TokenSigner.sign for what an order may hold."""
        token, claims, header = self._signer.sign(**order)
        return {"token": token, "claims": claims, "header": header}

    def counters(self) -> Any:
        """{endpoints: {name: requests}, forwarded_for: {email: value}}."""
        return self.control("GET", "counters")

    def reset(self) -> None:
        """End every fault, count from zero, and put the settings back. Users and keys stay."""
        self.control("DELETE", "fault")
        self.control("DELETE", "counters")
        self.control("POST", "settings", {"existing_user_code": "user_exists"})

    def add_user(self, email: str, password: str = PASSWORD, *, email_verified: bool = True) -> str:
        """A new user; the ``sub`` of its tokens."""
        body = {"client_id": CLIENT_ID, "connection": CONNECTION, "email": email, "password": password}
        self.request("POST", "dbconnections/signup", json=body).raise_for_status()
        return str(self.control("POST", f"users/{email}", {"email_verified": email_verified})["user_id"])

    def _process_env(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AUTH0_", "TENANT_"))}
        return inherited | self.env() | {"TENANT_PASSWORD_METHOD": CHEAP_HASH} | self._overrides

    def _first_line(self, process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        readable, _, _ = select.select([process.stdout], [], [], START_SECONDS)
        return process.stdout.readline() if readable else ""

    def _end(self, how: Any) -> int | None:
        process, self._process = self._process, None
        if process is None:
            return None
        how(process)
        try:
            return process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()
        finally:
            if process.stdout is not None:
                process.stdout.close()

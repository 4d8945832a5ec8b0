"""`make lint` ends with an error where a package is known to be vulnerable, and never claims what nobody looked up."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from deploy.local.audit_packages import audit, main
from deploy.local.sockets import free_port

ADVISORY = {
    "id": "GHSA-0000-0000-0000",
    "published": "2026-01-01T00:00:00Z",
    "affected": [
        {
            "package": {"name": "blinker", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "9.9"}]}],
        }
    ],
}


class _Osv(BaseHTTPRequestHandler):
    """OSV's query API (https://google.github.io/osv.dev/post-v1-query/): it knows one advisory, of blinker."""

    def do_POST(self) -> None:
        query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        known = {"vulns": [ADVISORY]} if query["package"]["name"] == "blinker" else {}
        body = json.dumps(known).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Stay quiet."""


@pytest.fixture
def osv() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Osv)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1/query"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def unreachable() -> str:
    return f"http://127.0.0.1:{free_port()}/v1/query"


def pinned(directory: Path, *packages: str) -> Path:
    path = directory / "requirements.txt"
    path.write_text("".join(f"{package} --hash=sha256:{'0' * 64}\n" for package in packages))
    return path


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.mark.parametrize(
    ("package", "exit_code", "said"),
    [
        ("blinker==1.9.0", 1, "blinker 1.9.0: GHSA-0000-0000-0000, mended in 9.9"),
        ("Flask==3.1.3", 0, "2 packages audited, 0 advisories"),
    ],
)
def test_only_a_known_vulnerability_is_an_error(
    tmp_path: Path, osv: str, capsys: pytest.CaptureFixture[str], package: str, exit_code: int, said: str
) -> None:
    assert main(pinned(tmp_path, package, "click==8.5.1"), osv) == exit_code
    assert said in capsys.readouterr().out


def test_without_an_answer_nothing_is_said_to_be_safe(
    tmp_path: Path, unreachable: str, capsys: pytest.CaptureFixture[str]
) -> None:
    requirements = pinned(tmp_path, "blinker==1.9.0")
    assert audit(requirements, unreachable) is None
    assert main(requirements, unreachable) == 0
    assert "NO package was audited" in capsys.readouterr().out


def test_a_package_without_a_hash_is_an_error_whoever_can_be_reached(
    tmp_path: Path, osv: str, capsys: pytest.CaptureFixture[str]
) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("blinker==1.9.0\n")
    assert main(requirements, osv) == 1
    assert "hash" in capsys.readouterr().out


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path, osv: str) -> None:
    assert main(tmp_path / "nowhere.txt", osv) == 1

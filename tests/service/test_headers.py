"""Security headers as they arrive: from the app, from the server before it, and where no socket is opened."""

import pytest

from tests.support.http_raw import exchange
from tests.support.processes.service import ServiceProcess
from tests.support.security_headers import assert_secure
from tests.support.ws_raw import upgrade


def plain(method: str, path: str, *headers: str) -> bytes:
    lines = "".join(f"{line}\r\n" for line in ("Host: gearyard.test", "Connection: close", *headers))
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1")


REQUESTS = {
    "page": (200, plain("GET", "/docs/start.js")),
    "list": (200, plain("GET", "/api/v1/equipment")),
    "HEAD": (200, plain("HEAD", "/api/v1/equipment")),
    "OPTIONS": (200, plain("OPTIONS", "/api/v1/equipment")),
    "part of a file": (206, plain("GET", "/docs/swagger-ui.css", "Range: bytes=0-9")),
    "no token": (401, plain("GET", "/api/v1/auth/me")),
    "unknown path": (404, plain("GET", "/nowhere")),
    "wrong method": (405, plain("BREW", "/health")),
    "HTTP/1.0": (200, b"GET /health HTTP/1.0\r\n\r\n"),
    "no HTTP": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
    "broken header": (400, b"GET /health HTTP/1.1\r\nHost : x\r\n\r\n"),
    "too long a URL": (414, plain("GET", "/" + "a" * 9_000)),
    "unknown expectation": (417, plain("GET", "/health", "Expect: a-miracle")),
    "too large a header": (431, plain("GET", "/health", "X-Large: " + "a" * 20_000)),
    "too many headers": (431, plain("GET", "/health", *(f"X-{number}: x" for number in range(200)))),
    "unknown transfer coding": (501, plain("GET", "/health", "Transfer-Encoding: nonsense")),
    "no upgrade": (426, plain("GET", "/ws")),
    "another version of sockets": (426, upgrade(headers={"Sec-WebSocket-Version": "8"})),
    "a socket without a key": (400, upgrade(headers={"Sec-WebSocket-Key": None})),
    "a socket for another page": (403, upgrade(headers={"Origin": "https://evil.example.com"})),
    "a socket with a bad token": (401, upgrade("/ws?token=nonsense")),
}


@pytest.mark.parametrize(("status", "request_bytes"), REQUESTS.values(), ids=REQUESTS.keys())
def test_security_headers_arrive_once_whoever_answers(
    service: ServiceProcess, status: int, request_bytes: bytes
) -> None:
    (answer,) = exchange(service.port, request_bytes, is_head=request_bytes.startswith(b"HEAD"))
    assert answer.status == status
    assert_secure(dict(answer.headers.items()))
    names = [name.lower() for name in answer.headers if name.lower() != "vary"]
    assert len(names) == len(set(names)), names


@pytest.mark.parametrize(("status", "request_bytes"), REQUESTS.values(), ids=REQUESTS.keys())
def test_no_answer_tells_which_version_of_what_is_running(
    service: ServiceProcess, status: int, request_bytes: bytes
) -> None:
    (answer,) = exchange(service.port, request_bytes, is_head=request_bytes.startswith(b"HEAD"))
    assert answer.headers.get("Server") in (None, "gunicorn")
    assert "X-Powered-By" not in answer.headers
    for name in ("gunicorn/", "werkzeug", "flask", "python", "gevent", "postgres", "sqlalchemy", "traceback"):
        assert name not in (str(answer.headers) + answer.body.decode("latin-1")).lower()


def test_what_the_app_never_saw_is_kept_by_no_cache(service: ServiceProcess) -> None:
    (answer,) = exchange(service.port, b"GARBAGE\r\n\r\n")
    assert answer.headers["Cache-Control"] == "no-store"

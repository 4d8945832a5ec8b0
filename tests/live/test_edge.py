"""What clients can do to a socket that no test client does: the server's own errors, broken and unfinished bodies."""

import json
import os
import socket
import subprocess
import sys
from email.parser import BytesParser

import pytest

from tests.local.tenant_process import TenantProcess
from tests.service_process import REQUEST_SECONDS, ROOT, ServiceProcess

LOGIN = b"POST /api/v1/auth/auth0/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


def answer_to(service: ServiceProcess, request: bytes) -> tuple[int, dict[str, str], dict[str, object]]:
    """The status, headers and body that raw bytes are answered with."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=REQUEST_SECONDS) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        received = b"".join(iter(lambda: connection.recv(65_536), b""))
    head, _, body = received.partition(b"\r\n\r\n")
    status_line, _, headers = head.partition(b"\r\n")
    return int(status_line.split()[1]), dict(BytesParser().parsebytes(headers)), json.loads(body)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GARBAGE\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 400),
        (b"GET /" + b"x" * 9_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 20_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\nBad Header: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: nonsense\r\n\r\n", 501),
        (LOGIN + b"Transfer-Encoding: chunked\r\n\r\nZZZ\r\n{}\r\n0\r\n\r\n", 400),
        (LOGIN + b"Content-Length: 100\r\n\r\n{", 400),
        (b"GET /api/v1/equipment?\xff=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 400),
    ],
)
def test_what_cannot_be_read_is_answered_with_the_one_error_body(
    service: ServiceProcess, request_bytes: bytes, status: int
) -> None:
    got, headers, body = answer_to(service, request_bytes)
    assert got == status
    assert headers["Content-Type"] == "application/json"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Request-Id"] == body["request_id"]
    assert body["status"] == status
    assert body["code"] in ("BAD_REQUEST", "INTERNAL_ERROR")


def test_a_token_that_is_too_large_is_refused_by_the_service_itself(service: ServiceProcess) -> None:
    answer = service.request("GET", "/api/v1/auth/me", headers={"Authorization": "Bearer " + "x" * 9_000})
    assert answer.status_code == 401
    assert answer.json()["code"] == "INVALID_TOKEN"


@pytest.mark.parametrize(
    "headers",
    [
        {"SCRIPT_NAME": "/elsewhere"},
        {"X-Forwarded-Proto": "https", "X-Forwarded-Protocol": "http"},
        {"X-Forwarded-For": "203.0.113.9"},
        {"Forwarded": "for=203.0.113.9"},
    ],
)
def test_no_header_of_a_proxy_is_believed_where_there_is_none(service: ServiceProcess, headers: dict[str, str]) -> None:
    assert service.request("GET", "/health", headers=headers).text == "ok"


def test_a_wrong_setting_of_the_server_names_itself(tenant: TenantProcess) -> None:
    command = [sys.executable, "-m", "gunicorn", "-c", "deploy/gunicorn.conf.py", "wsgi:app"]
    environment = {**os.environ, **tenant.env(), "DATABASE_URL": "postgresql://x@/x", "APP_ENV": "test", "PORT": "abc"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines() == ["Invalid settings (see deploy/env.example): PORT: Not a valid integer."]

"""What clients can do to a socket that no test client does: the server's own errors, broken and unfinished bodies."""

import pytest

from tests.support.http_raw import exchange
from tests.support.processes.service import ServiceProcess
from tests.support.security_headers import assert_secure

LOGIN = b"POST /api/v1/auth/auth0/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


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
    (answer,) = exchange(service.port, request_bytes)
    body = answer.json()
    assert answer.status == body["status"] == status
    assert answer.phrase.upper() == body["error"].upper()
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Request-Id"] == body["request_id"]
    assert_secure(dict(answer.headers.items()))
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

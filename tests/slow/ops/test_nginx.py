"""The site of deploy/nginx, with a real nginx in front of the real service: what only the two together show."""

import json
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from websockets.sync.client import connect

from app.web.headers import HEADERS, HSTS
from deploy.local.processes import wait_until
from tests.support.assertions import assert_error
from tests.support.processes.nginx import NginxProcess
from tests.support.processes.service import ServiceProcess
from tests.support.users import ChatUser

READ_TIMEOUT_SECONDS = 3
PLANTED = "planted-in-the-query"
ESTABLISHED, TIME_WAIT = "01", "06"  # as /proc/net/tcp names them


@pytest.fixture(scope="module")
def service_settings() -> dict[str, str]:
    return {
        "TRUSTED_PROXY_COUNT": "1",
        "WS_PING_INTERVAL_SECONDS": "1",
        "WS_SILENCE_SECONDS": "60",
        "METRICS_ALLOW_PRIVATE_ONLY": "true",
    }


@pytest.fixture(scope="module")
def nginx(service: ServiceProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NginxProcess]:
    changes = {
        "proxy_read_timeout": f"{READ_TIMEOUT_SECONDS}s",
        "limit_req": "zone=gearyard_requests burst=100000 nodelay",
    }
    with NginxProcess(service, tmp_path_factory.mktemp("nginx"), changes=changes) as running:
        yield running


@pytest.fixture
def http(nginx: NginxProcess) -> Iterator[requests.Session]:
    with nginx.session() as session:
        yield session


def assert_error_with_headers(answer: requests.Response, status: int, code: str) -> None:
    assert_error(answer, status, code)
    assert answer.headers.keys() >= {HSTS[0], *HEADERS}


@contextmanager
def tls(nginx: NginxProcess, *protocols: str) -> Iterator[ssl.SSLSocket]:
    context = ssl.create_default_context(cafile=str(nginx.certificate))
    if protocols:
        context.set_alpn_protocols(protocols)
    with (
        socket.create_connection(("127.0.0.1", nginx.port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as wrapped,
    ):
        yield wrapped


def raw(nginx: NginxProcess, request: bytes) -> bytes:
    with tls(nginx) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def test_a_plain_request_is_sent_to_tls(nginx: NginxProcess) -> None:
    url = f"http://127.0.0.1:{nginx.plain_port}/ws?token={PLANTED}"
    answer = requests.get(url, headers={"Host": "evil.example"}, allow_redirects=False, timeout=20)
    assert (answer.status_code, answer.headers["Location"]) == (308, "https://api.gearyard.example/ws")
    assert wait_until(lambda: '"status":308' in nginx.log(), 10)
    assert PLANTED not in nginx.log()


def test_http_2_is_spoken(nginx: NginxProcess) -> None:
    with tls(nginx, "h2", "http/1.1") as connection:
        assert connection.selected_alpn_protocol() == "h2"


def test_the_client_s_address_is_the_connection_s_and_nothing_that_a_client_says(
    nginx: NginxProcess, service: ServiceProcess, http: requests.Session
) -> None:
    forged = dict.fromkeys(("X-Forwarded-For", "X-Real-IP"), "203.0.113.9") | {"Forwarded": "for=203.0.113.9"}
    answer = http.get(f"{nginx.url}/api/v1/categories", headers=forged, timeout=20)
    line = next(
        line
        for line in service.log().splitlines()
        if answer.headers["X-Request-Id"] in line and "client_address" in line
    )
    assert json.loads(line)["client_address"] == "127.0.0.1"


@pytest.mark.attack("secrets")
def test_no_token_of_a_query_is_in_its_log(nginx: NginxProcess, http: requests.Session) -> None:
    http.get(f"{nginx.url}/api/v1/ws?token={PLANTED}", headers={"Referer": f"https://x/?{PLANTED}"}, timeout=20)
    raw(nginx, f"GET /?token={PLANTED} HTTP/9.9\r\n\r\n".encode())
    raw(nginx, f"GET /{'a' * 20_000}?token={PLANTED} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert wait_until(lambda: "/api/v1/ws" in nginx.log(), 10)
    assert PLANTED not in nginx.log()


def test_a_body_that_is_too_large_has_the_one_error_body(nginx: NginxProcess, http: requests.Session) -> None:
    answer = http.post(f"{nginx.url}/api/v1/equipment", data=b"x" * (256 * 1024 + 1), timeout=20)
    assert_error_with_headers(answer, 413, "PAYLOAD_TOO_LARGE")


def test_what_cannot_be_read_has_the_one_error_body(nginx: NginxProcess) -> None:
    head, _, body = raw(nginx, b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    assert json.loads(body)["code"] == "BAD_REQUEST"


def test_an_address_that_asks_too_often_has_the_one_error_body(service: ServiceProcess, tmp_path: Path) -> None:
    few = {"limit_req": "zone=gearyard_requests"}
    with NginxProcess(service, tmp_path, changes=few) as strict, strict.session() as session:
        answers = [session.get(f"{strict.url}/health", timeout=20) for _ in range(50)]
    refused = [answer for answer in answers if not answer.ok]
    assert refused
    assert_error_with_headers(refused[0], 429, "RATE_LIMITED")
    assert refused[0].headers["Retry-After"] == "1"


def test_only_what_is_public_is_compressed(nginx: NginxProcess, ada: ChatUser) -> None:
    with nginx.session() as session:
        session.headers["Accept-Encoding"] = "gzip"
        public = session.get(f"{nginx.url}/api/v1/categories", timeout=20)
        personal = session.get(f"{nginx.url}/api/v1/auth/me", headers=ada.headers, timeout=20)
    assert public.headers["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in public.headers["Vary"]
    assert "Content-Encoding" not in personal.headers
    assert public.json()


@pytest.fixture
def large(newcomer: Callable[..., ChatUser]) -> tuple[dict[str, str], str]:
    """An owner's headers, and the path of a listing that is large enough to be compressed."""
    owner = newcomer().become_owner()
    place = {"latitude": 46.948, "longitude": 7.4474}
    listing = owner.list_equipment(description="18 V with two batteries. " * 100, coordinates=place)
    return owner.headers, f"/api/v1/equipment/{listing}"


@pytest.mark.parametrize("coding", ["gzip", "identity"])
def test_two_editors_behind_compression_lose_nothing(
    nginx: NginxProcess, http: requests.Session, large: tuple[dict[str, str], str], coding: str
) -> None:
    headers, path = large
    http.headers["Accept-Encoding"] = coding
    seen = http.get(nginx.url + path, timeout=20)
    assert seen.headers.get("Content-Encoding", "identity") == coding
    assert seen.headers["ETag"].startswith("W/" if coding == "gzip" else '"'), "nginx weakens what it compresses"
    sent = {**headers, "If-Match": seen.headers["ETag"]}

    first = http.put(nginx.url + path, json={"title": "First title"}, headers=sent, timeout=20)
    second = http.put(nginx.url + path, json={"title": "Second title"}, headers=sent, timeout=20)
    removed = http.delete(nginx.url + path, headers=sent, timeout=20)

    assert [answer.status_code for answer in (first, second, removed)] == [200, 412, 412]
    assert second.json()["code"] == "PRECONDITION_FAILED"
    now = http.get(nginx.url + path, timeout=20)
    assert now.json()["title"] == "First title"
    assert now.headers["ETag"].removeprefix("W/") == first.headers["ETag"].removeprefix("W/")
    last = {**headers, "If-Match": now.headers["ETag"]}
    assert http.delete(nginx.url + path, headers=last, timeout=20).status_code == 204


@pytest.mark.parametrize("coding", ["gzip", "identity"])
@pytest.mark.parametrize("accept", ["application/json", "application/geo+json"])
@pytest.mark.parametrize("is_list", [True, False])
def test_what_a_client_has_is_not_sent_again_compressed_or_not(
    nginx: NginxProcess, http: requests.Session, large: tuple[dict[str, str], str], coding: str, accept: str,
    is_list: bool,
) -> None:  # fmt: skip
    url = nginx.url + ("/api/v1/equipment" if is_list else large[1])
    http.headers.update({"Accept-Encoding": coding, "Accept": f"{accept}, application/json;q=0.5"})
    seen = http.get(url, timeout=20)
    assert seen.headers["Content-Type"] == (accept if is_list else "application/json")
    assert seen.headers.get("Content-Encoding", "identity") == coding
    again = http.get(url, headers={"If-None-Match": seen.headers["ETag"]}, timeout=20)
    assert again.status_code == 304
    assert again.content == b""
    assert again.headers["ETag"].removeprefix("W/") == seen.headers["ETag"].removeprefix("W/")
    assert again.headers["Cache-Control"] == seen.headers["Cache-Control"] == "public, no-cache"
    assert {"Accept", "Origin"} <= set(again.headers["Vary"].split(", "))
    http.headers["Accept-Encoding"] = "identity" if coding == "gzip" else "gzip"
    assert http.get(url, headers={"If-None-Match": seen.headers["ETag"]}, timeout=20).status_code == 304


def test_a_chat_outlives_the_time_that_nginx_waits_for_an_answer(
    nginx: NginxProcess, ben: ChatUser, ada: ChatUser, talk: str
) -> None:
    context = ssl.create_default_context(cafile=str(nginx.certificate))
    url = f"wss://localhost:{nginx.port}/api/v1/ws"
    with connect(url, ssl=context, additional_headers=ben.headers, proxy=None, open_timeout=20) as chat:
        # The service's pings keep it open; nothing else is said for more than twice that time.
        with pytest.raises(TimeoutError):
            chat.recv(timeout=READ_TIMEOUT_SECONDS * 2.5)
        ada.send(talk, "Still there?")
        frame: dict[str, Any] = json.loads(chat.recv(timeout=20))
    assert frame["payload"]["content"] == "Still there?"


def test_an_idle_connection_to_the_service_is_ended_by_nginx(
    service: ServiceProcess, nginx: NginxProcess, http: requests.Session
) -> None:
    """Where the service ends it, a POST may meet that end, and nobody may send it again for the client."""
    address = f":{service.port:04X}"

    def far_ends(state: str) -> set[str]:
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
        return {row[1] for row in rows if row[2].endswith(address) and row[3] == state}

    http.get(f"{nginx.url}/health", timeout=20)
    kept = far_ends(ESTABLISHED)
    assert kept
    assert wait_until(lambda: not kept & far_ends(ESTABLISHED), 20)
    assert kept <= far_ends(TIME_WAIT)  # which who ends a connection first is left with (RFC 9293 §3.6)


def test_while_the_service_is_away_there_is_the_one_error_body(
    nginx: NginxProcess, service: ServiceProcess, http: requests.Session
) -> None:
    service.stop()
    try:
        answer = http.get(f"{nginx.url}/api/v1/categories?token={PLANTED}", timeout=20)
    finally:
        service.start()
    assert_error_with_headers(answer, 503, "SERVICE_UNAVAILABLE")
    assert answer.headers["Retry-After"] == "2"
    assert PLANTED not in nginx.log()
    assert http.get(f"{nginx.url}/api/v1/categories", timeout=20).ok

"""Responses while the identity provider fails in every way: a 503 with Retry-After, never a 500."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event
from typing import Any
from uuid import uuid4

import pytest
import requests

from tests.support.assertions import assert_error
from tests.support.processes.service import ServiceProcess
from tests.support.processes.tenant import PASSWORD, TenantProcess
from tests.support.waiting import ME, all_at_once, key_fetches, side_by_side, statuses, until

AUTH = "/api/v1/auth/auth0"
QUICK_MODES = ("down", "error", "garbage", "huge", "redirect", "rate_limited", "wrong_shape")
MODES = ("slow", "drip", *QUICK_MODES)  # the two that take their time first
LONGER_THAN_ANY_TIMEOUT_SECONDS = 60
AT_ONCE = 10
BYTE_EVERY_SECONDS = 0.5
ENDPOINTS = {"signup": "signup", "login": "token", "refresh": "token"}


@pytest.fixture(scope="module")
def tenant() -> Iterator[TenantProcess]:
    with TenantProcess() as running:
        yield running


@pytest.fixture(scope="module")
def services(environment: dict[str, str]) -> Iterator[dict[str, ServiceProcess]]:
    """Services of one worker that have not seen a token: one for each way in which the first fetch of keys can fail."""
    with side_by_side({name: ServiceProcess(environment, workers=1) for name in (*MODES, "for logins")}) as running:
        yield running
        for service in running.values():
            assert "unexpected_error" not in service.log()
            assert '"status":500' not in service.log()


@pytest.fixture(scope="module")
def token(tenant: TenantProcess) -> str:
    return tenant.token(email=f"{uuid4().hex}@example.com")


@dataclass(frozen=True)
class Outage:
    """What a cold service and the tenant did when tokens came in while the keys could not be had."""

    answers: list[requests.Response]
    health: requests.Response
    key_fetches: int
    redirects_followed: int


@pytest.fixture(scope="module")
def outages(tenant: TenantProcess, services: dict[str, ServiceProcess], token: str) -> dict[str, Outage]:
    return {mode: outage(tenant, services[mode], token, mode) for mode in MODES}


def outage(tenant: TenantProcess, service: ServiceProcess, token: str, mode: str) -> Outage:
    tenant.reset()
    tenant.fault("jwks", mode, seconds=LONGER_THAN_ANY_TIMEOUT_SECONDS)
    answers = all_at_once(service, [token] * AT_ONCE) + all_at_once(service, [token] * AT_ONCE)
    health = service.request("GET", "/health")
    trapped = tenant.counters()["endpoints"]["trap"]
    fetches = key_fetches(tenant)
    tenant.reset()
    return Outage(answers=answers, health=health, key_fetches=fetches, redirects_followed=trapped)


def post(service: ServiceProcess, path: str) -> requests.Response:
    account = {"email": f"{uuid4().hex[:12]}@example.com", "password": PASSWORD}
    body = {"refresh_token": "made-up"} if path == "refresh" else account
    return service.request("POST", f"{AUTH}/{path}", json=body)


class TestKeysOutOfReach:
    @pytest.mark.parametrize("mode", MODES)
    def test_a_cold_service_answers_that_it_is_unavailable_for_one_request_to_the_tenant(
        self, outages: dict[str, Outage], mode: str
    ) -> None:
        found = outages[mode]
        for answer in found.answers:
            assert_error(answer, 503, "SERVICE_UNAVAILABLE")
        assert found.health.text == "ok"
        assert (found.key_fetches, found.redirects_followed) == (1, 0)

    def test_a_login_hands_out_its_tokens_all_the_same(
        self, services: dict[str, ServiceProcess], calm: TenantProcess
    ) -> None:
        email = f"{uuid4().hex[:12]}@example.com"
        calm.add_user(email)
        calm.fault("jwks", "down")
        answer = services["for logins"].request("POST", f"{AUTH}/login", json={"email": email, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        assert answer.json()["access_token"]


class TestAccountsOutOfReach:
    @pytest.mark.parametrize("mode", QUICK_MODES)
    @pytest.mark.parametrize("path", ENDPOINTS)
    def test_sign_up_login_and_refresh_say_when_to_come_back(
        self, services: dict[str, ServiceProcess], calm: TenantProcess, path: str, mode: str
    ) -> None:
        calm.fault(ENDPOINTS[path], mode)
        expected = (429, "RATE_LIMITED") if mode == "rate_limited" else (503, "SERVICE_UNAVAILABLE")
        assert_error(post(services["error"], path), *expected)
        requests_made = calm.counters()["endpoints"]
        assert requests_made[ENDPOINTS[path]] == 1
        assert requests_made["trap"] == 0

    def test_others_are_served_while_some_wait_for_the_tenant_who_are_not_left_waiting_either(
        self, services: dict[str, ServiceProcess], calm: TenantProcess
    ) -> None:
        service = services["error"]  # of one worker
        calm.fault("token", "slow", seconds=LONGER_THAN_ANY_TIMEOUT_SECONDS)
        calm.fault("signup", "drip")

        def are_waiting() -> bool:
            requests_made: dict[str, Any] = calm.counters()["endpoints"]
            return bool(requests_made["token"] == 2 and requests_made["signup"] == 1)

        with ThreadPoolExecutor() as pool:
            waiting = [pool.submit(post, service, path) for path in ENDPOINTS]
            until(are_waiting)
            assert service.request("GET", "/health").text == "ok"
            assert service.request("GET", "/api/v1/equipment").json()["items"] == []
            assert not any(future.done() for future in waiting)
        for future in waiting:
            assert_error(future.result(), 503, "SERVICE_UNAVAILABLE")


@pytest.mark.usefixtures("outages")
class TestRecovery:
    @pytest.mark.parametrize("mode", MODES)
    def test_once_the_keys_can_be_had_again_they_are(
        self, services: dict[str, ServiceProcess], token: str, mode: str
    ) -> None:
        until(lambda: statuses(all_at_once(services[mode], [token])) == {200: 1})

    @pytest.mark.parametrize("mode", QUICK_MODES)
    def test_a_first_use_that_needs_userinfo_succeeds_when_userinfo_does(
        self, services: dict[str, ServiceProcess], calm: TenantProcess, token: str, mode: str
    ) -> None:
        service = services["drip"]
        until(lambda: statuses(all_at_once(service, [token])) == {200: 1})
        newcomer = {"Authorization": f"Bearer {calm.token(sub=calm.add_user(f'{uuid4().hex}@example.com'))}"}
        calm.fault("userinfo", mode)
        assert_error(service.request("GET", ME, headers=newcomer), 503, "SERVICE_UNAVAILABLE")
        assert calm.counters()["endpoints"]["trap"] == 0
        calm.reset()
        assert service.request("GET", ME, headers=newcomer).json()["email"]


@pytest.fixture
def dripping_issuer() -> Iterator[str]:
    """The issuer URL of a tenant that sends headers without end: each byte comes in time, the response never does."""
    is_over = Event()

    def drip(connection: socket.socket) -> None:
        with connection:
            connection.recv(65_536)
            for byte in b"HTTP/1.1 200 OK\r\nX-Endless: " + b"x" * 1_000:
                if is_over.wait(BYTE_EVERY_SECONDS):
                    return
                try:
                    connection.send(bytes([byte]))
                except OSError:
                    return

    def serve(listener: socket.socket) -> None:
        while not is_over.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threads.submit(drip, connection)

    with ThreadPoolExecutor() as threads, socket.create_server(("127.0.0.1", 0)) as listener:
        threads.submit(serve, listener)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            is_over.set()
            listener.shutdown(socket.SHUT_RDWR)


def test_headers_that_never_end_are_given_up_on(dripping_issuer: str, environment: dict[str, str], token: str) -> None:
    with ServiceProcess({**environment, "AUTH0_ISSUER": dripping_issuer}, workers=1) as service:
        # Both wait for the same keys: the one who asks for them, and the one who stands in line behind.
        for answer in all_at_once(service, [token] * 2):
            assert_error(answer, 503, "SERVICE_UNAVAILABLE")
        assert service.request("GET", "/health").text == "ok"
        assert "Traceback" not in service.log()

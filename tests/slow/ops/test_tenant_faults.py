"""What clients see while the tenant misbehaves in every way it can: a 503 that says when to come back, never a 500."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
import requests

from tests.support.processes.service import ServiceProcess
from tests.support.processes.tenant import PASSWORD, TenantProcess
from tests.support.waiting import ME, all_at_once, key_fetches, side_by_side, statuses, until

AUTH = "/api/v1/auth/auth0"
QUICK_MODES = ("down", "error", "garbage", "huge", "redirect", "rate_limited", "wrong_shape")
MODES = ("slow", "drip", *QUICK_MODES)  # the two that take their time first
LONGER_THAN_ANY_TIMEOUT_SECONDS = 60
AT_ONCE = 10
ENDPOINTS = {"signup": "signup", "login": "token", "refresh": "token"}


@pytest.fixture(scope="module")
def tenant() -> Iterator[TenantProcess]:
    """A tenant of this module's own, because it is broken here."""
    with TenantProcess() as running:
        yield running


@pytest.fixture
def calm(tenant: TenantProcess) -> TenantProcess:
    tenant.reset()
    return tenant


@pytest.fixture(scope="module")
def services(tenant: TenantProcess, database_url_factory: Callable[[], str]) -> Iterator[dict[str, ServiceProcess]]:
    """Services of one worker that have not seen a token: one for each way in which the first fetch of keys can fail."""
    environment = {"DATABASE_URL": database_url_factory(), **tenant.env()}
    with side_by_side({name: ServiceProcess(environment, workers=1) for name in (*MODES, "for logins")}) as running:
        yield running


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


def assert_unavailable(answer: requests.Response, status: int = 503, code: str = "SERVICE_UNAVAILABLE") -> None:
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert body["code"] == code
    assert body.keys() >= {"error", "message", "request_id", "type", "title", "status", "detail", "instance"}
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.headers["Content-Type"] == "application/json"


def body_for(path: str) -> dict[str, str]:
    if path == "refresh":
        return {"refresh_token": "made-up"}
    return {"email": f"{uuid4().hex[:12]}@example.com", "password": PASSWORD}


def post(service: ServiceProcess, path: str) -> requests.Response:
    return service.request("POST", f"{AUTH}/{path}", json=body_for(path))


class TestKeysOutOfReach:
    @pytest.mark.parametrize("mode", MODES)
    def test_a_cold_service_answers_that_it_is_unavailable(self, outages: dict[str, Outage], mode: str) -> None:
        for answer in outages[mode].answers:
            assert_unavailable(answer)
        assert outages[mode].health.text == "ok"

    @pytest.mark.parametrize("mode", MODES)
    def test_all_who_ask_meanwhile_cost_the_tenant_one_request(self, outages: dict[str, Outage], mode: str) -> None:
        assert outages[mode].key_fetches == 1

    def test_no_redirect_is_followed(self, outages: dict[str, Outage]) -> None:
        assert {mode: outages[mode].redirects_followed for mode in MODES} == dict.fromkeys(MODES, 0)

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
        assert_unavailable(post(services["error"], path), *expected)
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
            assert_unavailable(future.result())


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
        assert_unavailable(service.request("GET", ME, headers=newcomer))
        assert calm.counters()["endpoints"]["trap"] == 0
        calm.reset()
        assert service.request("GET", ME, headers=newcomer).json()["email"]

    def test_nothing_of_all_this_was_unexpected(self, services: dict[str, ServiceProcess]) -> None:
        for service in services.values():
            assert "unexpected_error" not in service.log()
            assert '"status": 500' not in service.log()

"""Rate limits over several workers: exact with Redis, per worker without it. tests/slow/ops has the outages."""

import time
from collections.abc import Iterator

import pytest

from tests.support.assertions import assert_error
from tests.support.processes.redis import RedisProcess
from tests.support.processes.service import ServiceProcess
from tests.support.processes.tenant import TenantProcess
from tests.support.rate_limits import (
    FLOOD,
    LIMIT,
    OPEN,
    RATES,
    UNEXPECTED,
    WORKERS,
    ask,
    flood,
    somewhere,
    times_logged,
)
from tests.support.waiting import ME, in_parallel, side_by_side, until
from tests.support.ws_raw import RawSocket, upgrade

SEARCH = "/api/v1/equipment"


@pytest.fixture(scope="module")
def service_settings() -> dict[str, str]:
    return RATES


@pytest.fixture(scope="module")
def services(environment: dict[str, str], redis_server: RedisProcess) -> Iterator[dict[str, ServiceProcess]]:
    """Two workers that share a Redis, and two without Redis."""
    urls = {"shared": redis_server.url, "alone": ""}
    made = {name: ServiceProcess({**environment, "REDIS_URL": url}, workers=WORKERS) for name, url in urls.items()}
    with side_by_side(made) as running:
        yield running
        for service in running.values():
            assert not [trouble for trouble in UNEXPECTED if trouble in service.log()]


@pytest.fixture
def shared(services: dict[str, ServiceProcess]) -> ServiceProcess:
    return services["shared"]


@pytest.mark.attack("rate limits")
class TestExactOverAllWorkers:
    @pytest.mark.parametrize("path", [OPEN, "/nowhere", "/api/v1/equipment/nothing"])
    def test_of_a_flood_exactly_as_many_get_through_as_may(self, shared: ServiceProcess, path: str) -> None:
        found = flood(shared, path)
        assert found.pop(429) == FLOOD - LIMIT
        assert list(found.values()) == [LIMIT]

    def test_a_flood_of_bad_tokens_is_refused(self, shared: ServiceProcess) -> None:
        assert flood(shared, ME, Authorization="Bearer a.b.c") == {401: LIMIT, 429: FLOOD - LIMIT}

    def test_a_user_is_limited_on_all_workers_together(self, shared: ServiceProcess, tenant: TenantProcess) -> None:
        token = tenant.token(email="flood@example.com")
        assert flood(shared, ME, Authorization=f"Bearer {token}") == {200: LIMIT, 429: FLOOD - LIMIT}

    def test_a_flood_of_handshakes_with_bad_tokens_is_refused(self, shared: ServiceProcess) -> None:
        address = somewhere()

        def shake(_: int) -> int:
            with RawSocket(shared.port) as raw:
                headers = {"Authorization": "Bearer a.b.c", "X-Forwarded-For": address}
                return raw.ask(upgrade(headers=headers)).status

        shaken = in_parallel(shake, FLOOD, abreast=40)
        assert (shaken.count(401), shaken.count(429)) == (LIMIT, FLOOD - LIMIT)


class TestHandshakes:
    def test_one_with_a_good_token_counts_for_its_user_and_not_for_the_address(
        self, shared: ServiceProcess, tenant: TenantProcess
    ) -> None:
        address, token = somewhere(), tenant.token(email="socket@example.com")
        headers = {"X-Forwarded-For": address, "Authorization": f"Bearer {token}"}
        with RawSocket(shared.port) as raw:
            raw.open(headers=headers)
        assert int(ask(shared, OPEN, address).headers["X-RateLimit-Remaining"]) == LIMIT - 1
        left = ask(shared, ME, address, Authorization=headers["Authorization"]).headers["X-RateLimit-Remaining"]
        assert int(left) == LIMIT - 2

    def test_a_known_user_gets_a_socket_where_strangers_get_none_any_more(
        self, shared: ServiceProcess, tenant: TenantProcess
    ) -> None:
        address, token = somewhere(), tenant.token(email="neighbour@example.com")
        until(lambda: ask(shared, "/nowhere", address).status_code == 429)
        with RawSocket(shared.port) as raw:
            refused = raw.ask(upgrade(headers={"X-Forwarded-For": address}))
        assert_error(refused, 429, "RATE_LIMITED")
        with RawSocket(shared.port) as raw:
            raw.open(headers={"X-Forwarded-For": address, "Authorization": f"Bearer {token}"})


def test_after_the_time_that_redis_tells_the_request_is_let_in(shared: ServiceProcess) -> None:
    address = somewhere()
    for _ in range(3):
        answer = ask(shared, SEARCH, address)
        while answer.status_code != 429:
            answer = ask(shared, SEARCH, address)
        assert answer.headers["Retry-After"] == "1"
        told_at = asked_at = time.monotonic()
        while answer.status_code == 429:
            assert asked_at < told_at + 1
            asked_at = time.monotonic()
            answer = ask(shared, SEARCH, address)


class TestWithoutRedis:
    def test_each_worker_counts_by_itself(self, services: dict[str, ServiceProcess]) -> None:
        found = flood(services["alone"])
        assert found.keys() <= {200, 429}
        assert LIMIT < found[200] <= LIMIT * WORKERS

    def test_it_is_said_once_at_the_start_and_only_where_it_is_so(self, services: dict[str, ServiceProcess]) -> None:
        no_redis = "rate_limits_counted_per_worker"
        said = {name: times_logged(service, no_redis) for name, service in services.items()}
        assert said == {"alone": 1, "shared": 0}

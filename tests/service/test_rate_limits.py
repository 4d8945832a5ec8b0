"""Rate limits over several real workers: exact with Redis, by the worker without it, and never a failed request."""

import json
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest
import requests

from tests.support.processes.redis import RedisProcess
from tests.support.processes.service import ServiceProcess
from tests.support.processes.tenant import TenantProcess
from tests.support.retry_after import assert_let_in_after_a_second
from tests.support.waiting import ME, side_by_side, until
from tests.support.ws_raw import RawSocket, upgrade

OPEN = "/api/v1/categories"
SEARCH = "/api/v1/equipment"
WORKERS = 2
LIMIT = 50
FLOOD = 120
# By the hour, so that no window ends while it is counted in.
RATES = {
    "RATE_LIMIT_ANONYMOUS": f"{LIMIT}/hour",
    "RATE_LIMIT_AUTHENTICATED": f"{LIMIT}/hour",
    "RATE_LIMIT_PUBLIC_SEARCH": "2/second",
    "TRUSTED_PROXY_COUNT": "1",  # so that a test is at any address it likes
}
# What Redis may cost a request, and how often one pays it while Redis is away.
TIMEOUT_SECONDS, RETRY_SECONDS = 1, 3
SLACK_SECONDS = 2  # of a busy machine
AWAY, BACK = "rate_limits_redis_away", "rate_limits_redis_back"
NO_REDIS = "rate_limits_counted_per_worker"
_number = count(1)


def somewhere() -> str:
    """An address where nobody has been."""
    number = next(_number)
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def ask(service: ServiceProcess, path: str, address: str, **headers: str) -> requests.Response:
    """One request on a connection of its own, so that all of them reach every worker."""
    return service.request("GET", path, headers={"X-Forwarded-For": address, "Connection": "close", **headers})


def flood(service: ServiceProcess, path: str = OPEN, **headers: str) -> Counter[int]:
    """Many requests at once from one address; how many had which status."""
    address = somewhere()
    with ThreadPoolExecutor(40) as pool:
        answers = pool.map(lambda _: ask(service, path, address, **headers), range(FLOOD))
        return Counter(answer.status_code for answer in answers)


def asked_all(service: ServiceProcess) -> bool:
    """Ask a few times, so that every worker is likely to have been asked."""
    return [ask(service, "/nowhere", somewhere()).status_code for _ in range(2 * WORKERS)] == [404] * 2 * WORKERS


def times_logged(service: ServiceProcess, event: str) -> int:
    return sum(json.loads(line)["event"].startswith(event) for line in service.log().splitlines() if line[:1] == "{")


@pytest.fixture(scope="module")
def shared_redis() -> Iterator[RedisProcess]:
    """A Redis that is killed and comes back, at the end."""
    with RedisProcess() as running:
        yield running


@pytest.fixture(scope="module")
def mute_redis() -> Iterator[str]:
    """The URL of what takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=500) as listener:
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"


@pytest.fixture(scope="module")
def services(
    database_url_factory: Callable[[], str],
    tenant: TenantProcess,
    shared_redis: RedisProcess,
    mute_redis: str,
) -> Iterator[dict[str, ServiceProcess]]:
    environment = {"DATABASE_URL": database_url_factory(), **tenant.env(), **RATES}
    urls = {"shared": shared_redis.url, "mute": mute_redis, "alone": ""}
    made = {name: ServiceProcess({**environment, "REDIS_URL": url}, workers=WORKERS) for name, url in urls.items()}
    with side_by_side(made) as running:
        yield running
        for service in running.values():
            for trouble in ("Traceback", "unexpected_error", '"status": 500'):
                assert trouble not in service.log()


@pytest.fixture
def shared(services: dict[str, ServiceProcess]) -> ServiceProcess:
    return services["shared"]


@pytest.mark.attack("rate limits")
class TestExactOverAllWorkers:
    @pytest.mark.parametrize("path", [OPEN, "/nowhere", "/api/v1/equipment/nothing"])
    def test_of_a_flood_exactly_as_many_get_through_as_may(self, shared: ServiceProcess, path: str) -> None:
        statuses = flood(shared, path)
        assert statuses.pop(429) == FLOOD - LIMIT
        assert list(statuses.values()) == [LIMIT]

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

        with ThreadPoolExecutor(40) as pool:
            assert Counter(pool.map(shake, range(FLOOD))) == {401: LIMIT, 429: FLOOD - LIMIT}


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
        assert (refused.status, refused.json()["code"]) == (429, "RATE_LIMITED")
        assert int(refused.headers["Retry-After"]) > 0
        with RawSocket(shared.port) as raw:
            raw.open(headers={"X-Forwarded-For": address, "Authorization": f"Bearer {token}"})


def test_after_the_time_that_redis_tells_the_request_is_let_in(shared: ServiceProcess) -> None:
    address = somewhere()
    for _ in range(3):
        assert_let_in_after_a_second(lambda: ask(shared, SEARCH, address))


class TestWithoutRedis:
    def test_each_worker_counts_by_itself(self, services: dict[str, ServiceProcess]) -> None:
        statuses = flood(services["alone"])
        assert statuses.keys() <= {200, 429}
        assert LIMIT < statuses[200] <= LIMIT * WORKERS

    def test_it_is_said_once_at_the_start_and_only_where_it_is_so(self, services: dict[str, ServiceProcess]) -> None:
        assert {name: times_logged(service, NO_REDIS) for name, service in services.items()} == {
            "alone": 1,
            "shared": 0,
            "mute": 0,
        }


class TestOutage:
    def test_redis_goes_and_comes_back_and_no_request_fails(
        self, shared: ServiceProcess, shared_redis: RedisProcess
    ) -> None:
        asked_before = shared.log().count('"event":"request"')
        assert flood(shared) == {200: LIMIT, 429: FLOOD - LIMIT}

        with ThreadPoolExecutor(1) as pool:  # while requests are under way
            under_way = pool.submit(lambda: [flood(shared) for _ in range(4)])
            until(lambda: shared.log().count('"event":"request"') > asked_before + FLOOD * 1.5)
            shared_redis.kill()
            assert all(statuses.keys() <= {200, 429} for statuses in under_way.result())
        until(lambda: asked_all(shared) and times_logged(shared, AWAY) == WORKERS)
        assert LIMIT < flood(shared)[200] <= LIMIT * WORKERS

        shared_redis.start()
        until(lambda: asked_all(shared) and times_logged(shared, BACK) == WORKERS)
        assert flood(shared) == {200: LIMIT, 429: FLOOD - LIMIT}
        assert (times_logged(shared, AWAY), times_logged(shared, BACK)) == (WORKERS, WORKERS)

    def test_a_redis_that_does_not_answer_holds_up_hardly_anybody(self, services: dict[str, ServiceProcess]) -> None:
        mute = services["mute"]

        def seconds(_: int) -> float:
            began = time.monotonic()
            assert ask(mute, "/nowhere", somewhere()).status_code == 404
            return time.monotonic() - began

        with ThreadPoolExecutor(30) as pool:  # those that notice wait for one timeout, all at once
            assert max(pool.map(seconds, range(30))) < TIMEOUT_SECONDS + SLACK_SECONDS
        until(lambda: asked_all(mute) and times_logged(mute, AWAY) == WORKERS)
        began = time.monotonic()
        waits = [seconds(number) for number in range(100)]
        looks = WORKERS * (1 + (time.monotonic() - began) / RETRY_SECONDS)  # one request in a while sees if it is back
        assert sum(wait >= TIMEOUT_SECONDS for wait in waits) <= looks
        assert max(waits) < TIMEOUT_SECONDS + SLACK_SECONDS
        assert times_logged(mute, AWAY) == WORKERS

"""Rate limits while Redis is killed, comes back, or takes connections and never answers: no request fails."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from tests.support.processes.redis import RedisProcess
from tests.support.processes.service import ServiceProcess
from tests.support.rate_limits import FLOOD, LIMIT, RATES, UNEXPECTED, WORKERS, ask, flood, somewhere, times_logged
from tests.support.waiting import in_parallel, until

AWAY, BACK = "rate_limits_redis_away", "rate_limits_redis_back"
RETRY_SECONDS = 3  # how often a worker tries whether Redis is back
BUS_TIMEOUT_SECONDS = 2  # a worker's bus gives up a connection that does not answer, and makes another
LONGEST_SECONDS = 15  # far above Redis's timeout of 1 s, because the machine may be busy


@pytest.fixture(scope="module")
def service_settings() -> dict[str, str]:
    return RATES


@pytest.fixture
def redis() -> Iterator[RedisProcess]:
    with RedisProcess() as running:
        yield running


@pytest.fixture
def mute() -> Iterator[socket.socket]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=500) as listener:
        listener.setblocking(False)
        yield listener


def asked_all(service: ServiceProcess) -> bool:
    """Ask a few times, so that every worker is likely to have been asked."""
    return [ask(service, "/nowhere", somewhere()).status_code for _ in range(2 * WORKERS)] == [404] * 2 * WORKERS


def test_redis_goes_and_comes_back_and_no_request_fails(redis: RedisProcess, environment: dict[str, str]) -> None:
    with ServiceProcess({**environment, "REDIS_URL": redis.url}, workers=WORKERS) as service:
        assert asked_all(service)  # a worker's first count loads its script, which takes long on a busy machine
        asked_before = times_logged(service, "request")
        assert flood(service) == {200: LIMIT, 429: FLOOD - LIMIT}

        with ThreadPoolExecutor(1) as pool:  # while requests are under way
            under_way = pool.submit(lambda: [flood(service) for _ in range(4)])
            until(lambda: times_logged(service, "request") > asked_before + FLOOD * 1.5)
            redis.kill()
            assert all(found.keys() <= {200, 429} for found in under_way.result())
        until(lambda: asked_all(service) and times_logged(service, AWAY) == WORKERS)
        assert LIMIT < flood(service)[200] <= LIMIT * WORKERS

        redis.start()
        until(lambda: asked_all(service) and times_logged(service, BACK) == WORKERS)
        assert flood(service) == {200: LIMIT, 429: FLOOD - LIMIT}
        assert (times_logged(service, AWAY), times_logged(service, BACK)) == (WORKERS, WORKERS)
        assert not [trouble for trouble in UNEXPECTED if trouble in service.log()]


def test_a_redis_that_does_not_answer_delays_few_requests_and_not_for_long(
    mute: socket.socket, environment: dict[str, str]
) -> None:
    url = f"redis://127.0.0.1:{mute.getsockname()[1]}/0"
    with ServiceProcess({**environment, "REDIS_URL": url}, workers=WORKERS) as service:

        def seconds(_: int) -> float:
            began = time.monotonic()
            assert ask(service, "/nowhere", somewhere()).status_code == 404
            return time.monotonic() - began

        assert max(in_parallel(seconds, 30, abreast=30)) < LONGEST_SECONDS
        until(lambda: asked_all(service) and times_logged(service, AWAY) == WORKERS)
        connections(mute)
        began = time.monotonic()
        assert max(seconds(number) for number in range(100)) < LONGEST_SECONDS
        elapsed = time.monotonic() - began
        assert connections(mute) <= WORKERS * (2 + elapsed / RETRY_SECONDS + elapsed / BUS_TIMEOUT_SECONDS)
        assert times_logged(service, AWAY) == WORKERS
        assert not [trouble for trouble in UNEXPECTED if trouble in service.log()]


def connections(listener: socket.socket) -> int:
    """The number of connections since the last call: of requests that tried Redis, and of the bus."""
    found = 0
    with suppress(BlockingIOError):
        while True:
            listener.accept()[0].close()
            found += 1
    return found

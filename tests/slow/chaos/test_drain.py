"""A reload and a stop tell every socket where it stands, in time, and write nothing into it that is no WebSocket."""

import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from app.realtime.hub import RECONNECT_SPREAD_SECONDS
from tests.support.assertions import assert_error
from tests.support.processes.service import GENEROUS_CHAT, ServiceProcess
from tests.support.processes.tenant import TenantProcess
from tests.support.users import new_user
from tests.support.waiting import until
from tests.support.ws_raw import CLOSE, RawSocket, open_socket, upgrade

SOCKETS = 40
KEPT = 8
HEALTH = b"GET /health HTTP/1.1\r\nHost: gearyard.test\r\n\r\n"
WITHIN_SECONDS = 2.0


@pytest.fixture
def service(database_url_factory: Callable[[], str], tenant: TenantProcess) -> Iterator[ServiceProcess]:
    """A service that is stopped in the test."""
    with ServiceProcess({"DATABASE_URL": database_url_factory(), **tenant.env(), **GENEROUS_CHAT}) as running:
        yield running
        assert "Traceback" not in running.log()


def ending(raw: RawSocket) -> tuple[list[str], int, float]:
    """Read to the end, which is the close frame; the types of the frames before it, its code and its time."""
    frames = []
    with raw:
        while (heard := raw.hear()).opcode != CLOSE:
            said = heard.json()
            frames.append(str(said["type"]))
            assert 0 <= said["payload"]["reconnect_in"] <= RECONNECT_SPREAD_SECONDS
        at = time.monotonic()
        with pytest.raises(EOFError):
            raw.hear()
    return frames, int.from_bytes(heard.payload[:2]), at


@pytest.mark.parametrize("sign", [signal.SIGHUP, signal.SIGTERM])
def test_every_socket_is_told_and_closed_with_1012_in_time(
    service: ServiceProcess, tenant: TenantProcess, sign: signal.Signals
) -> None:
    member = new_user(service, tenant)
    silent = [RawSocket(service.port) for _ in range(4)]
    for raw in silent:  # these have not said who they are
        raw.open()
    versions = [1 + number % 2 for number in range(SOCKETS)]
    sockets = [open_socket(member, version=version) for version in versions]
    assert service.process is not None
    with ThreadPoolExecutor(SOCKETS + len(silent)) as threads:
        waiting = [threads.submit(ending, raw) for raw in [*sockets, *silent]]
        told_at = time.monotonic()
        service.process.send_signal(sign)
        endings = [one.result() for one in waiting]
    frames, codes, times = zip(*endings, strict=True)
    assert set(codes) == {1012}
    assert max(times) - told_at < WITHIN_SECONDS
    assert list(frames) == [["draining"] if version > 1 else [] for version in [*versions, 1, 1, 1, 1]]


def test_a_worker_that_drains_refuses_sockets_at_once_and_still_answers_requests(service: ServiceProcess) -> None:
    """On connections that were there before, as a proxy keeps them: they reach a worker after it was told to end."""
    with ExitStack() as stack:
        kept = [stack.enter_context(RawSocket(service.port)) for _ in range(KEPT)]
        for raw in kept:
            assert raw.ask(HEALTH).status == 200
        service.reload()
        until(lambda: service.log().count('"draining"') == 2)
        for raw in kept[::2]:
            refusal = raw.ask(upgrade())
            assert_error(refusal, 503, "SERVICE_UNAVAILABLE")
            assert refusal.headers["Retry-After"] == "1"
        for raw in kept[1::2]:
            answer = raw.ask(HEALTH)
            assert (answer.status, answer.headers["Connection"]) == (200, "close")
        for raw in kept:
            with pytest.raises(EOFError):
                raw.hear()

"""A restart behind a socket that systemd holds open: connections wait, and none is refused."""

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest
import requests

from deploy.local.processes import wait_until
from tests.local.tenant_process import TenantProcess
from tests.service_process import ServiceProcess

RESTARTS = 3
CLIENTS = 4
FIRST_PASSED_DESCRIPTOR = 3  # sd_listen_fds(3)


class ActivatedService(ServiceProcess):
    """The service as systemd starts it: with a listening socket that outlives it, and one to say it is ready."""

    def __init__(self, environment: dict[str, str], directory: Path) -> None:
        super().__init__(environment)
        self.listener = socket.create_server(("127.0.0.1", self.port), backlog=2048)
        self.notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notices.bind(str(directory / "notify"))
        self.notices.setblocking(False)
        self._environment |= {"NOTIFY_SOCKET": str(directory / "notify"), "LISTEN_FDS": "1", "PORT": "1"}

    def command(self) -> list[str]:
        """As systemd does: the descriptor moved to where it is looked for, and the process named."""
        given = self.listener.fileno()
        move = f'exec {FIRST_PASSED_DESCRIPTOR}<&{given}; export LISTEN_PID=$$; exec "$@"'
        return ["bash", "-c", move, "bash", *super().command()]

    @property
    def passed_descriptors(self) -> tuple[int, ...]:
        """What the process inherits."""
        return (self.listener.fileno(),)

    def close(self) -> None:
        """What systemd would close once the unit is gone."""
        self.listener.close()
        self.notices.close()


@pytest.fixture
def activated(
    database_url_factory: Callable[[], str], tenant: TenantProcess, tmp_path: Path
) -> Iterator[ActivatedService]:
    service = ActivatedService({"DATABASE_URL": database_url_factory(), **tenant.env()}, tmp_path)
    with service:
        yield service
    service.close()


def ask_until(stop: Event, service: ActivatedService) -> list[int | str]:
    """The statuses of requests, each on a connection of its own, one after the other."""
    answers: list[int | str] = []
    while not stop.is_set():
        try:
            answers.append(service.request("GET", "/api/v1/categories").status_code)
        except requests.RequestException as error:
            answers.append(repr(error))
    return answers


def test_no_request_fails_while_the_service_restarts(activated: ActivatedService) -> None:
    stop = Event()
    with ThreadPoolExecutor(CLIENTS) as pool:
        asking: list[Future[list[int | str]]] = [pool.submit(ask_until, stop, activated) for _ in range(CLIENTS)]
        try:
            for _ in range(RESTARTS):
                assert activated.stop() == 0
                activated.start()
        finally:
            stop.set()
        answers = [answer for each in asking for answer in each.result()]
    assert set(answers) == {200}
    assert len(answers) > RESTARTS * CLIENTS


def test_systemd_is_told_when_it_is_ready(activated: ActivatedService) -> None:
    assert wait_until(lambda: b"READY=1" in _notices(activated.notices), 30)


def _notices(notices: socket.socket) -> bytes:
    try:
        return notices.recv(4096)
    except BlockingIOError:
        return b""

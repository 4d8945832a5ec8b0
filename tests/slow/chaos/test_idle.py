"""Idle sockets cost little, and plain HTTP is served beside them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from tests.support.processes.service import ServiceProcess
from tests.support.processes.tenant import TenantProcess
from tests.support.users import new_user
from tests.support.ws_raw import RawSocket, open_socket, upgrade

SOCKETS = 2000
PEOPLE = 40
WARM_UP = 80  # a multiple of the people
MOST_KIB_EACH = 60


def test_two_thousand_idle_sockets_on_one_worker(
    database_url_factory: Callable[[], str], tenant: TenantProcess
) -> None:
    environment = {
        "DATABASE_URL": database_url_factory(),
        **tenant.env(),
        "WS_MAX_SOCKETS_PER_USER": "1000",
        "WS_MAX_SOCKETS_PER_WORKER": f"{SOCKETS}",
        "WS_PING_INTERVAL_SECONDS": "80",  # no ping while so many connect
    }
    with ServiceProcess(environment, workers=1) as service, ExitStack() as open_sockets:
        people = [new_user(service, tenant) for _ in range(PEOPLE)]
        talk = people[0].begin(people[1])

        def connect(number: int) -> RawSocket:
            return open_socket(people[number % PEOPLE])

        with ThreadPoolExecutor(16) as threads:
            for raw in threads.map(connect, range(WARM_UP)):
                open_sockets.enter_context(raw)
            before = service.rss_kib()
            sockets = list(threads.map(connect, range(WARM_UP, SOCKETS)))
        for raw in sockets:
            open_sockets.enter_context(raw)
        assert (service.rss_kib() - before) / len(sockets) <= MOST_KIB_EACH
        assert service.request("GET", "/health").text == "ok"
        with RawSocket(service.port) as one_too_many:
            assert one_too_many.ask(upgrade()).status == 503
        assert people[0].send(talk, "Anybody awake?") == sockets[0].hear().json()["payload"]

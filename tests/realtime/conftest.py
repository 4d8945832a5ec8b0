"""Services for the tests of sockets: modules with the same settings share one."""

import re
from collections.abc import Callable, Iterator

import pytest

from tests.support.processes.service import GENEROUS_CHAT, ServiceProcess

TROUBLE = re.compile(
    r'Traceback|unexpected_error|"status": ?500|"level": ?"(error|critical)"|"code": ?1011.*"service"|eyJ|token='
)


@pytest.fixture(scope="module")
def service_settings() -> dict[str, str]:
    """Generous limits; a module that tests the limits overrides this."""
    return GENEROUS_CHAT | {"WS_FRAMES_PER_SECOND": "10000"}


@pytest.fixture(scope="module")
def service(
    start_service: Callable[[dict[str, str]], ServiceProcess], service_settings: dict[str, str]
) -> Iterator[ServiceProcess]:
    """Two workers, which no test of the module may break; the log has neither an error nor a token."""
    running = start_service(service_settings)
    workers, log_start = running.worker_pids(), len(running.log())
    assert len(workers) == 2
    yield running
    assert running.worker_pids() == workers
    assert [line for line in running.log()[log_start:].splitlines() if TROUBLE.search(line)] == []


@pytest.fixture(scope="module")
def database_url(service: ServiceProcess) -> str:
    return service.database_url

"""The service with two workers, once for each kind of bus: what is promised of sockets holds over both."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.local.tenant_process import TenantProcess
from tests.realtime.people import Member, new_member
from tests.realtime.redis_process import RedisProcess
from tests.service_process import ServiceProcess


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisProcess]:
    """A Redis that the tests share; who breaks it uses one of their own."""
    with RedisProcess() as running:
        yield running


@pytest.fixture(scope="module", params=["postgresql", "redis"])
def bus_settings(request: pytest.FixtureRequest) -> dict[str, str]:
    """The settings that choose the bus."""
    if request.param == "postgresql":
        return {}
    server: RedisProcess = request.getfixturevalue("redis_server")
    return {"REDIS_URL": server.url}


@pytest.fixture(scope="module")
def service(
    database_url_factory: Callable[[], str], tenant: TenantProcess, bus_settings: dict[str, str]
) -> Iterator[ServiceProcess]:
    """The service as production runs it, with generous limits: who tests the limits has one of their own."""
    environment = {"DATABASE_URL": database_url_factory(), **tenant.env(), **bus_settings, **GENEROUS}
    with ServiceProcess(environment) as running:
        yield running


GENEROUS = {
    "WS_MESSAGES_PER_SECOND": "1000",
    "WS_MESSAGE_BURST": "1000",
    "WS_FRAMES_PER_SECOND": "1000",
    "WS_MAX_SOCKETS_PER_USER": "1000",
}


@pytest.fixture
def newcomer(service: ServiceProcess, tenant: TenantProcess) -> Callable[..., Member]:
    """Makes people who are known to the service."""

    def make(**claims: Any) -> Member:
        return new_member(service, tenant, **claims)

    return make


@pytest.fixture
def ada(newcomer: Callable[..., Member]) -> Member:
    """Somebody who writes."""
    return newcomer()


@pytest.fixture
def ben(newcomer: Callable[..., Member]) -> Member:
    """Somebody who is written to."""
    return newcomer()


@pytest.fixture
def stranger(newcomer: Callable[..., Member]) -> Member:
    """Somebody who has no part in it."""
    return newcomer()


@pytest.fixture
def talk(ada: Member, ben: Member) -> str:
    """The id of a conversation of Ada and Ben."""
    return ada.begin(ben)

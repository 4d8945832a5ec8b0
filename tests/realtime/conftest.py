"""The service with two workers, once for each kind of bus: what is promised of sockets holds over both."""

from collections.abc import Callable, Iterator

import pytest

from tests.support.processes.service import GENEROUS_CHAT, ServiceProcess
from tests.support.processes.tenant import TenantProcess


@pytest.fixture(scope="module")
def service(
    database_url_factory: Callable[[], str], tenant: TenantProcess, bus_settings: dict[str, str]
) -> Iterator[ServiceProcess]:
    """The service as production runs it, with generous limits: who tests the limits has one of their own."""
    environment = {"DATABASE_URL": database_url_factory(), **tenant.env(), **bus_settings, **GENEROUS_CHAT}
    with ServiceProcess(environment) as running:
        yield running

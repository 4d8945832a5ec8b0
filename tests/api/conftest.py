"""People who write to each other, and a conversation of theirs."""

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from tests.api.writer import Writer
from tests.factories import add_person
from tests.local.tenant_process import TenantProcess


@pytest.fixture
def newcomer(client: FlaskClient, tenant: TenantProcess) -> Callable[[], Writer]:
    """Makes people who write."""
    return lambda: Writer(client, add_person(tenant))


@pytest.fixture
def ada(newcomer: Callable[[], Writer]) -> Writer:
    """Somebody who writes."""
    return newcomer()


@pytest.fixture
def ben(newcomer: Callable[[], Writer]) -> Writer:
    """Somebody who is written to."""
    return newcomer()


@pytest.fixture
def talk(ada: Writer, ben: Writer) -> str:
    """The id of a conversation of Ada and Ben."""
    return ada.begin(ben)

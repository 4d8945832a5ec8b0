"""People who write to each other, and a conversation of theirs; somebody who logs in."""

from collections.abc import Callable
from uuid import uuid4

import pytest
from flask.testing import FlaskClient

from tests.api.logins import Logins
from tests.support.processes.tenant import TenantProcess
from tests.support.rows import add_person
from tests.support.writers import Writer


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


@pytest.fixture
def logins(client: FlaskClient, tenant: TenantProcess) -> Logins:
    """Attempts at a tenant that works and counts from zero."""
    tenant.reset()
    return Logins(client, tenant)


@pytest.fixture
def email(tenant: TenantProcess) -> str:
    """An account whose password is PASSWORD."""
    address = f"{uuid4().hex[:12]}@example.com"
    tenant.add_user(address)
    return address

"""Users of the app in this process, in place of those of a running service; logins."""

from collections.abc import Callable
from uuid import uuid4

import pytest
from flask.testing import FlaskClient

from tests.support.logins import Logins
from tests.support.processes.tenant import TenantProcess
from tests.support.rows import add_person
from tests.support.users import ChatUser, chat_user


@pytest.fixture
def newcomer(client: FlaskClient, tenant: TenantProcess) -> Callable[[], ChatUser]:
    return lambda: chat_user(client, add_person(tenant))


@pytest.fixture
def logins(client: FlaskClient, calm: TenantProcess) -> Logins:
    return Logins(client, calm)


@pytest.fixture
def email(tenant: TenantProcess) -> str:
    """An account whose password is PASSWORD."""
    address = f"{uuid4().hex[:12]}@example.com"
    tenant.add_user(address)
    return address

"""What the tests stand on: a private PostGIS cluster, a tenant of their own, the app, and people with tokens.

Tests below `tests/api` speak to the app in this process and leave nothing behind: each runs in a transaction that is
rolled back. Tests below `tests/service` start the service as production does, on a database of their own.
"""

import socket
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import structlog
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import settings as profiles
from sqlalchemy import Engine, event

from app import create_app
from app.db.engine import make_engine
from app.db.session import bound_to
from app.models import Role
from app.observability import logging as service_logging
from app.settings import Settings
from deploy.local.cluster import PostgresCluster
from tests.support import ROOT
from tests.support.databases import breakable_cluster, run_cluster, scalar, template_name
from tests.support.openapi_checks import CheckedClient
from tests.support.processes.redis import RedisProcess
from tests.support.processes.service import GENEROUS_RATES, ServiceProcess
from tests.support.processes.tenant import TenantProcess
from tests.support.rows import Person, add_person
from tests.support.users import ChatUser, new_user

CLUSTER = pytest.StashKey[AbstractContextManager[PostgresCluster]]()
DIRECTORY = pytest.StashKey[Path]()
TESTS = ROOT / "tests"
profiles.register_profile("fast", deadline=None, database=None, derandomize=True, max_examples=10)
profiles.register_profile("all", deadline=None, database=None, derandomize=True, max_examples=100)
profiles.load_profile("fast")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Files whose tests wait for processes come first: at the end, one would keep a single worker busy.
    items.sort(key=lambda item: not item.path.is_relative_to(TESTS / "service"))
    for item in items:
        if item.path.is_relative_to(TESTS / "slow"):
            item.add_marker("slow")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Start one cluster in the controller of pytest-xdist and name it to every worker."""
    stash = node.config.stash
    if CLUSTER not in stash:
        stash[CLUSTER] = run_cluster()
        stash[DIRECTORY] = stash[CLUSTER].__enter__().directory
    node.workerinput["cluster"] = str(stash[DIRECTORY])


def pytest_unconfigure(config: pytest.Config) -> None:
    if CLUSTER in config.stash:
        config.stash[CLUSTER].__exit__(None, None, None)


@pytest.fixture(scope="session")
def cluster(pytestconfig: pytest.Config) -> Iterator[PostgresCluster]:
    """A private cluster, quick and not durable; pytest-xdist's workers share the controller's."""
    shared = getattr(pytestconfig, "workerinput", {}).get("cluster")
    if shared is not None:
        yield PostgresCluster(Path(shared), durable=False)
        return
    with run_cluster() as running:
        yield running


@pytest.fixture(scope="session")
def database_url_factory(cluster: PostgresCluster) -> Iterator[Callable[[], str]]:
    """Makes new, migrated, otherwise empty databases; a call gives the URL of one."""
    made: list[str] = []

    def make() -> str:
        name = f"test_{uuid4().hex}"
        cluster.create_database(name, template=template_name())
        made.append(name)
        return cluster.url(name)

    yield make
    for name in made:
        cluster.drop_database(name)


@pytest.fixture(scope="module")
def own_cluster() -> Iterator[PostgresCluster]:
    """A cluster of the module's own, which is broken there."""
    with breakable_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def tenant() -> Iterator[TenantProcess]:
    """The tenant that the tests share; who breaks it uses one of their own."""
    with TenantProcess() as running:
        yield running


@pytest.fixture
def calm(tenant: TenantProcess) -> TenantProcess:
    """The tenant without faults, counting from zero."""
    tenant.reset()
    return tenant


@pytest.fixture(scope="session")
def settings(database_url_factory: Callable[[], str], tenant: TenantProcess) -> Settings:
    """Settings of a development service on the test's own database and tenant."""
    environment = {
        "APP_ENV": "test",
        "DATABASE_URL": database_url_factory(),
        "LOG_LEVEL": "warning",
        **GENEROUS_RATES,
        **tenant.env(),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        return Settings.from_env()


@pytest.fixture(scope="session")
def app(settings: Settings) -> Flask:
    """The service, in this process; every answer that a test gets of it is held against its description."""
    app = create_app(settings)
    app.test_client_class = CheckedClient
    return app


@pytest.fixture(scope="session")
def engine(settings: Settings, app: Flask) -> Engine:
    """Connections to the same database as the app's."""
    return make_engine(settings)


@pytest.fixture
def rolled_back(engine: Engine) -> Iterator[None]:
    """Everything in the test happens in one transaction, which is rolled back at its end."""
    with engine.connect() as connection, connection.begin() as outer:
        # On a busy machine a test may pause for longer than a request may.
        connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
        with bound_to(connection):
            yield
        outer.rollback()


@pytest.fixture
def client(app: Flask, rolled_back: None) -> FlaskClient:
    """Requests to the app; what they change is undone afterwards."""
    return app.test_client()


@pytest.fixture
def renter(client: FlaskClient, tenant: TenantProcess) -> Person:
    return add_person(tenant, Role.RENTER)


@pytest.fixture
def owner(client: FlaskClient, tenant: TenantProcess) -> Person:
    return add_person(tenant, Role.OWNER)


@pytest.fixture
def admin(client: FlaskClient, tenant: TenantProcess) -> Person:
    return add_person(tenant, Role.ADMIN)


class StatementCounter:
    """Counts SQL statements; those that only open or close a transaction do not count."""

    def __init__(self) -> None:
        self.statements: list[str] = []
        self.savepoints = 0

    def note(self, _connection: object, _cursor: object, statement: str, *_: object) -> None:
        """SQLAlchemy's `before_cursor_execute`."""
        if statement.startswith(("SAVEPOINT", "RELEASE SAVEPOINT", "ROLLBACK TO")):
            self.savepoints += 1
        else:
            self.statements.append(statement)

    def __len__(self) -> int:
        return len(self.statements)


@pytest.fixture
def counting_statements(engine: Engine) -> Callable[[], object]:
    """`with counting_statements() as counted:` counts what the block runs."""

    @contextmanager
    def counting() -> Iterator[StatementCounter]:
        counter = StatementCounter()
        event.listen(engine, "before_cursor_execute", counter.note)
        try:
            yield counter
        finally:
            event.remove(engine, "before_cursor_execute", counter.note)

    return counting


@pytest.fixture
def logged(settings: Settings) -> Iterator[list[structlog.typing.EventDict]]:
    """The log entries of the service's own loggers, from `info` up, with the context of the request."""
    structlog.configure(**service_logging.structlog_config(level="info", as_json=True))
    with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as entries:
        yield entries
    service_logging.configure(settings)


@pytest.fixture(scope="module")
def database_url(database_url_factory: Callable[[], str]) -> str:
    return database_url_factory()


@pytest.fixture(scope="module")
def service_settings() -> dict[str, str]:
    """Settings of the module's service beside its database and identity provider; a module overrides this."""
    return {}


@pytest.fixture(scope="module")
def environment(database_url: str, tenant: TenantProcess, service_settings: dict[str, str]) -> dict[str, str]:
    return {"DATABASE_URL": database_url, **tenant.env(), **service_settings}


@pytest.fixture(scope="module")
def service(environment: dict[str, str]) -> Iterator[ServiceProcess]:
    """The service as production runs it, gunicorn with two gevent workers, on a database of its own."""
    with ServiceProcess(environment) as running:
        yield running


@pytest.fixture
def sql(database_url: str) -> Callable[..., Any]:
    """Runs a statement on the service's database, in a transaction of its own; the first value of its result."""
    return partial(scalar, database_url)


@pytest.fixture(scope="module")
def trap() -> Iterator[socket.socket]:
    """A server of the attacker's, which notes whoever connects, and answers nobody."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        yield listening


@pytest.fixture(scope="session")
def start_service(
    database_url_factory: Callable[[], str], tenant: TenantProcess
) -> Iterator[Callable[[Mapping[str, str]], ServiceProcess]]:
    """Starts one service for each distinct set of settings, on its own database; all run until the session ends."""
    services: list[ServiceProcess] = []

    @cache
    def start(*settings: tuple[str, str]) -> ServiceProcess:
        services.append(ServiceProcess({"DATABASE_URL": database_url_factory(), **tenant.env(), **dict(settings)}))
        return services[-1].__enter__()

    yield lambda settings: start(*sorted(settings.items()))
    with ThreadPoolExecutor() as threads:
        list(threads.map(lambda service: service.__exit__(None, None, None), services))


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisProcess]:
    """The Redis server that tests share; a test that breaks Redis starts its own."""
    with RedisProcess() as running:
        yield running


@pytest.fixture(scope="module", params=["postgresql", "redis"])
def bus_settings(request: pytest.FixtureRequest) -> dict[str, str]:
    if request.param == "postgresql":
        return {}
    server: RedisProcess = request.getfixturevalue("redis_server")
    return {"REDIS_URL": server.url}


@pytest.fixture
def newcomer(service: ServiceProcess, tenant: TenantProcess) -> Callable[..., ChatUser]:
    """Makes new users of the service; arguments are claims of the token."""
    return partial(new_user, service, tenant)


@pytest.fixture
def ada(newcomer: Callable[..., ChatUser]) -> ChatUser:
    return newcomer()


@pytest.fixture
def ben(newcomer: Callable[..., ChatUser]) -> ChatUser:
    return newcomer()


@pytest.fixture
def stranger(newcomer: Callable[..., ChatUser]) -> ChatUser:
    return newcomer()


@pytest.fixture
def talk(ada: ChatUser, ben: ChatUser) -> str:
    """The id of a conversation of Ada and Ben."""
    return ada.begin(ben)

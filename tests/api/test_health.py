"""Liveness and readiness of a worker. Without the database: tests/slow/ops/test_database_faults.py."""

from collections.abc import Iterator

import gevent
import pytest
from alembic.script import ScriptDirectory
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event
from sqlalchemy.pool import NullPool

from app import create_app
from app.settings import Settings
from app.web import health
from app.web.health import IdentityProviderHealth, revisions
from deploy.local.processes import wait_until
from tests.support import ROOT
from tests.support.assertions import assert_error
from tests.support.processes.tenant import TenantProcess

PATIENCE_SECONDS = 30


def test_a_worker_is_ready(client: FlaskClient) -> None:
    assert (client.get("/ready").status_code, client.get("/ready").text) == (200, "ready")


def test_a_worker_that_drains_is_alive_and_not_ready(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.extensions["chat"].hub, "is_draining", True)
    answer = client.get("/ready")
    assert_error(answer, 503, "SERVICE_UNAVAILABLE")
    assert answer.headers["Retry-After"] == "1"
    assert client.get("/health").text == "ok"


def test_many_who_ask_at_once_cost_one_connection(app: Flask, settings: Settings) -> None:
    # An app of its own, which has not been asked yet.
    fresh = create_app(settings)
    opened = 0

    def count(_connection: object, _record: object) -> None:
        nonlocal opened
        opened += 1

    event.listen(NullPool, "connect", count)
    asking = [gevent.spawn(fresh.test_client().get, "/ready") for _ in range(100)]
    statuses = {asked.get().status_code for asked in asking}
    event.remove(NullPool, "connect", count)
    assert (statuses, opened) == ({200}, 1)


@pytest.mark.parametrize("mode", ["down", "error", "garbage", "redirect", "rate_limited"])
def test_without_its_tenant_a_worker_is_degraded_and_still_ready(
    client: FlaskClient, own_tenant: TenantProcess, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setattr(health, "IDENTITY_PROVIDER_PROBE_SECONDS", 0)
    own_tenant.fault("discovery", mode)
    assert wait_until(lambda: degraded(client) == "tenant", PATIENCE_SECONDS)
    own_tenant.reset()
    assert wait_until(lambda: degraded(client) is None, PATIENCE_SECONDS)


@pytest.fixture
def own_tenant(tenant: TenantProcess) -> Iterator[TenantProcess]:
    """The tenant, whose faults end with the test."""
    yield tenant
    tenant.reset()


def degraded(client: FlaskClient) -> str | None:
    """What a worker that is ready says it lacks."""
    answer = client.get("/ready")
    assert (answer.status_code, answer.text) == (200, "ready")
    return answer.headers.get("Gearyard-Degraded")


def test_concurrent_questions_to_the_tenant_are_one_and_keep_no_request_waiting() -> None:
    asked: list[None] = []
    identity_provider = IdentityProviderHealth(lambda: asked.append(None))
    assert identity_provider.is_unavailable() is False
    assert not asked
    for _ in range(20):
        gevent.idle()
        identity_provider.is_unavailable()
    assert len(asked) == 1


def test_the_schema_is_judged_by_the_order_of_the_migrations() -> None:
    migrations = ScriptDirectory(str(ROOT / "migrations"))
    assert revisions() == [migration.revision for migration in migrations.walk_revisions()][::-1]

"""Liveness and readiness of a worker. Without the database: tests/slow/ops/test_database_faults.py."""

from collections.abc import Iterator
from contextlib import contextmanager

import gevent
import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event
from sqlalchemy.pool import NullPool

from app import create_app
from app.auth import tenant_watch
from app.auth.tenant_watch import TenantWatch
from app.settings import Settings
from deploy.local.processes import wait_until
from tests.support.assertions import assert_error
from tests.support.processes.tenant import TenantProcess

PATIENCE_SECONDS = 30


@pytest.fixture
def draining(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker was told to stop."""
    monkeypatch.setattr(app.extensions["live"].hub, "is_draining", True)


def test_a_worker_is_ready(client: FlaskClient) -> None:
    assert (client.get("/ready").status_code, client.get("/ready").text) == (200, "ready")


def test_a_worker_that_drains_is_alive_and_not_ready(client: FlaskClient, draining: None) -> None:
    answer = client.get("/ready")
    assert_error(answer, 503, "SERVICE_UNAVAILABLE")
    assert answer.headers["Retry-After"] == "1"
    assert client.get("/health").text == "ok"


def test_many_who_ask_at_once_cost_one_connection(app: Flask, settings: Settings) -> None:
    # An app of its own, which has not been asked yet.
    fresh = create_app(settings)
    with counting_connections() as counted:
        asking = [gevent.spawn(fresh.test_client().get, "/ready") for _ in range(100)]
        statuses = {asked.get().status_code for asked in asking}
    assert statuses == {200}
    assert len(counted) == 1


@contextmanager
def counting_connections() -> Iterator[list[object]]:
    """Every connection to the database that the block opens."""
    opened: list[object] = []

    def note(connection: object, _record: object) -> None:
        opened.append(connection)

    event.listen(NullPool, "connect", note)
    try:
        yield opened
    finally:
        event.remove(NullPool, "connect", note)


@pytest.mark.parametrize("mode", ["down", "error", "garbage", "redirect", "rate_limited"])
def test_without_its_tenant_a_worker_is_degraded_and_still_ready(
    client: FlaskClient, own_tenant: TenantProcess, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setattr(tenant_watch, "FRESH_SECONDS", 0)
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


class TestTheWatchOnTheTenant:
    def test_lets_nobody_wait(self) -> None:
        asked: list[None] = []
        watch = TenantWatch(lambda: asked.append(None))
        assert watch.is_away() is False
        assert not asked
        gevent.idle()
        assert len(asked) == 1

    def test_asks_once_for_all_who_want_to_know_meanwhile(self) -> None:
        asked: list[None] = []
        watch = TenantWatch(lambda: asked.append(None))
        for _ in range(20):
            watch.is_away()
            gevent.idle()
        assert len(asked) == 1

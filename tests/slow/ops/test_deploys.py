"""Deployments and restarts of the database under load, through nginx and the socket that systemd holds open."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from app.realtime.hub import RECONNECT_SPREAD_SECONDS
from deploy.local.cluster import PostgresCluster
from tests.slow.ops.client_pool import ClientPool, gather
from tests.support.databases import breakable_cluster
from tests.support.processes.activated_service import ActivatedService
from tests.support.processes.nginx import NginxProcess
from tests.support.processes.service import GENEROUS_CHAT
from tests.support.processes.tenant import TenantProcess
from tests.support.waiting import replace_workers, until

HUPS = 3
RESUMED_WITHIN_SECONDS = 10.0
WELL_AFTER_SECONDS = 5.0
# In nginx's own error body, which it sends where the service sends none: it would hide a worse answer.
NGINX_S_OWN = '"instance":"/"'


@dataclass(frozen=True)
class Scene:
    cluster: PostgresCluster
    service: ActivatedService
    pool: ClientPool


@pytest.fixture
def scene(tmp_path_factory: pytest.TempPathFactory, tenant: TenantProcess) -> Iterator[Scene]:
    directory = tmp_path_factory.mktemp("s")
    (directory / "nginx").mkdir()
    unlimited = {"limit_req": "zone=gearyard_requests burst=100000 nodelay"}
    with breakable_cluster() as cluster:
        environment = {
            "DATABASE_URL": cluster.url("gearyard"),
            "TRUSTED_PROXY_COUNT": "1",
            **tenant.env(),
            **GENEROUS_CHAT,
        }
        with (
            ActivatedService(environment, directory) as service,
            NginxProcess(service, directory / "nginx", changes=unlimited) as nginx,
        ):
            until(lambda: b"READY=1" in service.notice())  # systemd waits for this
            pool = gather(service, nginx, tenant)
            pool.start()
            try:
                yield Scene(cluster, service, pool)
            finally:
                pool.leave()


def test_deployments_fail_no_request_and_every_client_is_back_in_time_with_every_message(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    began_at = time.monotonic()
    for _ in range(HUPS):
        replace_workers(scene.service)
    scene.pool.wait_until_served()
    stopped_at = time.monotonic()
    scene.service.restart()
    restart_seconds = time.monotonic() - stopped_at
    scene.pool.wait_until_served()
    seconds = time.monotonic() - began_at
    scene.pool.settle(scene.cluster)
    figures = scene.pool.judge(scene.cluster)
    with capsys.disabled():
        print(f"\n{HUPS} HUPs and a restart (of {restart_seconds:.1f} s) in {seconds:.0f} s: {figures}")
    assert scene.pool.failures == []
    # A machine that is busy with something else takes longer to start the service, which is nothing of the clients'.
    patience = max(RESUMED_WITHIN_SECONDS, restart_seconds + RECONNECT_SPREAD_SECONDS)
    assert scene.pool.longest_absence_seconds < patience
    assert "Traceback" not in scene.service.log()


def crash(cluster: PostgresCluster) -> None:
    """Kill it and start it again: it recovers from its log."""
    cluster.kill()
    cluster.start()


@pytest.mark.parametrize("restart", [PostgresCluster.restart, crash])
def test_a_restart_of_the_database_is_over_when_it_is_over(
    scene: Scene, restart: Callable[[PostgresCluster], None], capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        known = len(scene.pool.failures)
        restart(scene.cluster)
        returned_at = time.monotonic()
        scene.pool.wait_until_served()
        until(lambda: time.monotonic() > returned_at + WELL_AFTER_SECONDS)  # noqa: B023 - called at once
        scene.pool.wait_until_served()
        new = scene.pool.failures[known:]
        last = max((failure.sent_at for failure in new), default=returned_at) - returned_at
        assert last < WELL_AFTER_SECONDS
    scene.pool.settle(scene.cluster)
    figures = scene.pool.judge(scene.cluster)
    with capsys.disabled():
        print(f"\n2 restarts of PostgreSQL: {figures}")
    for failure in scene.pool.failures:
        assert failure.status == 503, failure
        assert failure.retry_after, failure
        assert NGINX_S_OWN not in failure.what, failure
    assert "Traceback" not in scene.service.log()

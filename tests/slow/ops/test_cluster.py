"""The private cluster, used as `make run` and the other tests use it: real servers, real kills, real squatters."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from deploy.local import leftovers
from deploy.local.cluster import ClusterError, PostgresCluster
from deploy.local.disposable import disposable_cluster
from deploy.local.installation import account_for
from deploy.local.leftovers import server_processes
from deploy.local.processes import ROOT, spawn, stop, wait_until
from tests.support.processes import tied
from tests.support.scratch import scratch_directory

DEADLINE_SECONDS = 30
RUN_A_CLUSTER = """
import signal, sys
from pathlib import Path
from deploy.local.cluster import PostgresCluster
PostgresCluster(Path(sys.argv[1]), durable=False).start()
print("up", flush=True)
signal.pause()
"""


@pytest.fixture
def scratch() -> Path:
    """A directory for a cluster; what is left of it goes even if pytest is killed."""
    return scratch_directory("cluster")


@pytest.fixture(scope="module")
def directory() -> Path:
    """A place that only this process's user can enter, deeper than PostgreSQL's longest path (1,024 bytes)."""
    closed = scratch_directory("closed")
    closed.chmod(0o700)
    deep = closed.joinpath(*["a directory with a long name and spaces " * 5] * 5)
    deep.mkdir(parents=True)
    assert len(os.fsencode(deep)) > 1_024
    return deep


@pytest.fixture(scope="module")
def shared(directory: Path) -> Iterator[PostgresCluster]:
    with PostgresCluster(directory / "cluster", durable=False) as cluster:
        yield cluster


@pytest.fixture
def cluster(shared: PostgresCluster) -> PostgresCluster:
    """The shared cluster, up again after a test that took it down."""
    shared.start()
    return shared


@pytest.fixture
def supervisor(shared: PostgresCluster) -> Iterator["subprocess.Popen[str]"]:
    """Another process that runs the shared cluster's directory, instead of this one."""
    shared.stop()
    with start_supervisor(shared.directory) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        yield process
        process.kill()


def start_supervisor(directory: Path) -> "subprocess.Popen[str]":
    command = tied([sys.executable, "-c", RUN_A_CLUSTER, str(directory)])
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def servers(cluster: PostgresCluster) -> list[int]:
    return server_processes(cluster.socket_directory.name, account_for(cluster.data))


def test_tcp_demands_the_password(cluster: PostgresCluster) -> None:
    psycopg2.connect(cluster.tcp_url("postgres")).close()
    with pytest.raises(psycopg2.OperationalError, match="password"):
        psycopg2.connect(cluster.tcp_url("postgres").replace(cluster.password, "guess"))


def test_secrets_and_socket_are_its_owners_alone(cluster: PostgresCluster) -> None:
    assert (cluster.directory / "password").stat().st_mode & 0o077 == 0
    assert cluster.socket_directory.stat().st_mode & 0o077 == 0
    assert cluster.socket_directory.stat().st_uid == account_for(cluster.data).uid


def test_stop_leaves_no_process_and_no_socket_and_restart_keeps_url_and_data(cluster: PostgresCluster) -> None:
    url = cluster.url("postgres")
    cluster.psql("CREATE TABLE stays ()")
    cluster.stop()
    cluster.stop()
    assert not servers(cluster)
    assert not cluster.socket_directory.exists()
    cluster.start()
    cluster.start()
    assert cluster.url("postgres") == url
    cluster.psql("DROP TABLE stays")


def test_stale_pid_file_whose_number_lives_on_does_not_stop_it(cluster: PostgresCluster) -> None:
    cluster.stop()
    other = spawn(["sleep", "60"], env=os.environ, account=account_for(cluster.data))
    try:
        (cluster.data / "postmaster.pid").write_text(f"{other.pid}\n{cluster.data}\n")
        cluster.start()
        assert other.poll() is None
    finally:
        stop(other, grace_seconds=DEADLINE_SECONDS)


def test_takes_another_port_when_its_own_is_taken(cluster: PostgresCluster) -> None:
    cluster.stop()
    with socket.socket() as somebody:
        somebody.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        somebody.bind(("127.0.0.1", cluster.port))
        somebody.listen()
        cluster.start()
        assert cluster.port != somebody.getsockname()[1]
    assert cluster.psql("SELECT 1") == "1"


def test_disposable_cluster_makes_way_for_the_one_that_runs(cluster: PostgresCluster) -> None:
    with disposable_cluster(cluster.directory) as other:
        assert other.directory != cluster.directory
        assert other.psql("SELECT 1") == "1"
    assert not other.directory.exists()
    assert cluster.is_running


def test_server_ends_with_a_killed_supervisor(supervisor: "subprocess.Popen[str]", shared: PostgresCluster) -> None:
    assert servers(shared)
    supervisor.kill()
    assert wait_until(lambda: not servers(shared), DEADLINE_SECONDS)
    shared.start()


def test_server_that_hangs_on_after_its_supervisor_is_ended(
    supervisor: "subprocess.Popen[str]", shared: PostgresCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "SHUTDOWN_SECONDS", 0.1)
    hanging = servers(shared)
    for pid in hanging:
        os.kill(pid, signal.SIGSTOP)
    supervisor.kill()
    supervisor.wait(DEADLINE_SECONDS)
    shared.start()
    assert not set(servers(shared)) & set(hanging)


@pytest.mark.parametrize("kind", ["open to others", "link"])
def test_squatted_socket_directory_is_refused_and_left_alone(scratch: Path, kind: str) -> None:
    cluster = PostgresCluster(scratch / "cluster")
    target = scratch / "target"
    target.mkdir()
    if kind == "link":
        cluster.socket_directory.symlink_to(target)
    else:
        cluster.socket_directory.mkdir()
        cluster.socket_directory.chmod(0o777)
    try:
        with pytest.raises(ClusterError, match=str(cluster.socket_directory)):
            cluster.start()
        assert cluster.socket_directory.exists()
    finally:
        cluster.socket_directory.unlink() if kind == "link" else cluster.socket_directory.rmdir()


def test_interrupted_initdb_is_repaired(scratch: Path) -> None:
    with start_supervisor(scratch) as supervisor:
        assert wait_until(lambda: any(scratch.glob("initdb-*/pgdata/base")), DEADLINE_SECONDS)
        supervisor.kill()
    assert not (scratch / "pgdata").exists()
    with PostgresCluster(scratch, durable=False) as cluster:
        assert cluster.psql("SELECT 1") == "1"
    assert not any(scratch.glob("initdb-*"))


def test_data_of_a_version_that_is_gone_is_refused_unless_disposable(scratch: Path) -> None:
    data = scratch / "pgdata"
    data.mkdir()
    (data / "PG_VERSION").write_text("9\n")
    with pytest.raises(ClusterError, match=r"made by PostgreSQL 9, .*Install postgresql-9-postgis-3, or remove"):
        PostgresCluster(scratch).start()
    with PostgresCluster(scratch, durable=False) as cluster:
        assert cluster.psql("SELECT 1") == "1"

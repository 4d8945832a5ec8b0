"""`make run` as its user sees it: started from a copy of the checkout, stopped, killed, and started again."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.local.cluster import PostgresCluster
from deploy.local.installation import account_for
from deploy.local.leftovers import server_processes
from deploy.local.processes import ROOT, spawn, wait_until
from deploy.local.sockets import free_port
from tests.support import processes

START_SECONDS = 120
END_SECONDS = 60


@dataclass
class Run:
    """One `run.py` in a copy of the checkout, started with its own ports and nothing of the caller's settings."""

    checkout: Path
    environment: dict[str, str]
    process: "subprocess.Popen[bytes]"

    @property
    def output(self) -> str:
        return (self.checkout / "output").read_text()

    def get(self, path: str, port_variable: str = "PORT") -> tuple[int, str]:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{self.environment[port_variable]}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()

    def press_ctrl_c(self) -> int:
        """What a terminal does: SIGINT for the whole foreground process group. Returns the exit code."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(END_SECONDS)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of_checkout(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="module")
def fresh_checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of_checkout(tmp_path_factory.mktemp("fresh"))


@pytest.fixture
def running(checkout: Path) -> Iterator[Run]:
    run = start(checkout)
    yield run
    end(run)


def copy_of_checkout(target: Path) -> Path:
    listed = processes.run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


def settings(**own: str) -> dict[str, str]:
    ports = {"PORT": str(free_port()), "TENANT_PORT": str(free_port())}
    return {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "WEB_CONCURRENCY": "1", **ports, **own}


def command(checkout: Path) -> Sequence[str | Path]:
    return [sys.executable, checkout / "deploy" / "local" / "run.py"]


def start(checkout: Path, **own: str) -> Run:
    environment = settings(**own)
    with (checkout / "output").open("wb") as output:
        process = spawn(command(checkout), env=environment, output=output)
    run = Run(checkout, environment, process)
    wait_until(lambda: "Ctrl-C stops everything" in run.output or process.poll() is not None, START_SECONDS)
    assert process.poll() is None, run.output
    assert "Ctrl-C stops everything" in run.output, run.output
    return run


def end(run: Run) -> None:
    if run.process.poll() is None:
        run.process.terminate()
        run.process.wait(END_SECONDS)


def attempt(checkout: Path, **own: str) -> "subprocess.CompletedProcess[str]":
    """A start that is expected to end by itself."""
    return processes.run(*command(checkout), env=settings(**own), timeout=START_SECONDS)


def processes_of(checkout: Path) -> list[str]:
    """Every live process that works in the checkout, or serves its database."""
    cluster = PostgresCluster(checkout / ".local" / "run")
    found = [f"postgres {pid}" for pid in server_processes(cluster.socket_directory.name, account_for(cluster.data))]
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                if (entry / "cwd").resolve().is_relative_to(checkout):
                    found.append((entry / "cmdline").read_text())
            except OSError:
                continue
    return found


def socket_directory(checkout: Path) -> Path:
    return PostgresCluster(checkout / ".local" / "run").socket_directory


def test_serves_refuses_a_second_run_and_leaves_nothing_after_ctrl_c(running: Run) -> None:
    assert running.get("/ready") == (200, "ready")
    assert "owner@gearyard.example" in running.output
    assert (
        f"http://127.0.0.1:{running.environment['TENANT_PORT']}/"
        in running.get("/.well-known/openid-configuration", "TENANT_PORT")[1]
    )
    env_file = running.checkout / ".local" / "run" / "env"
    assert env_file.stat().st_mode & 0o077 == 0
    assert "DATABASE_URL=" in env_file.read_text()

    second = attempt(running.checkout)
    assert second.returncode == 1
    assert f"process {running.process.pid}, on port {running.environment['PORT']}" in second.stderr
    assert running.get("/ready") == (200, "ready")

    assert running.press_ctrl_c() == 0, running.output
    assert "Traceback" not in running.output
    assert not processes_of(running.checkout)
    assert not socket_directory(running.checkout).exists()
    assert not env_file.exists()


def test_killed_run_leaves_nothing_in_the_way_of_the_next_and_a_dead_part_ends_that_one(running: Run) -> None:
    before = set(processes_of(running.checkout))
    running.process.kill()
    running.process.wait(END_SECONDS)
    again = start(running.checkout)
    try:
        assert again.get("/ready") == (200, "ready")
        pid = (running.checkout / ".local" / "run" / "pgdata" / "postmaster.pid").read_text().split("\n")[0]
        assert f"postgres {pid}" not in before
        os.kill(int(pid), signal.SIGKILL)
        assert again.process.wait(END_SECONDS) == 1
    finally:
        end(again)
    assert "PostgreSQL ended by itself (exit code -9)" in again.output
    assert wait_until(lambda: not processes_of(running.checkout), END_SECONDS), processes_of(running.checkout)


def test_uses_the_given_database_and_starts_none(fresh_checkout: Path, tmp_path: Path) -> None:
    with PostgresCluster(tmp_path / "theirs", durable=False) as theirs:
        theirs.create_database("shop")
        run = start(fresh_checkout, DATABASE_URL=theirs.url("shop"), APP_ENV="test")
        try:
            assert run.get("/ready") == (200, "ready")
            assert not (fresh_checkout / ".local" / "run" / "pgdata").exists()
            assert "==> Looking after the demo data" not in run.output  # that is for development only
            assert theirs.psql("SELECT count(*) > 0 FROM alembic_version", "shop") == "t"
        finally:
            end(run)


@pytest.mark.parametrize("variable", ["PORT", "TENANT_PORT"])
def test_taken_port_is_named_with_the_variable_that_moves_it(fresh_checkout: Path, variable: str) -> None:
    with socket.socket() as somebody:
        somebody.bind(("127.0.0.1", 0))
        somebody.listen()
        port = somebody.getsockname()[1]
        refused = attempt(fresh_checkout, **{variable: str(port)})
    assert refused.returncode == 1
    assert f"port {port} is taken" in refused.stderr
    assert f"make run {variable}=" in refused.stderr
    assert "==>" not in refused.stdout


@pytest.mark.parametrize("value", ["80 80", "0", "65536", "http"])
def test_port_that_is_no_port_is_refused(fresh_checkout: Path, value: str) -> None:
    refused = attempt(fresh_checkout, PORT=value)
    assert refused.returncode == 1
    assert refused.stderr == f"make run: PORT must be a port number from 1 to 65535, not {value!r}.\n"

"""A Redis of one's own for a test: the real server, on a free port, without persistence."""

import os
import shutil
import signal
import subprocess
from typing import Self

import redis

from deploy.local.processes import wait_until
from tests.support.ports import reserve_port
from tests.support.processes import tied

START_SECONDS = 30
STOP_SECONDS = 10


def program() -> str:
    """The server's program; in Debian's redis-tools it has another name, and goes by the one it is called with."""
    found = shutil.which("redis-server") or shutil.which("redis-check-rdb")
    assert found is not None, "`deploy/local/bootstrap.sh test` installs it"
    return found


class RedisProcess:
    """`with RedisProcess() as server:` runs until the block ends; `kill` and `start` inside it keep the port."""

    def __init__(self) -> None:
        self.port = reserve_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end(signal.SIGTERM)

    def start(self) -> None:
        """Start it; returns once it answers."""
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(
            # Debian's program acts by the name that it is called with.
            tied(["bash", "-c", 'exec -a redis-server "$@"', "bash", program(), *options]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"]},
        )
        assert wait_until(self._answers, START_SECONDS), "Redis did not start"

    def kill(self) -> None:
        self.end(signal.SIGKILL)

    def end(self, sign: signal.Signals) -> None:
        """Send it a signal and wait for its end."""
        if self._process is not None:
            self._process.send_signal(sign)
            self._process.wait(STOP_SECONDS)
            self._process = None

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url, socket_timeout=1) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

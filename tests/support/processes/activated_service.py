"""The service as systemd starts it: on listening sockets that outlive it, and with one to say that it is ready."""

import fcntl
import os
import socket
from contextlib import suppress
from pathlib import Path

from tests.support.processes.service import ServiceProcess

FIRST_PASSED_DESCRIPTOR = 3  # sd_listen_fds(3)
# Out of the way of where they are to be.
LOWEST_DESCRIPTOR = 50
BACKLOG = 2048  # as in deploy/systemd/gearyard.socket


class ActivatedService(ServiceProcess):
    """Listens on a Unix socket, as behind the proxy, and on TCP for whoever asks it directly.

    `stop` and `start` restart it, as `systemctl restart` does: the sockets stay, and connections wait in them.
    """

    def __init__(self, environment: dict[str, str], directory: Path, *, workers: int = 2) -> None:
        super().__init__(environment, workers=workers)
        self.path = directory / "gearyard.sock"
        self._listeners = (socket.create_server(("127.0.0.1", self.port), backlog=BACKLOG), _unix_listener(self.path))
        self._descriptors = tuple(fcntl.fcntl(one, fcntl.F_DUPFD, LOWEST_DESCRIPTOR) for one in self._listeners)
        self._notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notices.bind(str(directory / "notify"))
        self._notices.setblocking(False)
        self._environment |= {
            "NOTIFY_SOCKET": str(directory / "notify"),
            "LISTEN_FDS": str(len(self._descriptors)),
            "PORT": "1",  # which it must not use
        }

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        for descriptor in self._descriptors:
            os.close(descriptor)
        for each in (*self._listeners, self._notices):
            each.close()

    def command(self) -> list[str]:
        """As systemd does: the descriptors moved to where they are looked for, and the process named."""
        moves = " ".join(f"{place}<&{given}" for place, given in enumerate(self._descriptors, FIRST_PASSED_DESCRIPTOR))
        return ["bash", "-c", f'exec {moves}; export LISTEN_PID=$$; exec "$@"', "bash", *super().command()]

    @property
    def passed_descriptors(self) -> tuple[int, ...]:
        return self._descriptors

    def restart(self) -> None:
        """Stop it, which must be in order and in time, and start it; returns once it is ready."""
        code = self.stop()
        assert code == 0, f"it ended with {code}"
        self.start()

    def notice(self) -> bytes:
        """What it has told systemd next; nothing if it has not."""
        with suppress(BlockingIOError):
            return self._notices.recv(4096)
        return b""


def _unix_listener(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(BACKLOG)
    return listener

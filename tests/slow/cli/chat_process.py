"""`flask chat` as a process of its own: with pipes, and on a terminal."""

import os
import pty
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import uuid4

from deploy.local.processes import wait_until
from tests.support import ROOT
from tests.support.processes.service import ServiceProcess
from tests.support.processes.tenant import PASSWORD

PATIENCE_SECONDS = 40
# A database that is not there: the command must not miss it.
SETTINGS = {
    "APP_ENV": "test",
    "DATABASE_URL": "postgresql://nobody@127.0.0.1:9/nothing",
    "AUTH0_ISSUER": "http://127.0.0.1:9/",
    "AUTH0_AUDIENCE": "audience",
    "AUTH0_CLIENT_ID": "client",
    "AUTH0_CLIENT_SECRET": "secret",
}


class Chat:
    """`with Chat(email, service, …) as chat:` is one running command; what it says is in files."""

    def __init__(self, directory: Path, email: str, service: ServiceProcess, *arguments: str, **settings: str) -> None:
        self._out, self._err = (directory / f"{uuid4().hex}.{name}" for name in ("out", "err"))
        environment = {"PATH": os.environ["PATH"], "GEARYARD_PASSWORD": PASSWORD, **SETTINGS, **settings}
        with self._out.open("w") as out, self._err.open("w") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "flask", "chat", "--as", email, "--url", service.url(""), *arguments],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
                text=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()

    def enter(self, line: str) -> None:
        """Write a line to it."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def end(self) -> int:
        """End its input, and wait for its exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(PATIENCE_SECONDS)

    @property
    def said(self) -> list[str]:
        """Its standard output, in lines."""
        return self._out.read_text().splitlines()

    @property
    def noted(self) -> str:
        """Its standard error."""
        return self._err.read_text()

    def wait_for(self, text: str) -> None:
        """Wait until it has said something."""
        shown = wait_until(lambda: text in self._out.read_text() + self.noted, PATIENCE_SECONDS)
        assert shown, f"{text!r} not in {self.said} or {self.noted!r}"


class Pane:
    """`with Pane(…) as pane:` is the command on a terminal of its own; `text` is all that was written to it."""

    def __init__(self, email: str, service: ServiceProcess, *arguments: str) -> None:
        self._master, slave = pty.openpty()
        self.before = termios.tcgetattr(slave)
        self._slave = slave
        environment = {"PATH": os.environ["PATH"], "TERM": "xterm", "GEARYARD_PASSWORD": PASSWORD, **SETTINGS}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "flask", "chat", "--as", email, "--url", service.url(""), *arguments],
            cwd=ROOT,
            env=environment,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.set_blocking(self._master, False)
        self.text = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)
        os.close(self._slave)

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._master, text.encode())

    def wait_for(self, text: str) -> None:
        """Wait until this stands on it."""

        def is_there() -> bool:
            with suppress(BlockingIOError):
                self.text += os.read(self._master, 65536).decode(errors="replace")
            return text in self.text

        assert wait_until(is_there, PATIENCE_SECONDS), self.text

    def attributes(self) -> list[object]:
        """How the terminal is set."""
        return termios.tcgetattr(self._slave)

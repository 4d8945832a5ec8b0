"""HTTP load by wrk: whole requests, drawn at random from a file, over connections that are kept."""

import http.client
import json
import secrets
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from deploy.local.sockets import LOOPBACK
from tests.benchmarks.interleaving import BenchmarkFailed, Sample
from tests.support.processes import run

SCRIPT = Path(__file__).with_name("wrk.lua")
RECORD_SEPARATOR = b"\x1e"
COUNTER = "<<counter!>>"  # becomes as many characters, which no other request has
PREFIX_BYTES = 2  # four hexadecimal digits
TIMEOUT_SECONDS = 10
SPARE_SECONDS = 30
TRIED = 20
MICROSECONDS = 1_000_000


@dataclass(frozen=True)
class Request:
    """One request to a service on this machine, and the status that it must be answered with."""

    path: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None
    status: int = 200

    def on_the_wire(self) -> bytes:
        """Its bytes (RFC 9112)."""
        lines = [f"{self.method} {self.path} HTTP/1.1", f"Host: {LOOPBACK}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.body is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {len(self.body.encode())}"]
        return "\r\n".join([*lines, "", self.body or ""]).encode()


@dataclass(frozen=True)
class Answers:
    sample: Sample
    requests: int
    refused: int

    @classmethod
    def read(cls, output: str) -> "Answers":
        """Read what `wrk.lua` writes last. Raises BenchmarkFailed at a failed connection, or without an answer."""
        found: dict[str, Any] = json.loads(output.rstrip().rpartition("\n")[2])
        broken = {name: found[name] for name in ("connect", "read", "write", "timeout") if found[name]}
        if broken or not found["requests"]:
            raise BenchmarkFailed(f"of {found['requests']} requests, connections failed: {broken}")
        rate = found["requests"] * MICROSECONDS / found["microseconds"]
        sample = Sample(per_second=rate, p50_ms=found["p50"] / 1000, p99_ms=found["p99"] / 1000)
        return cls(sample, found["requests"], found["status"])


class HttpLoad:
    """`with HttpLoad(…) as load:`; `load(seconds)` sends requests as fast as they are answered: a `Side`.

    `connections` are kept open, each with one request at a time. Entering it tries some of the requests.
    """

    def __init__(self, port: int, requests: Sequence[Request], *, connections: int) -> None:
        self._port = port
        self._connections = connections
        self._file = tempfile.NamedTemporaryFile(prefix="requests-")  # noqa: SIM115 - closed by `close`
        self._file.write(RECORD_SEPARATOR.join(request.on_the_wire() for request in requests))
        self._file.flush()
        self._tried = requests[:TRIED]

    def __enter__(self) -> Self:
        try:
            ask(self._port, self._tried)
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __call__(self, seconds: float) -> Sample:
        """What it did. Raises BenchmarkFailed at a connection that failed, or an answer of 400 or above."""
        found = self.answers(seconds)
        if found.refused:
            raise BenchmarkFailed(f"{found.refused} of {found.requests} requests were answered by 400 or above")
        return found.sample

    def answers(self, seconds: float) -> Answers:
        """What it did, whatever the answers. Raises BenchmarkFailed at a connection that failed."""
        return Answers.read(self._run(max(1, round(seconds))))

    def _run(self, seconds: int) -> str:
        command = ["wrk", "-t1", f"-c{self._connections}", f"-d{seconds}s", f"--timeout={TIMEOUT_SECONDS}s"]
        command += ["-s", str(SCRIPT), f"http://{LOOPBACK}:{self._port}/", "--", self._file.name]
        done = run(*command, secrets.token_hex(PREFIX_BYTES), timeout=seconds + SPARE_SECONDS)
        if done.returncode != 0:
            raise BenchmarkFailed(f"wrk failed: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout


def ask(port: int, requests: Iterable[Request]) -> list[tuple[http.client.HTTPResponse, bytes]]:
    """The answers to single requests, one after the other. Raises BenchmarkFailed if one has an unexpected status."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=TIMEOUT_SECONDS)
    answers = []
    try:
        for request in requests:
            body = None if request.body is None else request.body.replace(COUNTER, secrets.token_hex(6)).encode()
            headers = {**request.headers, **({"Content-Type": "application/json"} if body else {})}
            connection.request(request.method, request.path, body, headers)
            answer = connection.getresponse()
            answers.append((answer, answer.read()))
            if answer.status != request.status:
                raise BenchmarkFailed(f"{request.method} {request.path}: {answer.status} {answers[-1][1][:500]!r}")
    finally:
        connection.close()
    return answers

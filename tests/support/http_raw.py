"""HTTP by hand: raw bytes to the service, and all the answers that come back."""

import json
import socket
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser
from typing import Any

from tests.support.processes.service import REQUEST_SECONDS


@dataclass(frozen=True)
class RawAnswer:
    status: int
    phrase: str
    headers: Message
    body: bytes

    def json(self) -> dict[str, Any]:
        found = json.loads(self.body)
        assert isinstance(found, dict)
        return found


def exchange(port: int, request: bytes, *, is_head: bool = False) -> list[RawAnswer]:
    return answers_in(receive(port, request), is_head=is_head)


def receive(port: int, request: bytes) -> bytes:
    """Send these bytes and nothing more, and read until the service ends the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=REQUEST_SECONDS) as connection:
        received = b""
        try:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has heard enough, has answered, and has closed
        try:
            while data := connection.recv(65_536):
                received += data
        except ConnectionResetError:
            pass  # it closed with something of ours unread
    return received


def answers_in(received: bytes, *, is_head: bool = False) -> list[RawAnswer]:
    answers = []
    while received:
        head, _, received = received.partition(b"\r\n\r\n")
        status_line, _, lines = head.partition(b"\r\n")
        _, status, phrase = status_line.decode("ascii").split(" ", 2)
        headers = BytesParser().parsebytes(lines, headersonly=True)
        size = 0 if is_head or int(status) < 200 else int(headers.get("Content-Length", 0))
        answers.append(RawAnswer(int(status), phrase, headers, received[:size]))
        received = received[size:]
    return answers

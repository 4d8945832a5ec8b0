"""A raw WebSocket client for tests: frames built bit by bit (RFC 6455 §5.2), valid or not, over plain TCP."""

import base64
import hashlib
import json
import os
import socket
import struct
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Self

from tests.support.http_raw import RawAnswer, answers_in
from tests.support.users import ChatUser
from tests.support.waiting import until

PATIENCE_SECONDS = 15
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
RSV1, RSV2, RSV3 = 0x40, 0x20, 0x10
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool = True, length: bytes = b""
) -> bytes:
    """One frame of a client; `length` replaces the bytes of the payload's length, without the mask bit."""
    length = length or _length(len(payload))
    head = bytes([(0x80 if fin else 0) | rsv | opcode, length[0] | (0x80 if masked else 0)]) + length[1:]
    return head + _masked(payload, os.urandom(4)) if masked else head + payload


def text(payload: str | bytes, *, fin: bool = True) -> bytes:
    return frame(TEXT, payload.encode() if isinstance(payload, str) else payload, fin=fin)


def rest(payload: bytes = b"", *, fin: bool = True) -> bytes:
    """A continuation frame."""
    return frame(CONTINUATION, payload, fin=fin)


def close(code: int | None = None, reason: bytes = b"") -> bytes:
    """A close frame; without a code, one without a body."""
    return frame(CLOSE, b"" if code is None else struct.pack("!H", code) + reason)


def _length(size: int) -> bytes:
    if size <= 125:
        return bytes([size])
    return b"\x7e" + struct.pack("!H", size) if size <= 0xFFFF else b"\x7f" + struct.pack("!Q", size)


def _masked(payload: bytes, key: bytes) -> bytes:
    size = len(payload)
    stream = (key * (size // 4 + 1))[:size]
    return key + (int.from_bytes(payload) ^ int.from_bytes(stream)).to_bytes(size)


def upgrade(
    path: str = "/ws", headers: Mapping[str, str | None] | None = None, *, method: str = "GET", version: str = "1.1"
) -> bytes:
    """The request that opens a socket; None as a value omits the header."""
    fields: dict[str, str | None] = {
        "Host": "gearyard.test",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        "Sec-WebSocket-Version": "13",
        **(headers or {}),
    }
    lines = [f"{name}: {value}\r\n" for name, value in fields.items() if value is not None]
    return f"{method} {path} HTTP/{version}\r\n{''.join(lines)}\r\n".encode("latin-1")


class Heard(NamedTuple):
    """A frame that the service sent."""

    opcode: int
    payload: bytes

    def json(self) -> dict[str, Any]:
        assert self.opcode == TEXT, self
        found = json.loads(self.payload)
        assert isinstance(found, dict)
        return found


class RawSocket:
    """`with RawSocket(port) as raw:` is one TCP connection; `open` upgrades it to a WebSocket.

    With `is_narrow`, the kernel buffers little: the service's writes soon wait for the client's reads.
    """

    def __init__(self, port: int, *, is_narrow: bool = False) -> None:
        self.connection = socket.socket()
        if is_narrow:  # the kernel's buffers grow with the size of a segment
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
        self.connection.settimeout(PATIENCE_SECONDS)
        self.connection.connect(("127.0.0.1", port))
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def ask(self, request: bytes) -> RawAnswer:
        """Send a request; the response with its body."""
        self.connection.sendall(request)
        while b"\r\n\r\n" not in self._buffer:
            self._receive()
        head, separator, self._buffer = self._buffer.partition(b"\r\n\r\n")
        (answer,) = answers_in(head + separator)
        return replace(answer, body=self._take(int(answer.headers.get("Content-Length", 0))))

    def open(self, path: str = "/ws", headers: Mapping[str, str | None] | None = None) -> RawAnswer:
        """Open a WebSocket; asserts the 101 and its `Sec-WebSocket-Accept` (RFC 6455 §4.2.2)."""
        key = base64.b64encode(os.urandom(16)).decode()
        answer = self.ask(upgrade(path, {"Sec-WebSocket-Key": key, **(headers or {})}))
        assert answer.status == 101, answer
        expected = base64.b64encode(hashlib.sha1(f"{key}{_GUID}".encode()).digest()).decode()  # noqa: S324
        assert answer.headers["Sec-WebSocket-Accept"] == expected
        return answer

    def send(self, *frames: bytes) -> None:
        """Send bytes, in one piece."""
        self.connection.sendall(b"".join(frames))

    def say(self, kind: str, **payload: Any) -> None:
        """Send a frame of the protocol."""
        self.send(text(json.dumps({"type": kind, "payload": payload})))

    def hear(self) -> Heard:
        """The next frame. Raises EOFError, ConnectionResetError."""
        first, second = self._take(2)
        assert first & 0xF0 == 0x80, "the service sends whole frames, without extensions"
        size = second
        if second == 126:
            (size,) = struct.unpack("!H", self._take(2))
        elif second == 127:
            (size,) = struct.unpack("!Q", self._take(8))
        assert second < 128, "a service's frames are not masked (RFC 6455 §5.1)"
        return Heard(first & 0x0F, self._take(size))

    def close_body(self) -> bytes:
        """Skip frames up to the close frame and return its body; asserts that the connection then ends without a reset.

        A reset could discard a close frame that has arrived and is not read yet.
        """
        while (heard := self.hear()).opcode != CLOSE:
            pass
        self.connection.shutdown(socket.SHUT_WR)
        assert self._buffer == b""
        assert self.connection.recv(1) == b"", "nothing follows a close frame (RFC 6455 §5.5.1)"
        return heard.payload

    def close_code(self) -> int | None:
        """The code of the close frame; None for a close frame without a body."""
        body = self.close_body()
        return int(struct.unpack("!H", body[:2])[0]) if body else None

    def wait_until_read(self) -> None:
        """Wait until the service has read everything sent, so that the next bytes arrive as a read of their own."""
        here, there = (f":{name[1]:04X}" for name in (self.connection.getsockname(), self.connection.getpeername()))

        def is_read() -> bool:
            rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines())
            queues = {(row[1][-5:], row[2][-5:]): row[4].split(":") for row in rows if ":" in row[1]}
            unsent, _ = queues[here, there]
            _, unread = queues[there, here]
            return int(unsent, 16) == int(unread, 16) == 0

        until(is_read)

    def reset(self) -> None:
        """Abort the connection (RST)."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._receive()
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    def _receive(self) -> None:
        data = self.connection.recv(65_536)
        if not data:
            raise EOFError("the service ended the connection")
        self._buffer += data


def open_socket(
    user: ChatUser, *, version: int = 2, headers: Mapping[str, str] | None = None, is_narrow: bool = False
) -> RawSocket:
    """An open socket of the user; in version 2, after its `ready` frame."""
    raw = RawSocket(user.service.port, is_narrow=is_narrow)
    raw.open(f"/api/v1/ws?v={version}", {**user.headers, **(headers or {})})
    if version > 1:
        assert raw.hear().json()["type"] == "ready"
    return raw

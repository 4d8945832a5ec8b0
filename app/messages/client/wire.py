"""One WebSocket, seen from the client: simple-websocket's, with deadlines, and with whole frames out."""

import socket
import ssl
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import gevent
import orjson
import simple_websocket
from gevent.lock import BoundedSemaphore
from simple_websocket.ws import Base
from wsproto import ConnectionType
from wsproto.utilities import ProtocolError

from app.messages.client.account import Failure
from app.messages.client.endings import NO_CLOSE_FRAME, NO_ROOM

PATH = "/api/v1/ws"
CONNECT_SECONDS = 10
SEND_SECONDS = 10
# Statuses before the 101 that another attempt may change.
TEMPORARY_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})


class Ended(Exception):
    """The socket has ended, or did not come about; `code` is the close frame's."""

    def __init__(self, code: int = NO_CLOSE_FRAME) -> None:
        super().__init__(code)
        self.code = code


class _WholeFrames:
    """A connected socket that sends all it is given, whoever sends, and raises where the other side has ended."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._turn = BoundedSemaphore(1)

    def send(self, data: bytes) -> None:
        with gevent.Timeout(SEND_SECONDS, TimeoutError("the service does not read")), self._turn:
            self._connection.sendall(data)

    def recv(self, size: int) -> bytes:
        data = self._connection.recv(size)
        if not data:
            raise ConnectionResetError
        return data

    def close(self) -> None:
        self._connection.close()


class _Client(simple_websocket.Client):  # type: ignore[misc]
    """The library's client over a connection that was made here: it would try one address only, and wait for ever."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        is_secure = parts.scheme == "https"
        self.host = parts.netloc.rpartition("@")[2]
        self.path = parts.path.rstrip("/") + PATH
        self.subprotocols: list[str] = []
        self.extra_headeers: list[tuple[str, str]] = []  # spelt as the library does
        address = (parts.hostname or "", parts.port or (443 if is_secure else 80))
        connection = socket.create_connection(address, timeout=CONNECT_SECONDS)
        try:
            if is_secure:
                connection = ssl.create_default_context().wrap_socket(connection, server_hostname=parts.hostname)
            connection.settimeout(None)
            Base.__init__(self, sock=_WholeFrames(connection), connection_type=ConnectionType.CLIENT)
        except BaseException:
            connection.close()
            raise


class Wire:
    """An open socket to the service at an http or https `url`.

    Raises:
        Ended: it did not come about, and may later. Failure: it will not.
    """

    def __init__(self, url: str) -> None:
        try:
            with gevent.Timeout(CONNECT_SECONDS, TimeoutError("no answer")):
                self._client = _Client(url)
        except simple_websocket.ConnectionError as refusal:
            if refusal.status_code in TEMPORARY_STATUSES:
                raise Ended(NO_ROOM) from refusal
            raise Failure(f"The service opens no socket for this client (HTTP {refusal.status_code}).") from refusal
        except ssl.SSLCertVerificationError as error:
            raise Failure(f"The certificate of {url} is not to be trusted: {error.verify_message}.") from error
        except (OSError, ProtocolError) as error:
            raise Ended from error

    def say(self, kind: str, **payload: Any) -> None:
        """Send a frame. Where the socket has ended it goes nowhere, and `hear` tells."""
        with suppress(OSError, simple_websocket.ConnectionClosed, ProtocolError):
            self._client.send(frame(kind, **payload))

    def hear(self, timeout_seconds: float) -> dict[str, Any] | None:
        """The next frame, or None when none comes in time. Raises Ended."""
        try:
            text = self._client.receive(timeout_seconds)
        except simple_websocket.ConnectionClosed as closed:
            raise Ended(int(closed.reason or NO_CLOSE_FRAME)) from closed
        if text is None:
            return None
        found: dict[str, Any] = orjson.loads(text)
        return found

    def close(self) -> None:
        """Say goodbye, if it is still open."""
        with suppress(OSError, simple_websocket.ConnectionClosed, ProtocolError):
            self._client.close()


def frame(kind: str, **payload: Any) -> str:
    """A frame as it goes over the wire."""
    return orjson.dumps({"type": kind, "payload": payload}).decode()

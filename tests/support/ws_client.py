"""A WebSocket client for tests, on a library that is not the server's, and frames of the protocol in few words."""

from typing import Any, Self

import orjson
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.support.asyncapi_checks import check_frame
from tests.support.users import ChatUser

PATIENCE_SECONDS = 20


class ChatClient:
    """`with ChatClient(member) as client:` is one open socket; by default it speaks version 2 and is ready."""

    def __init__(
        self, member: ChatUser, *, version: int = 2, cursors: dict[str, int] | None = None, **options: Any
    ) -> None:
        self.member = member
        url = f"ws://127.0.0.1:{member.service.port}/api/v1/ws"
        opening = connect(url, open_timeout=PATIENCE_SECONDS, close_timeout=1, max_size=None, proxy=None, **options)
        self.ws: ClientConnection = opening.__enter__()  # `__exit__` is ours to choose
        self.ready: dict[str, Any] = {}
        later = {"v": version} if version > 1 else {}
        self.say("auth", token=member.token, cursors=cursors or {}, **later)
        if version > 1:
            self.ready = self.expect("ready")
        else:
            self.say("ping")
            self.expect("pong")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.ws.close()

    def say(self, kind: str, **payload: Any) -> None:
        self.ws.send(orjson.dumps({"type": kind, "payload": payload}).decode())

    def hear(self) -> dict[str, Any]:
        """The next frame, whole. Raises TimeoutError, ConnectionClosed."""
        frame: dict[str, Any] = orjson.loads(self.ws.recv(PATIENCE_SECONDS))
        check_frame(frame)
        return frame

    def expect(self, kind: str) -> dict[str, Any]:
        """The payload of the next frame, which must be of this type."""
        frame = self.hear()
        assert frame["type"] == kind, frame
        payload: dict[str, Any] = frame.get("payload", {})
        return payload

    def find(self, kind: str) -> dict[str, Any]:
        """The payload of the next frame of this type; those before it are passed over."""
        while (frame := self.hear())["type"] != kind:
            pass
        payload: dict[str, Any] = frame.get("payload", {})
        return payload

    def all_until_pong(self) -> list[dict[str, Any]]:
        """All frames that come before the answer to a ping: what there was to hear by now."""
        self.say("ping")
        frames = []
        while (frame := self.hear())["type"] != "pong":
            frames.append(frame)
        return frames

    def rest(self) -> tuple[list[dict[str, Any]], int]:
        """All frames up to the end of the socket, and its close code; 1006 without a close frame."""
        frames = []
        try:
            while True:
                frames.append(self.hear())
        except ConnectionClosed as closed:
            return frames, closed.rcvd.code if closed.rcvd else 1006

    def close_code(self) -> int:
        """Read up to the end of the socket; its close code."""
        return self.rest()[1]

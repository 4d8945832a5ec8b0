"""The one log line of a socket: its user, how and by which side it ended, and how many frames went through it."""

import json
from typing import Any

import pytest

from tests.support.processes.service import ServiceProcess
from tests.support.users import ChatUser
from tests.support.waiting import until
from tests.support.ws_raw import CLOSE, RawSocket, close, open_socket

SAID = b"because-i-said-so"


def lines_of(service: ServiceProcess, request_id: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in service.log().splitlines() if request_id in line]


def line_of(service: ServiceProcess, request_id: str) -> dict[str, Any]:
    """The line of the socket whose handshake had this id."""
    until(lambda: any(line["event"] == "socket_closed" for line in lines_of(service, request_id)))
    (line,) = lines_of(service, request_id)
    return line


def test_it_names_the_user_and_counts_the_frames(service: ServiceProcess, ada: ChatUser, talk: str) -> None:
    with open_socket(ada, headers={"X-Request-Id": "log-counts-frames"}) as raw:
        raw.say("message", conversation_id=talk, content="Hello", client_msg_id="m-1")
        assert {raw.hear().json()["type"], raw.hear().json()["type"]} == {"ack", "message"}
        raw.say("ping")
        assert raw.hear().json()["type"] == "pong"
        raw.send(close(1000))
        assert raw.hear().opcode == CLOSE
    line = line_of(service, "log-counts-frames")
    expected = {
        "request_id": "log-counts-frames",
        "user_id": ada.id,
        "client_address": "127.0.0.1",
        "path": "/api/v1/ws",
        "version": 2,
        "frames_received": 2,
        "frames_sent": 4,
        "frames_dropped": 0,
        "code": 1000,
        "ended_by": "client",
        "reason": None,
    }
    assert {name: line[name] for name in expected} == expected
    assert line["duration_ms"] > 0


# What the client sends at the end, then the code and the side in the log.
ENDINGS: dict[str, tuple[bytes, int, str]] = {
    "close-with-a-code": (close(4001, SAID), 4001, "client"),
    "close-without-a-code": (close(), 1005, "client"),
    "end": (b"", 1006, "nobody"),
    "reset": (b"", 1006, "nobody"),
}


@pytest.mark.parametrize("name", ENDINGS)
def test_it_tells_how_the_client_ended_the_socket_without_the_client_s_reason(
    service: ServiceProcess, ada: ChatUser, name: str
) -> None:
    sent, code, ended_by = ENDINGS[name]
    with open_socket(ada, headers={"X-Request-Id": f"log-of-{name}"}) as raw:
        raw.send(sent)
        if sent:
            raw.close_body()
        elif name == "reset":
            raw.reset()
    line = line_of(service, f"log-of-{name}")
    assert (line["code"], line["ended_by"], line["reason"]) == (code, ended_by, None)
    assert SAID.decode() not in service.log()


def test_the_service_s_own_close_is_logged_with_its_reason(service: ServiceProcess, ada: ChatUser) -> None:
    with RawSocket(service.port) as raw:
        raw.open("/ws", {"X-Request-Id": "log-of-a-bad-token"})
        raw.say("auth", token=f"{ada.token}x")
        assert raw.close_code() == 4500
    line = line_of(service, "log-of-a-bad-token")
    assert (line["code"], line["ended_by"], line["reason"]) == (4500, "service", "authentication failed")
    assert "user_id" not in line

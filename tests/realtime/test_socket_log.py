"""The one line that a socket leaves in the log: who it was, how and by whom it ended, and what went through it."""

import json
from typing import Any

import pytest

from tests.support.members import Member
from tests.support.processes.service import ServiceProcess
from tests.support.waiting import until
from tests.support.ws_raw import CLOSE, RawSocket, close

SAID = b"because-i-said-so"


def line_of(service: ServiceProcess, request_id: str) -> dict[str, Any]:
    """The line of the socket whose handshake had this id."""

    def found() -> list[dict[str, Any]]:
        lines = [line for line in service.log().splitlines() if request_id in line]
        return [line for line in map(json.loads, lines) if line["event"] == "socket_closed"]

    until(lambda: bool(found()))
    (line,) = found()
    return line


def opened(member: Member, request_id: str, path: str = "/api/v1/ws?v=2") -> RawSocket:
    raw = RawSocket(member.service.port)
    raw.open(path, {"Authorization": f"Bearer {member.token}", "X-Request-Id": request_id})
    return raw


def test_who_it_was_and_what_went_through_it(service: ServiceProcess, ada: Member, ben: Member) -> None:
    talk = ada.begin(ben)
    with opened(ada, "log-counts-frames") as raw:
        assert raw.hear().json()["type"] == "ready"
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


@pytest.mark.parametrize(("code", "logged"), [(4001, 4001), (None, 1005)])
def test_what_a_client_says_at_its_end_is_not_written_down(
    service: ServiceProcess, ada: Member, code: int | None, logged: int
) -> None:
    request_id = f"log-of-a-close-{code}"
    with opened(ada, request_id) as raw:
        raw.send(close(code, SAID))
        assert raw.close_code() == code
    line = line_of(service, request_id)
    assert (line["code"], line["ended_by"], line["reason"]) == (logged, "client", None)
    assert SAID.decode() not in service.log()


@pytest.mark.parametrize("way", ["end", "reset"])
def test_a_connection_that_is_lost_is_no_close_frame(service: ServiceProcess, ada: Member, way: str) -> None:
    request_id = f"log-of-a-lost-one-{way}"
    with opened(ada, request_id) as raw:
        raw.hear()
        if way == "reset":
            raw.reset()
    line = line_of(service, request_id)
    assert (line["code"], line["ended_by"], line["reason"]) == (1006, "nobody", None)


def test_what_the_service_ended_says_why(service: ServiceProcess, ada: Member) -> None:
    with RawSocket(service.port) as raw:
        raw.open("/ws", {"X-Request-Id": "log-of-a-bad-token"})
        raw.say("auth", token=f"{ada.token}x")
        assert raw.close_code() == 4500
    line = line_of(service, "log-of-a-bad-token")
    assert (line["code"], line["ended_by"], line["reason"]) == (4500, "service", "authentication failed")
    assert "user_id" not in line
    assert ada.token not in service.log()

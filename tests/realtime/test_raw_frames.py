"""The rules of RFC 6455, frame by frame: what a client may send, and the close code for what it may not."""

import json
import struct
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from app.realtime.connection import CLOSE_PATIENCE_SECONDS
from app.realtime.websocket import MAX_MESSAGE_BYTES
from tests.support.processes.service import ServiceProcess
from tests.support.users import ChatUser
from tests.support.ws_raw import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    RSV1,
    RSV2,
    RSV3,
    TEXT,
    Heard,
    RawSocket,
    close,
    frame,
    rest,
    text,
    upgrade,
)

PROTOCOL_ERROR, BAD_DATA, TOO_BIG, RATE_LIMITED = 1002, 1007, 1009, 4004
ASK = '{"type":"ping"}'
# An unknown type comes back in the error, which shows what arrived.
UNKNOWN = '{"type":"größe 🛶"}'
NO_UTF8 = {
    "no such byte": b"\xff",
    "cut off": b"{\xc3",
    "overlong": b"\xc0\xaf",
    "surrogate": b"\xed\xa0\x80",
    "beyond Unicode": b"\xf4\x90\x80\x80",
}
# The bytes of a length that has a shorter form, or whose highest bit is set.
LENGTHS = {
    "16 bits for 7": b"\x7e\x00\x7d",
    "64 bits for 7": b"\x7f" + struct.pack("!Q", 125),
    "64 bits for 16": b"\x7f" + struct.pack("!Q", 0xFFFF),
    "highest bit": b"\x7f" + struct.pack("!Q", 1 << 63),
}
HUGE = b"\x7f" + struct.pack("!Q", 1 << 62)
# What ends a socket: the bytes, and the close code.
ENDED: dict[str, tuple[bytes, int | None]] = {
    "continuation without a beginning": (rest(b"{}"), PROTOCOL_ERROR),
    "token of a NUL": (text('{"type":"auth","payload":{"token":"\\u0000"}}'), 4500),
    "half a close code": (frame(CLOSE, b"\x03"), PROTOCOL_ERROR),
    **{f"message within a message, {opcode}": (text("{", fin=False) + frame(opcode, b"{}"), PROTOCOL_ERROR)
       for opcode in (TEXT, BINARY)},
    **{f"reserved bits {rsv:#x}, {opcode}": (frame(opcode, b"{}", rsv=rsv), PROTOCOL_ERROR)
       for rsv in (RSV1, RSV2, RSV3, RSV1 | RSV2 | RSV3) for opcode in (TEXT, PING)},
    **{f"reserved opcode {opcode}": (frame(opcode, b"{}"), PROTOCOL_ERROR)
       for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    **{f"no mask, {opcode}": (frame(opcode, b"{}", masked=False), PROTOCOL_ERROR) for opcode in (TEXT, PING)},
    **{f"control frame in fragments, {opcode}": (frame(opcode, fin=False), PROTOCOL_ERROR)
       for opcode in (PING, PONG, CLOSE)},
    **{f"control frame of 126 bytes, {opcode}": (frame(opcode, b"\x03\xe8" + b"x" * 124), PROTOCOL_ERROR)
       for opcode in (PING, PONG, CLOSE)},
    **{f"length of {name}, {opcode}": (frame(opcode, length=length), PROTOCOL_ERROR)
       for name, length in LENGTHS.items() for opcode in (TEXT, BINARY)},
    **{f"close code {code}": (close(code), PROTOCOL_ERROR)
       for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535)},
    "close reason that is not UTF-8": (close(1000, b"\xff"), BAD_DATA),
    "not UTF-8 before the message ends": (text(b'{"type', fin=False) + rest(b"\xff", fin=False), BAD_DATA),
    **{f"not UTF-8, {name}": (text(data), BAD_DATA) for name, data in NO_UTF8.items()},
    **{f"not UTF-8 in fragments, {name}": (text(data[:1], fin=False) + rest(data[1:]), BAD_DATA)
       for name, data in NO_UTF8.items()},
    "one byte too many": (text(" " * (MAX_MESSAGE_BYTES + 1)), TOO_BIG),
    "too many bytes in fewer characters": (text("€" * 30_000), TOO_BIG),
    "fragments too big together": (
        text(" " * 40_000, fin=False) + rest(b" " * 25_000, fin=False) + rest(b" " * 537, fin=False), TOO_BIG),
    **{f"header of a huge message, {opcode}": (frame(opcode, length=HUGE), TOO_BIG) for opcode in (TEXT, BINARY)},
    "many empty fragments": (text("", fin=False) + rest(fin=False) * 20_000, TOO_BIG),
    "many fragments within their limits": (
        (text("", fin=False) + rest(fin=False) * 1000 + rest(b"{}")) * 10, RATE_LIMITED),
    "flood of pings": (frame(PING) * 20_000, RATE_LIMITED),
    "continuation after the end of a long message": (text("x" * 60_000) + rest(b"x" * 10_000), PROTOCOL_ERROR),
    **{f"reserved opcode with {size} bytes in flight": (frame(3) + b"\x00" * size, PROTOCOL_ERROR)
       for size in (1, 60_000, 900_000)},
    **{f"close with {code}": (close(code, "bis später".encode()), code)
       for code in (None, 1000, 1001, 1002, 1003, 1007, 1009, 1010, 1011, 3000, 3999, 4000, 4999)},
    "frames after a close frame": (close(1000) + text(ASK) + frame(PING) + frame(3) + b"\x00" * 50_000, 1000),
}  # fmt: skip


BYTES = [UNKNOWN.encode()[at : at + 1] for at in range(len(UNKNOWN.encode()))]
ECHO, PONGED, NO_BINARY = (TEXT, "größe 🛶".encode()), (TEXT, b'"pong"'), (TEXT, b"UNSUPPORTED_BINARY")
BAD, UNSUPPORTED = b'"BAD_MESSAGE"', b'"UNSUPPORTED_TYPE"'
# Texts that are no frame of the protocol, and the code of the error.
TEXTS = {
    **dict.fromkeys(("", "null", "{" * 30_000, "[" * 60_000, "1" * 60_000, '"\\ud800"', '{"type":"\\ud800"}'), BAD),
    '{"type":"ping","payload":' + "[" * 20_000 + "]" * 20_000 + "}": BAD,
    '{"type":"ping\\u0000"}': UNSUPPORTED,
}
# What leaves a socket open: the bytes, and the opcode of each reply with a part of its payload.
ANSWERED: dict[str, tuple[bytes, list[tuple[int, bytes]]]] = {
    "fragments with a ping between": (
        text(UNKNOWN[:9], fin=False) + frame(PING, b"between") + rest(UNKNOWN[9:].encode()),
        [(PONG, b"between"), ECHO]),
    "characters split over fragments": (
        text(BYTES[0], fin=False) + b"".join(rest(part, fin=False) for part in BYTES[1:]) + rest(), [ECHO]),
    "empty fragments": (text("", fin=False) + rest(fin=False) + rest(ASK.encode(), fin=False) + rest(), [PONGED]),
    "binary in fragments": (frame(BINARY, b"\xff\x00", fin=False) + rest(b"\xfe"), [NO_BINARY]),
    "empty binary": (frame(BINARY), [NO_BINARY]),
    **{f"{size} bytes": (text(ASK + " " * (size - len(ASK))), [PONGED])
       for size in (125, 126, 127, 0xFFFF, MAX_MESSAGE_BYTES)},
    "fragments up to the limit": (text(" " * (MAX_MESSAGE_BYTES - 20), fin=False) + rest(ASK.encode()), [PONGED]),
    **{f"ping with {len(payload)} bytes": (frame(PING, payload), [(PONG, payload)])
       for payload in (b"", b"x", b"\xff" * 125)},
    **{f"text {payload[:20]!a}": (text(payload), [(TEXT, code)]) for payload, code in TEXTS.items()},
    "unsolicited pong": (frame(PONG, b"unsolicited"), []),
}  # fmt: skip


@pytest.fixture(scope="module")
def service_settings() -> dict[str, str]:
    """The limits of production."""
    return {}


@pytest.fixture
def raw(service: ServiceProcess) -> Iterator[RawSocket]:
    with RawSocket(service.port) as opened:
        opened.open()
        yield opened


def assert_open(raw: RawSocket) -> None:
    raw.send(text(ASK))
    assert raw.hear().json() == {"type": "pong"}


def error_code(heard: Heard) -> str:
    error = heard.json()
    assert error["type"] == "error"
    return str(error["payload"]["code"])


@pytest.mark.parametrize("name", ENDED)
def test_a_socket_ends_with_the_code_of_the_cause(raw: RawSocket, name: str) -> None:
    sent, code = ENDED[name]
    raw.send(sent)
    assert raw.close_code() == code


@pytest.mark.parametrize("name", ANSWERED)
def test_what_keeps_the_rules_is_answered_and_the_socket_stays(raw: RawSocket, name: str) -> None:
    sent, replies = ANSWERED[name]
    raw.send(sent)
    for opcode, part in replies:
        heard = raw.hear()
        assert heard.opcode == opcode
        assert heard.payload == part if opcode == PONG else part in heard.payload
    assert_open(raw)


class TestFragments:
    def test_bytes_may_come_one_by_one(self, raw: RawSocket) -> None:
        for byte in text(ASK[:5], fin=False) + frame(PING, b"slow") + rest(ASK[5:].encode()):
            raw.send(bytes([byte]))
        assert raw.hear() == (PONG, b"slow")
        assert raw.hear().json() == {"type": "pong"}

    def test_a_header_that_comes_in_parts_is_counted_once(self, raw: RawSocket) -> None:
        continuation = rest(b" " * 30_000 + ASK.encode())
        raw.send(text(" ", fin=False), continuation[:4])
        raw.wait_until_read()
        raw.send(continuation[4:7])
        raw.wait_until_read()
        raw.send(continuation[7:])
        assert raw.hear().json() == {"type": "pong"}


class TestClosing:
    def test_a_ping_before_a_close_frame_is_answered_before_it(self, raw: RawSocket) -> None:
        raw.send(text("", fin=False), frame(PING, b"1"), close(1000))
        assert raw.hear() == (PONG, b"1")
        assert raw.close_code() == 1000

    def test_a_close_frame_is_the_last_one_whatever_waits_to_be_written(
        self, service: ServiceProcess, ada: ChatUser, talk: str
    ) -> None:
        for _ in range(10):
            ada.send(talk, "\N{GRINNING FACE}" * 5000)
        with RawSocket(service.port, is_narrow=True) as raw:
            raw.open(headers=ada.headers)
            for _ in range(4):
                raw.say("sync", conversation_id=talk, after_seq=0)
            for _ in range(4):  # the last of them is too many, and the first answer is still on its way
                raw.send(frame(PONG) * 680)
                raw.wait_until_read()
            assert raw.close_code() == RATE_LIMITED

    def test_messages_before_a_close_frame_are_all_stored(
        self, service: ServiceProcess, ada: ChatUser, talk: str
    ) -> None:
        with RawSocket(service.port) as raw:
            raw.open(headers=ada.headers)
            said = [json.dumps({"type": "message", "payload": {"conversation_id": talk, "content": f"{number}"}})
                    for number in range(5)]  # fmt: skip
            raw.send(*map(text, said), close(1000))
            assert raw.close_code() == 1000
        assert [message["content"] for message in ada.messages(talk, after_seq=0)] == ["0", "1", "2", "3", "4"]

    def test_the_code_arrives_before_a_message_that_is_far_too_big_has_been_sent(self, raw: RawSocket) -> None:
        with suppress(ConnectionError):
            raw.send(text(b"\x00" * 16 * 1024 * 1024))
        heard = raw.hear()
        assert (heard.opcode, heard.payload[:2]) == (8, struct.pack("!H", TOO_BIG))

    def test_messages_in_flight_do_not_hold_up_the_end(self, raw: RawSocket) -> None:
        began_at = time.monotonic()
        raw.send(text('{"type":"auth","payload":{"token":"x"}}'), text(ASK) * 20)
        raw.wait_until_read()
        raw.send(text(ASK) * 2000)
        assert error_code(raw.hear()) == "UNAUTHORIZED"
        assert raw.close_code() == 4500
        assert time.monotonic() - began_at < CLOSE_PATIENCE_SECONDS


class TestBreakingOff:
    @pytest.mark.parametrize(
        "sent",
        [
            pytest.param(b"", id="nothing"),
            pytest.param(text(ASK)[:1], id="half-a-header"),
            pytest.param(text(ASK)[:9], id="half-a-payload"),
            pytest.param(text(ASK, fin=False), id="half-a-message"),
            pytest.param(text(ASK) * 20, id="unread-answers"),
            pytest.param(frame(PING)[:3], id="half-a-ping"),
        ],
    )
    def test_a_connection_that_breaks_off_leaves_nothing_open(self, service: ServiceProcess, sent: bytes) -> None:
        for _ in range(5):
            with RawSocket(service.port) as raw:
                raw.open()
                raw.send(sent)
                raw.connection.shutdown(1)
                with suppress(EOFError):
                    while raw.hear():
                        pass
            with RawSocket(service.port) as raw:
                raw.open()
                raw.send(sent)
                raw.reset()

    def test_a_connection_that_breaks_off_in_the_handshake_leaves_nothing_open(
        self, service: ServiceProcess, ada: ChatUser
    ) -> None:
        for _ in range(30):
            with RawSocket(service.port) as raw:
                raw.send(upgrade("/ws", ada.headers))
                raw.reset()


class TestCompression:
    @pytest.mark.parametrize(
        "offered", ["permessage-deflate", "permessage-deflate; client_max_window_bits, x-webkit-deflate-frame", ", ;="]
    )
    def test_an_extension_that_is_offered_is_not_taken(self, service: ServiceProcess, offered: str) -> None:
        with RawSocket(service.port) as raw:
            answer = raw.open(headers={"Sec-WebSocket-Extensions": offered})
            assert "Sec-WebSocket-Extensions" not in answer.headers
            raw.send(frame(TEXT, b"x", rsv=RSV1))
            assert raw.close_code() == PROTOCOL_ERROR

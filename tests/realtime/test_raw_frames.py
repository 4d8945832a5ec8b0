"""The rules of RFC 6455, frame by frame: what a client may send, and which close code it gets for what it may not."""

import json
import re
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from app.realtime.connection import CLOSE_PATIENCE_SECONDS
from app.realtime.meter import MAX_MESSAGE_BYTES
from deploy.local.processes import wait_until
from tests.support.members import Member
from tests.support.processes.service import ServiceProcess
from tests.support.processes.tenant import TenantProcess
from tests.support.ws_raw import (
    BINARY,
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
# A type that nobody knows comes back in the error: so it shows what arrived.
UNKNOWN = '{"type":"größe 🛶"}'
SLACK_SECONDS = 15
TROUBLE = re.compile(r'Traceback|unexpected_error|"status": ?5\d\d|"level": ?"(error|critical)"')


@pytest.fixture(scope="module")
def service(database_url_factory: Callable[[], str], tenant: TenantProcess) -> Iterator[ServiceProcess]:
    """Two workers; frames do not depend on the bus. Whoever breaks a rule of frames must not break a worker."""
    with ServiceProcess({"DATABASE_URL": database_url_factory(), **tenant.env()}) as running:
        workers = running.worker_pids()
        assert len(workers) == 2
        yield running
        assert running.worker_pids() == workers
        assert {running.request("GET", "/health").text for _ in range(4)} == {"ok"}
        assert [line for line in running.log().splitlines() if TROUBLE.search(line)] == []


@pytest.fixture
def raw(service: ServiceProcess) -> Iterator[RawSocket]:
    """An open socket."""
    with open_socket(service) as opened:
        yield opened


@contextmanager
def open_socket(service: ServiceProcess) -> Iterator[RawSocket]:
    with RawSocket(service.port) as opened:
        opened.open()
        yield opened


def assert_open(raw: RawSocket) -> None:
    """Nothing is to be heard but the answer to this."""
    raw.send(text(ASK))
    assert raw.hear().json() == {"type": "pong"}


def error_code(heard: Heard) -> str:
    frame_ = heard.json()
    assert frame_["type"] == "error"
    return str(frame_["payload"]["code"])


class TestFragments:
    def test_a_message_in_fragments_with_a_ping_between_them_arrives_whole(self, raw: RawSocket) -> None:
        raw.send(text(UNKNOWN[:9], fin=False), frame(PING, b"between"), rest(UNKNOWN[9:].encode()))
        assert raw.hear() == (PONG, b"between")
        assert "größe 🛶" in raw.hear().json()["payload"]["message"]

    def test_a_character_may_be_split_over_fragments(self, raw: RawSocket) -> None:
        whole = UNKNOWN.encode()
        *parts, last = [whole[at : at + 1] for at in range(len(whole))]
        raw.send(text(parts[0], fin=False), *[rest(part, fin=False) for part in parts[1:]], rest(last))
        assert "größe 🛶" in raw.hear().json()["payload"]["message"]

    def test_fragments_may_be_empty(self, raw: RawSocket) -> None:
        raw.send(text("", fin=False), rest(fin=False), rest(ASK.encode(), fin=False), rest())
        assert raw.hear().json() == {"type": "pong"}

    def test_bytes_may_come_one_by_one(self, raw: RawSocket) -> None:
        for byte in text(ASK[:5], fin=False) + frame(PING, b"slow") + rest(ASK[5:].encode()):
            raw.send(bytes([byte]))
        assert raw.hear() == (PONG, b"slow")
        assert raw.hear().json() == {"type": "pong"}

    def test_a_continuation_without_a_beginning_is_refused(self, raw: RawSocket) -> None:
        raw.send(rest(b"{}"))
        assert raw.close_code() == PROTOCOL_ERROR

    def test_a_continuation_after_the_end_of_a_message_is_refused_however_long_that_was(self, raw: RawSocket) -> None:
        raw.send(text("x" * 60_000))
        assert error_code(raw.hear()) == "BAD_MESSAGE"
        raw.send(rest(b"x" * 10_000))
        assert raw.close_code() == PROTOCOL_ERROR

    @pytest.mark.parametrize("opcode", [TEXT, BINARY])
    def test_a_message_inside_of_another_is_refused(self, raw: RawSocket, opcode: int) -> None:
        raw.send(text("{", fin=False), frame(opcode, b"{}"))
        assert raw.close_code() == PROTOCOL_ERROR


class TestText:
    @pytest.mark.parametrize(
        "payload",
        [
            pytest.param(b"\xff", id="no-such-byte"),
            pytest.param(b"{\xc3", id="cut-off"),
            pytest.param(b"\xc0\xaf", id="overlong"),
            pytest.param(b"\xed\xa0\x80", id="surrogate"),
            pytest.param(b"\xf4\x90\x80\x80", id="beyond-unicode"),
        ],
    )
    def test_what_is_not_utf8_is_refused(self, service: ServiceProcess, payload: bytes) -> None:
        with open_socket(service) as raw:
            raw.send(text(payload))
            assert raw.close_code() == BAD_DATA
        with open_socket(service) as raw:
            raw.send(text(payload[:1], fin=False), rest(payload[1:]))
            assert raw.close_code() == BAD_DATA

    def test_what_can_not_become_utf8_is_refused_before_the_message_ends(self, raw: RawSocket) -> None:
        raw.send(text(b'{"type', fin=False), rest(b"\xff", fin=False))
        assert raw.close_code() == BAD_DATA

    def test_a_binary_message_gets_an_error_and_the_socket_stays(self, raw: RawSocket) -> None:
        raw.send(frame(BINARY, b"\xff\x00", fin=False), rest(b"\xfe"))
        assert error_code(raw.hear()) == "UNSUPPORTED_BINARY"
        raw.send(frame(BINARY))
        assert error_code(raw.hear()) == "UNSUPPORTED_BINARY"
        assert_open(raw)

    @pytest.mark.parametrize(
        "payload",
        [
            "",
            "null",
            "{" * 30_000,
            "[" * 60_000,
            '{"type":"ping","payload":' + "[" * 20_000 + "]" * 20_000 + "}",
            "1" * 60_000,
            '"\\ud800"',
            '{"type":"\\ud800"}',
            '{"type":"ping\\u0000"}',
            '{"type":"auth","payload":{"token":"\\u0000"}}',
        ],
    )
    def test_no_text_ends_a_socket_as_an_error_of_the_service(self, raw: RawSocket, payload: str) -> None:
        raw.send(text(payload))
        assert error_code(raw.hear()) in ("BAD_MESSAGE", "UNSUPPORTED_TYPE", "UNAUTHORIZED")


class TestHeaders:
    @pytest.mark.parametrize("rsv", [RSV1, RSV2, RSV3, RSV1 | RSV2 | RSV3])
    @pytest.mark.parametrize("opcode", [TEXT, PING])
    def test_a_reserved_bit_is_refused(self, raw: RawSocket, rsv: int, opcode: int) -> None:
        raw.send(frame(opcode, b"{}", rsv=rsv))
        assert raw.close_code() == PROTOCOL_ERROR

    @pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
    def test_a_reserved_opcode_is_refused(self, raw: RawSocket, opcode: int) -> None:
        raw.send(frame(opcode, b"{}"))
        assert raw.close_code() == PROTOCOL_ERROR

    @pytest.mark.parametrize("opcode", [TEXT, PING])
    def test_a_frame_without_a_mask_is_refused(self, raw: RawSocket, opcode: int) -> None:
        raw.send(frame(opcode, b"{}", masked=False))
        assert raw.close_code() == PROTOCOL_ERROR

    @pytest.mark.parametrize("opcode", [PING, PONG, 8])
    def test_a_control_frame_in_fragments_is_refused(self, raw: RawSocket, opcode: int) -> None:
        raw.send(frame(opcode, fin=False))
        assert raw.close_code() == PROTOCOL_ERROR

    @pytest.mark.parametrize("opcode", [PING, PONG, 8])
    def test_a_control_frame_of_more_than_125_bytes_is_refused(self, raw: RawSocket, opcode: int) -> None:
        raw.send(frame(opcode, b"\x03\xe8" + b"x" * 124))
        assert raw.close_code() == PROTOCOL_ERROR

    @pytest.mark.parametrize(
        "length",
        [
            pytest.param(b"\x7e\x00\x7d", id="16-bits-for-7"),
            pytest.param(b"\x7f" + struct.pack("!Q", 125), id="64-bits-for-7"),
            pytest.param(b"\x7f" + struct.pack("!Q", 0xFFFF), id="64-bits-for-16"),
            pytest.param(b"\x7f" + struct.pack("!Q", 1 << 63), id="highest-bit"),
        ],
    )
    @pytest.mark.parametrize("opcode", [TEXT, BINARY])
    def test_a_length_must_be_written_in_its_one_form(self, raw: RawSocket, opcode: int, length: bytes) -> None:
        raw.send(frame(opcode, length=length))
        assert raw.close_code() == PROTOCOL_ERROR


class TestSize:
    @pytest.mark.parametrize("size", [125, 126, 127, 0xFFFF, MAX_MESSAGE_BYTES])
    def test_messages_up_to_the_limit_are_read(self, raw: RawSocket, size: int) -> None:
        padding = " " * (size - len(ASK))
        raw.send(text(ASK + padding))
        assert raw.hear().json() == {"type": "pong"}

    def test_one_byte_more_than_the_limit_is_refused(self, raw: RawSocket) -> None:
        raw.send(text(" " * (MAX_MESSAGE_BYTES + 1)))
        assert raw.close_code() == TOO_BIG

    def test_size_is_counted_in_bytes_not_in_characters(self, raw: RawSocket) -> None:
        raw.send(text("€" * 30_000))
        assert raw.close_code() == TOO_BIG

    def test_fragments_count_together(self, service: ServiceProcess) -> None:
        with open_socket(service) as raw:
            raw.send(text(" " * (MAX_MESSAGE_BYTES - 20), fin=False), rest(ASK.encode()))
            assert raw.hear().json() == {"type": "pong"}
            raw.send(text(" " * 40_000, fin=False), rest(b" " * 25_000, fin=False), rest(b" " * 537, fin=False))
            assert raw.close_code() == TOO_BIG

    def test_a_header_that_comes_in_parts_is_counted_once(self, raw: RawSocket) -> None:
        continuation = rest(b" " * 30_000 + ASK.encode())
        raw.send(text(" ", fin=False), continuation[:4])
        raw.wait_until_read()
        raw.send(continuation[4:7])
        raw.wait_until_read()
        raw.send(continuation[7:])
        assert raw.hear().json() == {"type": "pong"}

    @pytest.mark.parametrize("opcode", [TEXT, BINARY])
    def test_a_header_alone_is_enough_to_refuse_what_it_announces(self, raw: RawSocket, opcode: int) -> None:
        raw.send(frame(opcode, length=b"\x7f" + struct.pack("!Q", 1 << 62)))
        assert raw.close_code() == TOO_BIG

    def test_many_empty_fragments_are_refused(self, raw: RawSocket) -> None:
        raw.send(text("", fin=False), rest(fin=False) * 20_000)
        assert raw.close_code() == TOO_BIG


class TestControl:
    @pytest.mark.parametrize("payload", [b"", b"x", b"\xff" * 125])
    def test_a_ping_is_answered_with_its_payload(self, raw: RawSocket, payload: bytes) -> None:
        raw.send(frame(PING, payload))
        assert raw.hear() == (PONG, payload)

    def test_a_pong_that_nobody_asked_for_is_ignored(self, raw: RawSocket) -> None:
        raw.send(frame(PONG, b"unsolicited"))
        assert_open(raw)

    def test_a_flood_of_pings_ends_the_socket_and_no_other(self, service: ServiceProcess, raw: RawSocket) -> None:
        with open_socket(service) as flooding:
            flooding.send(frame(PING) * 20_000)
            assert flooding.close_code() == RATE_LIMITED
        assert_open(raw)

    def test_a_flood_of_fragments_that_stay_within_their_limits_ends_it(self, raw: RawSocket) -> None:
        message = text("", fin=False) + rest(fin=False) * 1000 + rest(b"{}")
        raw.send(message * 10)
        assert raw.close_code() == RATE_LIMITED


class TestClosing:
    def test_a_close_without_a_code_is_answered_without_one(self, raw: RawSocket) -> None:
        raw.send(close())
        assert raw.close_code() is None

    @pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1009, 1010, 1011, 3000, 3999, 4000, 4999])
    def test_a_code_is_sent_back(self, raw: RawSocket, code: int) -> None:
        raw.send(close(code, "bis später".encode()))
        assert raw.close_code() == code

    @pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535])
    def test_a_code_that_no_client_may_send_is_refused(self, raw: RawSocket, code: int) -> None:
        raw.send(close(code))
        assert raw.close_code() == PROTOCOL_ERROR

    def test_half_a_code_is_refused(self, raw: RawSocket) -> None:
        raw.send(frame(8, b"\x03"))
        assert raw.close_code() == PROTOCOL_ERROR

    def test_a_reason_that_is_not_utf8_is_refused(self, raw: RawSocket) -> None:
        raw.send(close(1000, b"\xff"))
        assert raw.close_code() == BAD_DATA

    def test_what_follows_a_close_frame_is_ignored(self, raw: RawSocket) -> None:
        raw.send(close(1000), text(ASK), frame(PING), frame(3), b"\x00" * 50_000)
        assert raw.close_body() == struct.pack("!H", 1000)

    def test_a_ping_before_a_close_frame_is_answered_before_it(self, raw: RawSocket) -> None:
        raw.send(text("", fin=False), frame(PING, b"1"), close(1000))
        assert raw.hear() == (PONG, b"1")
        assert raw.close_code() == 1000

    def test_a_close_frame_is_the_last_one_whatever_waits_to_be_written(
        self, service: ServiceProcess, ada: Member, talk: str
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
        self, service: ServiceProcess, ada: Member, talk: str
    ) -> None:
        with RawSocket(service.port) as raw:
            raw.open(headers=ada.headers)
            said = [json.dumps({"type": "message", "payload": {"conversation_id": talk, "content": f"{number}"}})
                    for number in range(5)]  # fmt: skip
            raw.send(*map(text, said), close(1000))
            assert raw.close_code() == 1000
        assert [message["content"] for message in ada.messages(talk, after_seq=0)] == ["0", "1", "2", "3", "4"]

    @pytest.mark.parametrize("in_flight", [0, 1, 60_000, 900_000])
    def test_the_code_arrives_and_no_reset_follows_whatever_is_in_flight(self, raw: RawSocket, in_flight: int) -> None:
        raw.send(frame(3), b"\x00" * in_flight)
        assert raw.close_code() == PROTOCOL_ERROR

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
    def test_who_goes_without_a_word_leaves_nothing_behind(self, service: ServiceProcess, sent: bytes) -> None:
        for _ in range(5):
            with open_socket(service) as raw:
                raw.send(sent)
                raw.connection.shutdown(1)
                with suppress(EOFError):
                    while raw.hear():
                        pass
            with open_socket(service) as raw:
                raw.send(sent)
                raw.reset()

    def test_who_goes_before_the_socket_is_open_leaves_nothing_behind(
        self, service: ServiceProcess, ada: Member
    ) -> None:
        for _ in range(30):
            with RawSocket(service.port) as raw:
                raw.connection.sendall(upgrade("/ws", {"Authorization": f"Bearer {ada.token}"}))
                raw.reset()

    def test_a_socket_that_ended_is_logged_with_how(self, service: ServiceProcess) -> None:
        with RawSocket(service.port) as raw:
            raw.open(headers={"X-Request-Id": "who-sends-reserved-bits"})
            raw.send(frame(TEXT, rsv=RSV2))
            raw.close_body()
        assert wait_until(lambda: "who-sends-reserved-bits" in service.log(), SLACK_SECONDS)
        lines = [json.loads(line) for line in service.log().splitlines() if "who-sends-reserved-bits" in line]
        assert [(line["event"], line["code"]) for line in lines] == [("socket_closed", PROTOCOL_ERROR)]


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

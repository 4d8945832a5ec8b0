"""What a client of the socket sees, frame by frame, over both kinds of bus."""

from collections.abc import Callable

import orjson
import pytest

from tests.support import UNKNOWN_ID
from tests.support.users import ChatUser
from tests.support.ws_client import ChatClient


@pytest.fixture(scope="module")
def service_settings(bus_settings: dict[str, str], service_settings: dict[str, str]) -> dict[str, str]:
    return bus_settings | service_settings


def listening_everywhere(member: ChatUser, sockets: int = 6) -> list[ChatClient]:
    """So many sockets that both workers have some."""
    return [ChatClient(member) for _ in range(sockets)]


class TestMessages:
    def test_a_message_reaches_every_socket_of_every_participant_as_rest_shows_it(
        self, ada: ChatUser, ben: ChatUser, talk: str
    ) -> None:
        listeners = listening_everywhere(ada) + listening_everywhere(ben)
        with ChatClient(ada) as sender:
            frame = {"conversation_id": talk, "content": "Is it free on Friday?", "client_msg_id": "m-1"}
            sender.say("message", **frame)
            ack = sender.find("ack")
            sender.say("message", **frame)
            assert sender.find("ack") == {**ack, "duplicate": True}
            assert ada.send(**frame)["id"] == ack["id"]
        (stored,) = ben.messages(talk)
        assert ack == {
            "client_msg_id": "m-1",
            "id": stored["id"],
            "conversation_id": talk,
            "seq": 1,
            "created_at": stored["created_at"],
            "duplicate": False,
        }
        for listener in listeners:
            with listener:
                assert listener.expect("message") == stored

    def test_typing_and_reading_are_shown_to_everybody(self, ada: ChatUser, ben: ChatUser, talk: str) -> None:
        ada.send(talk, "One")
        with ChatClient(ada) as at_ada, ChatClient(ben) as at_ben:
            at_ben.say("typing", conversation_id=talk)
            at_ben.say("typing", conversation_id=talk, is_typing=False)
            at_ben.say("read", conversation_id=talk, seq=1)
            for client in (at_ada, at_ben):
                assert client.expect("typing") == {"conversation_id": talk, "user_id": ben.id, "is_typing": True}
                assert client.expect("typing")["is_typing"] is False
                read = client.expect("read")
                assert (read["user_id"], read["last_read_seq"]) == (ben.id, 1)
            shown = {each["user_id"]: each["last_read_at"] for each in ada.conversation(talk)["participants"]}
            assert shown[ben.id] == read["read_at"]


class TestErrors:
    @pytest.mark.parametrize(
        ("content", "code"),
        [("x" * 5001, "TOO_LARGE"), *((content, "BAD_MESSAGE") for content in ("", "a\x00b", 7, None))],
    )
    def test_a_message_that_cannot_be_sent_is_refused_by_its_client_msg_id(
        self, ada: ChatUser, talk: str, content: object, code: str
    ) -> None:
        with ChatClient(ada) as client:
            client.say("message", conversation_id=talk, content=content, client_msg_id="m-1")
            error = client.expect("error")
            assert (error["code"], error["client_msg_id"]) == (code, "m-1")
            client.say("message", conversation_id=talk, content="x" * 5000, client_msg_id="m-1")
            assert client.find("ack")["duplicate"] is False

    @pytest.mark.parametrize(
        ("frame", "code"),
        [
            *((frame, "BAD_MESSAGE") for frame in ("{", "[]", '{"type": 7}', '{"type": "ping", "payload": []}')),
            ('{"type": "ping", "type": "ping"}', "BAD_MESSAGE"),
            ('{"type": "ping", "payload": {"x": 1}}', "BAD_MESSAGE"),
            ('{"type": "sync", "payload": {"conversation_id": "x", "after_seq": 0}}', "BAD_MESSAGE"),
            ('{"type": "ready"}', "UNSUPPORTED_TYPE"),
            ('{"type": ""}', "UNSUPPORTED_TYPE"),
        ],
    )
    def test_what_is_no_frame_of_the_protocol_is_refused_and_the_socket_stays(
        self, ada: ChatUser, frame: str, code: str
    ) -> None:
        with ChatClient(ada) as client:
            client.ws.send(frame)
            assert client.expect("error")["code"] == code
            assert client.all_until_pong() == []


class TestVersionOne:
    def test_it_sees_the_old_frames_and_no_others(self, ada: ChatUser, talk: str) -> None:
        with ChatClient(ada, version=1) as client:
            client.say("sendMessage", conversation_id=talk, content="Hello", client_msg_id="m-1")
            assert client.expect("message")["seq"] == 1
            client.say("read", conversation_id=talk)
            assert client.expect("read")["user_id"] == ada.id
            assert client.all_until_pong() == []

    def test_cursors_are_none_of_its_frames(self, ada: ChatUser, ben: ChatUser, talk: str) -> None:
        ada.send(talk, "One")
        with ChatClient(ben, version=1, cursors={talk: 0}) as client:
            assert client.all_until_pong() == []

    def test_a_version_that_is_not_spoken_ends_it(self, ada: ChatUser) -> None:
        with ChatClient(ada) as client:
            client.say("auth", token=ada.token, v=3)
            assert client.expect("error")["code"] == "BAD_MESSAGE"
            assert client.close_code() == 4502


class TestResumption:
    def test_a_cursor_brings_what_was_missed_and_then_the_live_frames_without_a_gap(
        self, ada: ChatUser, ben: ChatUser, talk: str
    ) -> None:
        for number in range(1, 251):
            ada.send(talk, f"{number}")
        with ChatClient(ben, cursors={talk: 20}) as client:
            seen: list[int] = []
            while not seen or seen[-1] < 250:
                page = client.expect("sync")
                assert page["reset"] is False
                assert page["complete"] is (page["messages"][-1]["seq"] == 250)
                seen += [message["seq"] for message in page["messages"]]
            ada.send(talk, "Live")
            seen.append(client.expect("message")["seq"])
        assert seen == list(range(21, 252))

    def test_a_cursor_at_the_end_brings_nothing(self, ada: ChatUser, ben: ChatUser, talk: str) -> None:
        ada.send(talk, "One")
        with ChatClient(ben, cursors={talk: 1}) as client:
            (head,) = client.ready["conversations"]
            assert head == {"id": talk, "last_seq": 1, "last_read_seq": 0, "unread": 1}
            assert client.all_until_pong() == []

    def test_a_cursor_beyond_the_end_is_told_to_start_anew(self, ada: ChatUser, ben: ChatUser, talk: str) -> None:
        ada.send(talk, "One")
        with ChatClient(ben, cursors={talk: 7}) as client:
            page = client.expect("sync")
            assert (page["reset"], page["complete"]) == (True, True)
            assert [message["seq"] for message in page["messages"]] == [1]
            ada.send(talk, "Two")
            assert client.expect("message")["seq"] == 2

    def test_a_cursor_of_somebody_elses_conversation_tells_nothing_of_it(
        self, ada: ChatUser, stranger: ChatUser, talk: str
    ) -> None:
        ada.send(talk, "Secret")
        unknown = UNKNOWN_ID
        with ChatClient(stranger, cursors={talk: 0, unknown: 0}) as client:
            pages = [client.expect("sync") for _ in range(2)]
            assert {page["conversation_id"] for page in pages} == {talk, unknown}
            assert all(page["messages"] == [] and page["reset"] and page["complete"] for page in pages)
            ada.send(talk, "Another secret")
            assert client.all_until_pong() == []

    def test_sync_gives_what_lies_behind_a_number(self, ada: ChatUser, ben: ChatUser, talk: str) -> None:
        for number in range(1, 6):
            ada.send(talk, f"{number}")
        with ChatClient(ben) as client:
            client.say("sync", conversation_id=talk, after_seq=2, limit=2)
            page = client.expect("sync")
            assert [message["seq"] for message in page["messages"]] == [3, 4]
            assert (page["complete"], page["reset"]) == (False, False)
            client.say("sync", conversation_id=talk, after_seq=4)
            page = client.expect("sync")
            assert [message["seq"] for message in page["messages"]] == [5]
            assert page["complete"] is True
            client.say("sync", conversation_id=talk, after_seq=5)
            assert client.expect("sync")["messages"] == []

    def test_long_messages_come_in_small_frames_and_a_reset_in_one(
        self, ada: ChatUser, ben: ChatUser, talk: str
    ) -> None:
        for _ in range(60):
            ada.send(talk, "\N{GRINNING FACE}" * 5000)  # 20,000 bytes
        with ChatClient(ben, cursors={talk: 0}) as client:
            seen: list[int] = []
            while len(seen) < 60:
                frame = client.ws.recv(20)
                assert len(frame) < 400_000
                page = orjson.loads(frame)["payload"]
                seen += [message["seq"] for message in page["messages"]]
        assert seen == list(range(1, 61))
        with ChatClient(ben, cursors={talk: 99}) as client:
            page = client.expect("sync")
            seqs = [message["seq"] for message in page["messages"]]
            assert (page["reset"], page["complete"]) == (True, True)
            assert seqs == list(range(61 - len(seqs), 61))
            client.say("sync", conversation_id=talk, after_seq=99)
            assert [message["seq"] for message in client.expect("sync")["messages"]] == seqs

    def test_many_cursors_are_replayed_each_to_its_end(
        self, ada: ChatUser, ben: ChatUser, newcomer: Callable[..., ChatUser]
    ) -> None:
        lengths = {ada.begin(ben, newcomer()): length for length in (1, 2, 3, 40, 1, 120)}
        for talk, length in lengths.items():
            for number in range(length):
                ada.send(talk, f"{number}")
        with ChatClient(ben, cursors=dict.fromkeys(lengths, 0)) as client:
            seen: dict[str, list[int]] = {talk: [] for talk in lengths}
            order = []
            while len(order) < len(lengths):
                page = client.expect("sync")
                seen[page["conversation_id"]] += [message["seq"] for message in page["messages"]]
                if page["complete"]:
                    order.append(lengths[page["conversation_id"]])
        assert seen == {talk: list(range(1, length + 1)) for talk, length in lengths.items()}
        assert sorted(order[:4]) == [1, 1, 2, 3]  # the short ones wait for no long one

    def test_a_conversation_begun_while_the_socket_is_open_arrives_from_its_first_message(
        self, ada: ChatUser, newcomer: Callable[..., ChatUser]
    ) -> None:
        carol = newcomer()
        with ChatClient(carol) as client:
            talk = ada.begin(carol)
            ada.send(talk, "Nice kayak")
            assert client.expect("message")["seq"] == 1

"""Sending: each message once, numbered without gaps, kept as it was written."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from app.models import Message
from tests.support.assertions import problems, refused_fields
from tests.support.rows import add_conversation, add_user, count_rows
from tests.support.users import ChatUser

ENGLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"
FAMILY = "\U0001f469\u200d\U0001f469\u200d\U0001f467"


class TestSending:
    def test_a_message_is_these_eight_fields(self, ada: ChatUser, ben: ChatUser, talk: str) -> None:
        sent = ada.send(talk, "Is it free on Monday?", client_msg_id="m-1")
        assert ben.messages(talk) == [sent]
        assert UUID(sent.pop("id"))
        created_at = datetime.fromisoformat(sent.pop("created_at"))
        assert created_at.utcoffset() == timedelta()
        assert abs(datetime.now(UTC) - created_at) < timedelta(minutes=1)
        assert sent == {
            "conversation_id": talk,
            "sender_id": ada.id,
            "sender_name": ada.username,
            "content": "Is it free on Monday?",
            "seq": 1,
            "client_msg_id": "m-1",
        }

    def test_sent_again_with_its_client_msg_id_it_is_the_same_message(
        self, ada: ChatUser, ben: ChatUser, talk: str
    ) -> None:
        first = ada.post(f"/{talk}/messages", content="Hello", client_msg_id="1")
        ben.send(talk)
        for content in ("Hello", "Something else"):
            again = ada.post(f"/{talk}/messages", content=content, client_msg_id="1")
            assert (first.status_code, again.status_code) == (201, 200)
            assert again.json == first.json
        assert ada.send(talk)["seq"] == 3

    @pytest.mark.parametrize("more", [{}, {"client_msg_id": None}])
    def test_without_a_client_msg_id_each_is_another_message(self, ada: ChatUser, talk: str, more: Any) -> None:
        first, second = (ada.send(talk, "Hello", **more) for _ in range(2))
        assert (first["seq"], second["seq"]) == (1, 2)
        assert first["id"] != second["id"]
        assert first["client_msg_id"] is second["client_msg_id"] is None

    def test_a_client_msg_id_is_of_one_sender_in_one_conversation(
        self, ada: ChatUser, ben: ChatUser, talk: str
    ) -> None:
        other = str(add_conversation(ada.uuid, ben.uuid))
        sent = [sender.send(one, client_msg_id="1") for one in (talk, other) for sender in (ada, ben)]
        assert len({message["id"] for message in sent}) == 4
        assert [message["seq"] for message in sent] == [1, 2, 1, 2]

    def test_a_client_msg_id_is_told_from_another_by_every_letter(self, ada: ChatUser, talk: str) -> None:
        for client_msg_id in ("a", "A", "aa", "!", "~", "%", "a" * 63 + "b", "a" * 64):
            assert ada.send(talk, client_msg_id=client_msg_id)["client_msg_id"] == client_msg_id
        assert count_rows(Message, conversation_id=UUID(talk)) == 8


class TestContent:
    @pytest.mark.parametrize(
        "content",
        [
            *("x", "x" * 5000, "\U0001f600" * 5000, "two\nlines, and\n\n\ta third", "from\r\nWindows"),
            "\u05e9\u05dc\u05d5\u05dd\u200f!",
            *("\u202bright to left\u202c", "\u2067isolated\u2069"),
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
            *(ENGLAND, FAMILY, "soft\u00adhyphen"),
            "<script>alert('1')</script> & \"quoted\" \\ %s {} $1 :name",
        ],
        ids=ascii,
    )
    def test_words_are_kept_as_they_were_written(self, ada: ChatUser, ben: ChatUser, talk: str, content: str) -> None:
        assert ada.send(talk, content)["content"] == content
        assert ben.messages(talk)[0]["content"] == content

    @pytest.mark.parametrize(
        ("given", "kept"), [("  Hello \n", "Hello"), ("\u3000Hello\u2003", "Hello"), ("e\u0301", "\u00e9")], ids=ascii
    )
    def test_words_are_trimmed_and_composed(self, ada: ChatUser, talk: str, given: str, kept: str) -> None:
        assert ada.send(talk, given)["content"] == kept

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            *(("content", value) for value in ("", " ", "\n\t\r\n ", "\u3000", "\u200b", "\u200f \u202b\u202c")),
            *(("content", value) for value in ("\ufeff", "\u200d", "\U000e0067", "x" * 5001, "\U0001f600" * 5001)),
            *(("content", value) for value in ("nul\x00", "\x00", "bell\x07", "\x1b[31mred", "delete\x7f", "back\x08")),
            *(("content", value) for value in ("next\x85line", "line\u2028separator", "paragraph\u2029separator")),
            *(("content", value) for value in (None, 5, True, [], {}, ["Hello"])),
            *(("client_msg_id", value) for value in ("", "x" * 65, "a b", " a", "a ", "a\n", "\n", "\x00", "\x7f")),
            *(("client_msg_id", value) for value in ("é", "\u200b", 5, True, [], {})),
        ],
        ids=lambda value: ascii(value)[:20],
    )
    def test_a_bad_field_is_refused_by_name_and_takes_no_number(
        self, ada: ChatUser, talk: str, field: str, value: Any
    ) -> None:
        answer = ada.post(f"/{talk}/messages", **{"content": "Hello", field: value})
        assert refused_fields(answer) == {field}
        assert ada.conversation(talk)["last_seq"] == count_rows(Message, conversation_id=UUID(talk)) == 0

    def test_the_content_must_be_given(self, ada: ChatUser, talk: str) -> None:
        assert problems(ada.post(f"/{talk}/messages")) == [("content", "required")]


@pytest.mark.parametrize(("people", "messages"), [(2, 0), (20, 1), (20, 100)])
def test_each_call_costs_one_statement_whatever_there_is(
    ada: ChatUser, people: int, messages: int, counting_statements: Callable[[], Any]
) -> None:
    others = [add_user() for _ in range(people - 1)]
    talk = str(add_conversation(ada.uuid, *others, messages=messages))

    def cost(call: Callable[[], Any]) -> int:
        with counting_statements() as counted:
            call()
        return len(counted) - 1  # the identification

    assert cost(lambda: ada.messages(talk, limit=100)) == 1
    assert cost(lambda: ada.messages(talk, limit=100, after_seq=0)) == 1
    assert cost(lambda: ada.send(talk, client_msg_id="1")) == 1
    assert cost(lambda: ada.send(talk, client_msg_id="1")) == 1
    assert cost(lambda: ada.read(talk)) == 1

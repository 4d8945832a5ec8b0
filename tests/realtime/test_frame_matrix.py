"""Which sender may send which frame: every type of frame, from every kind of sender."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from websockets.sync.client import connect

from app.messages import schemas
from app.messages.handlers import HANDLERS
from app.web.schemas import Body
from tests.support import UNKNOWN_ID
from tests.support.users import ChatUser
from tests.support.ws_client import ChatClient

NOBODY, PARTICIPANT, STRANGER, FORMER = "nobody", "participant", "stranger", "former participant"
REFUSAL = {"code": "FORBIDDEN", "message": "You do not take part in this conversation."}


@dataclass(frozen=True)
class Row:
    """A frame's payload, and the types of the replies by the kind of sender, errors by their code, sorted."""

    nobody: list[str]
    participant: list[str]
    outsider: list[str]
    payload: dict[str, Any] = field(default_factory=dict)
    is_about_a_conversation: bool = True

    def expected(self, who: str) -> list[str]:
        return {NOBODY: self.nobody, PARTICIPANT: self.participant}.get(who, self.outsider)


UNKNOWN, OUTSIDE = ["UNAUTHORIZED"], ["FORBIDDEN"]
MATRIX = {
    # A conversation in `cursors` is looked up, which gives no access to it.
    "auth": Row(["ready"], ["ready"], ["FORBIDDEN", "ready"], {"v": 2}),
    "message": Row(UNKNOWN, ["ack", "message"], OUTSIDE, {"content": "Hello"}),
    "sendMessage": Row(UNKNOWN, ["ack", "message"], OUTSIDE, {"content": "Hello"}),
    "typing": Row(UNKNOWN, ["typing"], OUTSIDE),
    "read": Row(UNKNOWN, ["read"], OUTSIDE),
    "sync": Row(UNKNOWN, ["sync"], OUTSIDE, {"after_seq": 0}),
    "ping": Row(["pong"], ["pong"], ["pong"], is_about_a_conversation=False),
}
LEAVE = "DELETE FROM conversation_participants WHERE conversation_id = %s AND user_id = %s"
ABOUT_ONE = [kind for kind, row in MATRIX.items() if row.is_about_a_conversation]


class Nobody(ChatClient):
    def __init__(self, member: ChatUser) -> None:
        self.member = member
        self.ws = connect(f"ws://127.0.0.1:{member.service.port}/ws", close_timeout=1, proxy=None).__enter__()


def payload_of(kind: str, member: ChatUser, conversation_id: str) -> dict[str, Any]:
    row = MATRIX[kind]
    about = {"conversation_id": conversation_id} if row.is_about_a_conversation else {}
    return {**row.payload, **about, **({"token": member.token} if kind == "auth" else {})}


def names(frames: list[dict[str, Any]]) -> list[str]:
    return sorted(each["payload"]["code"] if each["type"] == "error" else each["type"] for each in frames)


def test_every_type_of_frame_is_in_the_matrix() -> None:
    assert MATRIX.keys() == HANDLERS.keys()
    payloads = {it for it in vars(schemas).values() if isinstance(it, type) and it.__name__.endswith("Payload")}
    assert payloads == {type(schema) for schema, _ in HANDLERS.values()}
    assert all(issubclass(payload, Body) for payload in payloads), "a Body refuses fields that it does not know"


@pytest.mark.attack("frames")
@pytest.mark.parametrize("who", [NOBODY, PARTICIPANT, STRANGER, FORMER])
@pytest.mark.parametrize("kind", MATRIX)
def test_the_reply_depends_on_the_sender(
    ada: ChatUser, ben: ChatUser, stranger: ChatUser, talk: str, sql: Callable[..., Any], kind: str, who: str
) -> None:
    sender = {STRANGER: stranger, FORMER: ben}.get(who, ada)
    expected = MATRIX[kind].expected(who)
    ada.send(talk, "Something to read")
    with (Nobody if who == NOBODY else ChatClient)(sender) as client, ChatClient(ada) as listening:
        if who == FORMER:
            sql(LEAVE, talk, ben.id)
        client.say(kind, **payload_of(kind, sender, talk))
        heard = [client.hear() for _ in expected]  # some come by way of the bus, which cannot be waited for otherwise
        assert names(heard) == expected
        assert client.all_until_pong() == []
        if who != PARTICIPANT:
            assert listening.all_until_pong() == []
    if who != PARTICIPANT:
        assert [message["content"] for message in ada.messages(talk)] == ["Something to read"]


@pytest.mark.attack("frames")
@pytest.mark.parametrize("kind", ABOUT_ONE)
def test_an_outsider_cannot_tell_which_conversations_exist(
    ada: ChatUser, stranger: ChatUser, talk: str, kind: str
) -> None:
    ada.send(talk, "A secret")
    errors = []
    with ChatClient(stranger) as client:
        for conversation_id in (talk, UNKNOWN_ID):
            client.say(kind, **payload_of(kind, stranger, conversation_id))
            errors += [each["payload"] for each in client.all_until_pong() if each["type"] == "error"]
    assert errors == [REFUSAL, REFUSAL]


def test_a_removed_participant_gets_no_later_frame_and_cannot_resume(
    ada: ChatUser, ben: ChatUser, stranger: ChatUser, sql: Callable[..., Any]
) -> None:
    conversation_id = ada.begin(ben, stranger)
    with ChatClient(ben) as removed, ChatClient(stranger) as remaining:
        ada.send(conversation_id, "Before")
        assert removed.expect("message")["seq"] == remaining.expect("message")["seq"] == 1
        sql(LEAVE, conversation_id, ben.id)
        ada.send(conversation_id, "After")
        ada.read(conversation_id)
        heard = [remaining.hear() for _ in range(2)]  # a mark can arrive before the message that it is about
        assert {frame["type"] for frame in heard} == {"message", "read"}
        assert removed.all_until_pong() == []
    with ChatClient(ben, cursors={conversation_id: 0}) as again:
        assert again.ready["conversations"] == []
        expected = {"conversation_id": conversation_id, "messages": [], "complete": True, "reset": True}
        assert again.expect("sync") == expected

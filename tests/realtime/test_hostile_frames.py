"""What a frame may say: only its own fields, only for its sender, and nothing that breaks the service."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from marshmallow import ValidationError

from app.errors import MalformedRequest
from app.messages.handlers import _HANDLERS, RefusedFrame, client_msg_id_in, parse
from app.messages.schemas import MAX_CLIENT_MSG_ID_LENGTH
from tests.realtime.test_frame_matrix import MATRIX
from tests.support.examples import examples
from tests.support.users import ChatUser
from tests.support.ws_client import ChatClient
from tests.support.ws_raw import BINARY, CLOSE, TEXT, frame, open_socket, text

# Members of the frames that the service sends, and of rows, which no client may set.
SERVER_FIELDS = [
    *("sender_id", "sender_name", "user_id", "id", "created_at", "role", "last_read_seq", "read_at", "connection_id"),
    *("participant_ids", "is_admin", "email_verified", "exp", "sub", "channel", "type", "payload", "__proto__", ""),
]
FIELDS = sorted({name for schema, _ in _HANDLERS.values() for name in schema.fields})
SOCKET_EXAMPLES, PARSER_EXAMPLES = 4, 10


def good_payload(kind: str, member: ChatUser, conversation_id: str) -> dict[str, Any]:
    """One that would be let in."""
    row = MATRIX[kind]
    about = {"conversation_id": conversation_id} if row.is_about_a_conversation else {}
    return {**row.payload, **about, **({"token": member.token} if kind == "auth" else {})}


FOREIGN_FIELDS = [
    (kind, name) for kind in MATRIX for name in [*SERVER_FIELDS, *FIELDS] if name not in _HANDLERS[kind][0].fields
]


@pytest.mark.attack("frames")
@pytest.mark.parametrize(("kind", "name"), FOREIGN_FIELDS)
def test_a_payload_has_no_field_of_the_server_or_of_another_frame(
    ada: ChatUser, ben: ChatUser, talk: str, kind: str, name: str
) -> None:
    with ChatClient(ben) as listening, ChatClient(ada) as client:
        client.say(kind, **{**good_payload(kind, ada, talk), name: ben.id})
        error = client.expect("error")
        assert error["code"] == "BAD_MESSAGE"
        assert error["message"].startswith(f"{name or 'payload'}: ")
        assert client.all_until_pong() == []
        assert listening.all_until_pong() == []
    assert ada.messages(talk) == []


@pytest.mark.attack("frames")
@pytest.mark.parametrize("kind", ["message", "typing", "read"])
def test_fields_beside_the_payload_are_ignored(ada: ChatUser, ben: ChatUser, talk: str, kind: str) -> None:
    ada.send(talk, "Something to read")
    beside = dict.fromkeys(("sender_id", "user_id", "id", "role", "seq", "created_at", "token"), ben.id)
    with ChatClient(ben) as listening, ChatClient(ada) as client:
        client.ws.send(json.dumps({**beside, "type": kind, "payload": good_payload(kind, ada, talk)}))
        heard = listening.expect(kind)
    assert heard["sender_id" if kind == "message" else "user_id"] == ada.id
    assert heard.get("id") != ben.id
    assert heard.get("seq") == (2 if kind == "message" else None)


@pytest.mark.attack("frames")
def test_a_client_msg_id_of_another_sender_or_conversation_hides_no_message(
    ada: ChatUser, ben: ChatUser, stranger: ChatUser, talk: str
) -> None:
    other = ada.begin(stranger)
    with ChatClient(ada) as hers, ChatClient(ben) as his:
        for client, conversation_id, content in ((hers, talk, "Hers"), (his, talk, "His"), (hers, other, "Hello")):
            sent = {"conversation_id": conversation_id, "content": content, "client_msg_id": "the-same"}
            client.say("message", **sent)
            ack = client.find("ack")
            assert (ack["conversation_id"], ack["duplicate"]) == (conversation_id, False)
    stored = [(message["sender_id"], message["content"]) for message in ada.messages(talk, after_seq=0)]
    assert stored == [(ada.id, "Hers"), (ben.id, "His")]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(10**400),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
KINDS = st.sampled_from([*MATRIX]) | st.text(max_size=20)
PAYLOADS = st.dictionaries(
    st.sampled_from(FIELDS) | st.text(max_size=5),
    JSON | st.uuids().map(str) | st.integers(-1, 2**63) | st.dictionaries(st.uuids().map(str), JSON, max_size=3),
    max_size=6,
)
FRAMES = st.builds(lambda kind, payload: {"type": kind, "payload": payload}, KINDS, PAYLOADS | JSON)
DOCUMENTS = (FRAMES | JSON).map(json.dumps) | st.text() | st.text(alphabet='{}[]":,\\u0dd8', max_size=40)
HOSTILE = (
    DOCUMENTS.map(lambda said: text(said.encode("utf-8", "replace")))
    | st.binary(max_size=60).map(lambda said: frame(BINARY, said))
    | st.binary(max_size=60).map(lambda said: frame(TEXT, said))
)
# The socket may end by these: no UTF-8, too fast, a token that does not hold, no such version.
ENDS = {1007, 4004, 4500, 4502}


def steady(share: float) -> settings:
    """The profile's settings with a share of its examples."""
    return settings(max_examples=examples(share), suppress_health_check=list(HealthCheck))


@pytest.mark.attack("frames")
def test_no_frame_is_an_error_of_the_service(ada: ChatUser, talk: str) -> None:
    sockets = [open_socket(ada)]

    @steady(SOCKET_EXAMPLES)
    @given(HOSTILE)
    def fuzz(hostile: bytes) -> None:
        raw = sockets[-1]
        raw.send(hostile, text('{"type": "the end"}'))
        while (heard := raw.hear()).opcode != CLOSE:
            said = heard.json()
            assert said["type"] in {"error", "pong", "ready"}, said
            if "'the end'" in said.get("payload", {}).get("message", ""):
                return
        assert int.from_bytes(heard.payload[:2]) in ENDS, heard
        raw.connection.close()
        sockets.append(open_socket(ada))

    fuzz()
    sockets[-1].connection.close()
    assert ada.messages(talk) == []


@pytest.mark.attack("frames")
@steady(PARSER_EXAMPLES)
@given(DOCUMENTS | st.binary(max_size=100))
def test_whatever_comes_is_parsed_or_refused(said: str | bytes) -> None:
    try:
        kind, payload = parse(said)
    except (RefusedFrame, MalformedRequest):
        return
    assert isinstance(kind, str)
    found = client_msg_id_in(payload)
    assert found is None or len(found) <= MAX_CLIENT_MSG_ID_LENGTH


@pytest.mark.attack("frames")
@steady(PARSER_EXAMPLES)
@given(st.sampled_from([*MATRIX]), PAYLOADS)
def test_whatever_a_payload_holds_is_taken_or_refused_by_its_schema(kind: str, payload: dict[str, Any]) -> None:
    schema, _ = _HANDLERS[kind]
    try:
        values = schema.load(payload)
    except ValidationError:
        return
    assert values.keys() <= schema.fields.keys()

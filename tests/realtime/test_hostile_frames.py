"""What a frame may say: only its own fields, only for its sender, and nothing that breaks the service."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.messages.handlers import HANDLERS
from tests.realtime.test_frame_matrix import MATRIX, payload_of
from tests.support.asyncapi_checks import check_frame
from tests.support.examples import examples
from tests.support.users import ChatUser
from tests.support.ws_client import ChatClient
from tests.support.ws_raw import BINARY, CLOSE, PING, TEXT, frame, open_socket, text

# Members of the frames that the service sends, and of rows, which no client may set.
SERVER_FIELDS = [
    *("sender_id", "sender_name", "user_id", "id", "created_at", "role", "last_read_seq", "read_at", "connection_id"),
    *("participant_ids", "is_admin", "email_verified", "exp", "sub", "channel", "type", "payload", "__proto__", ""),
]
FIELDS = sorted({name for schema, _ in HANDLERS.values() for name in schema.fields})


FOREIGN_FIELDS = [
    (kind, name) for kind in MATRIX for name in [*SERVER_FIELDS, *FIELDS] if name not in HANDLERS[kind][0].fields
]


@pytest.mark.attack("frames")
@pytest.mark.parametrize(("kind", "name"), FOREIGN_FIELDS)
def test_a_payload_has_no_field_of_the_server_or_of_another_frame(
    ada: ChatUser, ben: ChatUser, talk: str, kind: str, name: str
) -> None:
    with ChatClient(ben) as listening, ChatClient(ada) as client:
        client.say(kind, **{**payload_of(kind, ada, talk), name: ben.id})
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
        client.ws.send(json.dumps({**beside, "type": kind, "payload": payload_of(kind, ada, talk)}))
        heard = listening.expect(kind)
    assert heard["sender_id" if kind == "message" else "user_id"] == ada.id
    assert heard.get("id") != ben.id
    assert heard.get("seq") == (2 if kind == "message" else None)


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


@pytest.mark.attack("frames")
def test_no_frame_is_an_error_of_the_service(ada: ChatUser, talk: str) -> None:
    sockets = [open_socket(ada)]

    @settings(max_examples=examples(10), suppress_health_check=list(HealthCheck))
    @given(HOSTILE)
    def fuzz(hostile: bytes) -> None:
        raw = sockets[-1]
        raw.send(hostile, text('{"type": "the end"}'))
        while (heard := raw.hear()).opcode != CLOSE:
            if heard.opcode == PING:  # comes after 25 s
                continue
            said = heard.json()
            check_frame(said)
            assert said["type"] in {"error", "pong", "ready"}, said
            if "'the end'" in said.get("payload", {}).get("message", ""):
                return
        assert int.from_bytes(heard.payload[:2]) in ENDS, heard
        raw.connection.close()
        sockets.append(open_socket(ada))

    fuzz()
    sockets[-1].connection.close()
    assert ada.messages(talk) == []

"""Who may send which frame, and that no frame speaks for somebody else: every type, for everyone who might try."""

import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.messages.handlers import _HANDLERS
from deploy.local.cluster import PostgresCluster
from tests.local.tenant_process import TenantProcess
from tests.realtime.chat_client import ChatClient
from tests.realtime.conftest import GENEROUS
from tests.realtime.people import Member
from tests.realtime.raw_socket import TEXT, RawSocket, frame, text
from tests.service_process import ServiceProcess

# What each frame says of a conversation, and what its sender hears where it may be sent.
FRAMES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "message": ({"content": "Hello"}, ["ack", "message"]),
    "sendMessage": ({"content": "Hello"}, ["ack", "message"]),
    "typing": ({}, []),
    "read": ({}, ["read"]),
    "sync": ({"after_seq": 0}, ["sync"]),
}
NOBODY_S = {"auth", "ping"}  # what is answered before it is known who asks
REFUSAL = {"code": "FORBIDDEN", "message": "You do not take part in this conversation."}
# Members of the frames that the service sends, and of rows, which no client may set.
FORBIDDEN_FIELDS = [
    *("sender_id", "sender_name", "user_id", "id", "created_at", "role", "last_read_seq", "read_at", "v"),
    *("participant_ids", "is_admin", "__proto__"),
]
FUZZED_FRAMES = 150


@pytest.fixture(scope="module")
def database_url(database_url_factory: Callable[[], str]) -> str:
    return database_url_factory()


@pytest.fixture(scope="module")
def service(database_url: str, tenant: TenantProcess) -> Iterator[ServiceProcess]:
    """Who may do what does not depend on the bus. Nothing unexpected happens."""
    environment = {"DATABASE_URL": database_url, **tenant.env(), **GENEROUS, "WS_FRAMES_PER_SECOND": "10000"}
    with ServiceProcess(environment) as running:
        yield running
        assert "unexpected_error" not in running.log()
        assert "Traceback" not in running.log()


def remove(cluster: PostgresCluster, database_url: str, talk: str, member: Member) -> None:
    """End a membership behind the service's back."""
    where = f"conversation_id = '{talk}' AND user_id = '{member.id}'"
    cluster.psql(
        f"DELETE FROM conversation_participants WHERE {where}",  # noqa: S608
        database_url.split("/")[3].partition("?")[0],
    )


def kinds_heard(client: ChatClient) -> list[str]:
    return sorted(heard["type"] for heard in client.all_until_pong())


def test_every_type_of_frame_is_tried() -> None:
    assert FRAMES.keys() | NOBODY_S == _HANDLERS.keys()


@pytest.mark.attack("frames")
@pytest.mark.parametrize("kind", FRAMES)
def test_nobody_sends_it(service: ServiceProcess, talk: str, kind: str) -> None:
    with RawSocket(service.port) as raw:
        raw.open("/ws?v=2")
        raw.say(kind, conversation_id=talk, **FRAMES[kind][0])
        assert raw.hear().json()["payload"]["code"] == "UNAUTHORIZED"


@pytest.mark.parametrize("kind", FRAMES)
def test_whoever_takes_part_sends_it(ada: Member, talk: str, kind: str) -> None:
    payload, expected = FRAMES[kind]
    ada.send(talk, "Something to read")
    with ChatClient(ada) as client:
        client.say(kind, conversation_id=talk, **payload)
        heard: list[str] = []
        while len(heard) < len(expected):  # by way of the bus, which nobody can wait for otherwise
            heard.append(client.hear()["type"])
    assert sorted(heard) == expected


@pytest.mark.attack("frames")
@pytest.mark.parametrize("kind", FRAMES)
def test_a_stranger_sends_it_to_no_conversation_and_learns_not_which_exist(
    ada: Member, stranger: Member, talk: str, kind: str
) -> None:
    payload, _ = FRAMES[kind]
    with ChatClient(ada) as listening, ChatClient(stranger) as client:
        for conversation_id in (talk, str(uuid4())):
            client.say(kind, conversation_id=conversation_id, **payload)
            assert client.expect("error") == REFUSAL
        assert listening.all_until_pong() == []
    assert ada.messages(talk) == []


@pytest.mark.attack("frames")
@pytest.mark.parametrize("kind", FRAMES)
def test_who_took_part_once_sends_it_no_more(
    cluster: PostgresCluster, database_url: str, ada: Member, ben: Member, talk: str, kind: str
) -> None:
    payload, _ = FRAMES[kind]
    with ChatClient(ada) as listening, ChatClient(ben) as client:
        remove(cluster, database_url, talk, ben)
        client.say(kind, conversation_id=talk, **payload)
        assert client.expect("error") == REFUSAL
        assert listening.all_until_pong() == []
    assert ada.messages(talk) == []


@pytest.mark.attack("frames")
@pytest.mark.parametrize("kind", ["message", "typing", "read", "sync"])
@pytest.mark.parametrize("field", FORBIDDEN_FIELDS)
def test_a_frame_speaks_for_nobody_else(ada: Member, ben: Member, talk: str, kind: str, field: str) -> None:
    payload, _ = FRAMES[kind]
    with ChatClient(ben) as listening, ChatClient(ada) as client:
        client.say(kind, conversation_id=talk, **payload, **{field: ben.id})
        error = client.expect("error")
        assert (error["code"], field in error["message"]) == ("BAD_MESSAGE", True)
        assert listening.all_until_pong() == []
    assert ada.messages(talk) == []


@pytest.mark.attack("frames")
def test_what_is_sent_carries_the_sender_that_the_token_names(ada: Member, ben: Member, talk: str) -> None:
    with ChatClient(ben) as listening, ChatClient(ada) as client:
        client.say("message", conversation_id=talk, content="Who am I?")
        client.say("typing", conversation_id=talk)
        client.say("read", conversation_id=talk)
        heard = {frame["type"]: frame["payload"] for frame in (listening.hear() for _ in range(3))}
    assert heard["message"]["sender_id"] == heard["typing"]["user_id"] == heard["read"]["user_id"] == ada.id


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
PAYLOADS = st.dictionaries(
    st.sampled_from(["conversation_id", "content", "client_msg_id", "seq", "after_seq", "limit", "is_typing", "v"])
    | st.text(max_size=5),
    JSON | st.uuids().map(str),
    max_size=6,
)
HOSTILE_FRAMES = (
    st.builds(
        lambda kind, payload: json.dumps({"type": kind, "payload": payload}), st.sampled_from([*FRAMES]), PAYLOADS
    )
    | JSON.map(json.dumps)
    | st.text()
).map(lambda said: text(said.encode("utf-8", "replace")))


@pytest.mark.attack("frames")
def test_no_frame_is_an_error_of_the_service(service: ServiceProcess, ada: Member, talk: str) -> None:
    with RawSocket(service.port) as raw:
        raw.open("/ws?v=2", {"Authorization": f"Bearer {ada.token}"})
        assert raw.hear().json()["type"] == "ready"

        @settings(max_examples=FUZZED_FRAMES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
        @given(HOSTILE_FRAMES)
        def fuzz(hostile: bytes) -> None:
            raw.send(hostile)
            raw.say("ping")
            while (heard := raw.hear()).opcode == TEXT and heard.json()["type"] != "pong":
                assert heard.json()["type"] == "error"
            assert heard.opcode == TEXT, "no text frame ends a socket"

        fuzz()
    assert ada.messages(talk) == []


@pytest.mark.attack("frames")
@pytest.mark.parametrize("opcode", [3, 7, 11, 15])
def test_a_kind_of_frame_that_there_is_not_ends_the_socket(service: ServiceProcess, ada: Member, opcode: int) -> None:
    with RawSocket(service.port) as raw:
        raw.open("/ws", {"Authorization": f"Bearer {ada.token}"})
        raw.send(frame(opcode, b"{}"))
        assert raw.close_code() == 1002

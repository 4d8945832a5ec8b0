"""Who may send which frame: every type, for everyone who might try. What it may say is in `test_hostile_frames.py`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from app.messages import schemas
from app.messages.handlers import _HANDLERS
from app.web.schemas import Body
from deploy.local.cluster import PostgresCluster
from tests.support.processes.service import GENEROUS_CHAT, ServiceProcess
from tests.support.processes.tenant import TenantProcess
from tests.support.users import ChatUser, new_user
from tests.support.ws_client import ChatClient

NOBODY, PARTICIPANT, STRANGER, FORMER = "nobody", "participant", "stranger", "former participant"
EVERYONE = (NOBODY, PARTICIPANT, STRANGER, FORMER)
REFUSAL = {"code": "FORBIDDEN", "message": "You do not take part in this conversation."}


@dataclass(frozen=True)
class Row:
    """What a frame says, and what its sender hears, by who that is: frames in any order, errors by their code."""

    nobody: list[str]
    participant: list[str]
    outsider: list[str]
    payload: dict[str, Any] = field(default_factory=dict)
    is_about_a_conversation: bool = True

    def expected(self, who: str) -> list[str]:
        return {NOBODY: self.nobody, PARTICIPANT: self.participant}.get(who, self.outsider)


UNKNOWN, OUTSIDE = ["UNAUTHORIZED"], ["FORBIDDEN"]
MATRIX = {
    # It says who is calling; the conversation it names is only looked at, and opens to nobody by it.
    "auth": Row(["ready"], ["ready"], ["FORBIDDEN", "ready"], {"v": 2}),
    "message": Row(UNKNOWN, ["ack", "message"], OUTSIDE, {"content": "Hello"}),
    "sendMessage": Row(UNKNOWN, ["ack", "message"], OUTSIDE, {"content": "Hello"}),
    "typing": Row(UNKNOWN, ["typing"], OUTSIDE),
    "read": Row(UNKNOWN, ["read"], OUTSIDE),
    "sync": Row(UNKNOWN, ["sync"], OUTSIDE, {"after_seq": 0}),
    "ping": Row(["pong"], ["pong"], ["pong"], is_about_a_conversation=False),
}
ABOUT_ONE = [kind for kind, row in MATRIX.items() if row.is_about_a_conversation]


@pytest.fixture(scope="module")
def database_url(database_url_factory: Callable[[], str]) -> str:
    return database_url_factory()


@pytest.fixture(scope="module")
def service(database_url: str, tenant: TenantProcess) -> Iterator[ServiceProcess]:
    """Who may do what does not depend on the bus. Nothing unexpected happens."""
    environment = {"DATABASE_URL": database_url, **tenant.env(), **GENEROUS_CHAT}
    with ServiceProcess(environment) as running:
        yield running
        assert "unexpected_error" not in running.log()
        assert "Traceback" not in running.log()


@pytest.fixture
def sql(cluster: PostgresCluster, database_url: str) -> Callable[[str], str]:
    """Runs a statement behind the service's back."""
    return lambda statement: cluster.psql(statement, database_url.split("/")[3].partition("?")[0])


class Nobody(ChatClient):
    """A socket that has not said whose it is."""

    def __init__(self, member: ChatUser) -> None:
        self.member = member
        self.ws = connect(f"ws://127.0.0.1:{member.service.port}/ws", close_timeout=1, proxy=None).__enter__()


def say(client: ChatClient, kind: str, conversation_id: str) -> None:
    row = MATRIX[kind]
    token = {"token": client.member.token} if kind == "auth" else {}
    about = {"conversation_id": conversation_id} if row.is_about_a_conversation else {}
    client.say(kind, **row.payload, **token, **about)


def names(frames: list[dict[str, Any]]) -> list[str]:
    return sorted(each["payload"]["code"] if each["type"] == "error" else each["type"] for each in frames)


def test_every_type_of_frame_is_in_the_matrix() -> None:
    assert MATRIX.keys() == _HANDLERS.keys()
    payloads = {it for it in vars(schemas).values() if isinstance(it, type) and it.__name__.endswith("Payload")}
    assert payloads == {type(schema) for schema, _ in _HANDLERS.values()}
    assert all(issubclass(payload, Body) for payload in payloads), "a Body refuses fields that it does not know"


@pytest.mark.attack("frames")
@pytest.mark.parametrize("who", EVERYONE)
@pytest.mark.parametrize("kind", MATRIX)
def test_a_frame_is_answered_by_who_sends_it(
    ada: ChatUser, ben: ChatUser, stranger: ChatUser, talk: str, sql: Callable[[str], str], kind: str, who: str
) -> None:
    sender = {STRANGER: stranger, FORMER: ben}.get(who, ada)
    expected = MATRIX[kind].expected(who)
    ada.send(talk, "Something to read")
    with (Nobody if who == NOBODY else ChatClient)(sender) as client, ChatClient(ada) as listening:
        if who == FORMER:
            sql(f"DELETE FROM conversation_participants WHERE conversation_id = '{talk}' AND user_id = '{ben.id}'")  # noqa: S608
        say(client, kind, talk)
        heard = [client.hear() for _ in expected]  # some come by way of the bus, which cannot be waited for otherwise
        assert names(heard) == expected
        assert client.all_until_pong() == []
        if who != PARTICIPANT:
            assert listening.all_until_pong() == []
    if who != PARTICIPANT:
        assert [message["content"] for message in ada.messages(talk)] == ["Something to read"]


@pytest.mark.attack("frames")
@pytest.mark.parametrize("kind", ABOUT_ONE)
def test_who_takes_no_part_learns_not_which_conversations_there_are(
    ada: ChatUser, stranger: ChatUser, talk: str, kind: str
) -> None:
    ada.send(talk, "A secret")
    errors = []
    with ChatClient(stranger) as client:
        for conversation_id in (talk, str(uuid4())):
            say(client, kind, conversation_id)
            errors += [each["payload"] for each in client.all_until_pong() if each["type"] == "error"]
    assert errors == [REFUSAL, REFUSAL]


@dataclass(frozen=True)
class LastWords:
    """What a deleted user heard in answer to a frame, on a socket that had been open, and how the socket ended."""

    heard: list[str]
    close_code: int
    stored: list[dict[str, Any]]


@pytest.fixture(scope="module")
def last_words(
    service: ServiceProcess, tenant: TenantProcess, database_url: str, cluster: PostgresCluster
) -> dict[str, LastWords]:
    """Of one who was deleted while a socket for each frame was open."""
    ada, ben = new_user(service, tenant), new_user(service, tenant)
    talk = ada.begin(ben)
    clients = {kind: ChatClient(ben) for kind in MATRIX}
    cluster.psql(f"DELETE FROM users WHERE id = '{ben.id}'", database_url.split("/")[3].partition("?")[0])  # noqa: S608
    for kind, client in clients.items():
        say(client, kind, talk)
    ends = {kind: to_the_end(client) for kind, client in clients.items()}
    return {kind: LastWords(heard, code, ada.messages(talk)) for kind, (heard, code) in ends.items()}


def to_the_end(client: ChatClient) -> tuple[list[str], int]:
    frames: list[dict[str, Any]] = []
    try:
        while True:
            frames.append(client.hear())
    except ConnectionClosed as closed:
        return names(frames), closed.rcvd.code if closed.rcvd else 1006


@pytest.mark.attack("frames")
@pytest.mark.parametrize("kind", MATRIX)
def test_a_deleted_user_does_nothing_more_and_is_let_go(last_words: dict[str, LastWords], kind: str) -> None:
    said = last_words[kind]
    refusal = {"auth": UNKNOWN, "ping": ["pong"]}.get(kind, OUTSIDE)
    assert said.heard in (refusal, []), "it may have been let go before"
    assert said.close_code in ({4500, 4503} if kind == "auth" else {4503})
    assert said.stored == []

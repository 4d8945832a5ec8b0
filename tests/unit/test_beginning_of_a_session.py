"""Events that arrive while a socket starts: between its `ready` frame, its replay and live delivery.

The interval is too short to be met from outside, so the log is a fake that lets an event happen during a read.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import gevent
import orjson
import pytest
from sqlalchemy.exc import OperationalError

from app.auth.identity import Authenticated
from app.auth.principal import Identity
from app.messages import delivery, handlers, service
from app.messages.delivery import Delivery
from app.messages.runtime import ChatRuntime
from app.messages.session import ChatSession
from app.messages.values import ConversationHead, MessageBatch, MessageList, MessagePage, MessageView
from app.models import Role
from app.realtime.bus import Event
from app.realtime.close_codes import CloseCode
from app.realtime.hub import Hub
from tests.unit.test_connection import LIMITS

TALK = uuid4()
ADA = Identity(
    user_id=uuid4(),
    email=None,
    email_verified=False,
    role=Role.RENTER,
    username="ada",
    full_name=None,
    avatar_url=None,
)


class Recorder:
    """A fake connection that keeps the frames."""

    def __init__(self) -> None:
        self.opened_at = self.received_at = time.monotonic()
        self.is_closing = self.is_lagging = False
        self.on_room: Callable[[], None] = lambda: None
        self.close_code: CloseCode | None = None
        self.frames: list[dict[str, Any]] = []

    def send(self, text: str, *, droppable: bool = False) -> None:
        self.frames.append(orjson.loads(text))

    def close(self, code: CloseCode, _reason: str) -> None:
        self.is_closing, self.close_code = True, code

    def wait_for_room(self) -> None:
        """There is room."""

    def seqs(self) -> list[int]:
        """The numbers of all messages, however they came."""
        found: list[int] = []
        for frame in self.frames:
            if frame["type"] == "message":
                found.append(frame["payload"]["seq"])
            if frame["type"] == "sync":
                found += [message["seq"] for message in frame["payload"]["messages"]]
        return found


class Log:
    """A fake log of `last_seq` messages, which calls `meanwhile` once at its next read."""

    def __init__(self, last_seq: int) -> None:
        self.last_seq = last_seq
        self.meanwhile: Callable[[], None] = lambda: None

    def heads(self, _user_id: UUID, *, limit: int) -> list[ConversationHead]:
        heads = [ConversationHead(id=TALK, last_seq=self.last_seq, last_read_seq=0, unread=0)]
        self._happen()
        return heads

    def list_messages(self, _conversation_id: UUID, _user_id: UUID, page: MessagePage) -> MessageList:
        last = self.last_seq
        found = [message(seq) for seq in range(page.after_seq + 1, last + 1)][: page.limit]
        self._happen()
        return MessageList(messages=found if page.oldest_first else found[::-1], last_seq=last)

    def batches(self, after: Mapping[UUID, int], *, limit: int) -> dict[UUID, MessageBatch]:
        found = [message(seq) for seq in range(after[TALK] + 1, self.last_seq + 1)][:limit]
        batch = MessageBatch(participant_ids=[ADA.user_id], last_seq=self.last_seq, messages=found)
        self._happen()
        return {TALK: batch}

    def _happen(self) -> None:
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()


def message(seq: int) -> MessageView:
    sender = {"sender_id": None, "sender_name": None, "client_msg_id": None}
    return MessageView(id=uuid4(), conversation_id=TALK, content="x", created_at=datetime.now(UTC), seq=seq, **sender)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    log = Log(last_seq=3)
    for name in ("heads", "list_messages", "batches"):
        monkeypatch.setattr(service, name, getattr(log, name))
    return log


@pytest.fixture
def runtime() -> Iterator[ChatRuntime]:
    hub: Hub[Any] = Hub(LIMITS)
    bus: Any = SimpleNamespace(channel=None)
    runtime = ChatRuntime(hub=hub, bus=bus, delivery=Delivery(hub, longest_transaction=timedelta(0)))
    delivering = gevent.spawn(runtime.delivery.deliver_forever)
    yield runtime
    delivering.kill()


@pytest.fixture
def another_message(log: Log, runtime: ChatRuntime) -> Callable[[], None]:
    """Somebody sends a message, and the bus announces it, at once."""

    def send() -> None:
        log.last_seq += 1
        runtime.delivery.on_event(
            Event(kind="message", conversation_id=TALK, to=(ADA.user_id,), data={"seq": log.last_seq})
        )
        gevent.sleep(0)  # the delivery may look at it, too

    return send


def begun(runtime: ChatRuntime, cursors: dict[UUID, int]) -> Recorder:
    recorder = Recorder()
    connection: Any = recorder
    session = ChatSession(connection, runtime, LIMITS, connection_id="one", version=1)
    handlers.accept(session, Authenticated(identity=ADA, expires_at=2e9), is_v2=True, cursors=cursors)
    gevent.idle()
    return recorder


def test_a_message_that_comes_while_it_learns_where_it_stands_is_delivered_live(
    log: Log, runtime: ChatRuntime, another_message: Callable[[], None]
) -> None:
    log.meanwhile = another_message
    recorder = begun(runtime, {})
    assert recorder.frames[0]["type"] == "ready"
    assert recorder.frames[0]["payload"]["conversations"][0]["last_seq"] == 3
    assert recorder.seqs() == [4]


@pytest.mark.parametrize("cursor", [0, 1, 3])
def test_a_message_that_comes_in_the_midst_of_a_replay_follows_it(
    log: Log, runtime: ChatRuntime, another_message: Callable[[], None], cursor: int
) -> None:
    def in_the_midst() -> None:
        log.meanwhile = another_message
        another_message()

    log.meanwhile = in_the_midst
    assert begun(runtime, {TALK: cursor}).seqs() == list(range(cursor + 1, log.last_seq + 1))
    assert log.last_seq == 5 if cursor < 3 else 4


def test_nothing_comes_before_ready(log: Log, runtime: ChatRuntime) -> None:
    def somebody_reads() -> None:
        runtime.delivery.on_event(
            Event(kind="read", conversation_id=TALK, to=(ADA.user_id,), data={"last_read_seq": 3})
        )

    log.meanwhile = somebody_reads
    assert [frame["type"] for frame in begun(runtime, {}).frames] == ["ready"]


@pytest.mark.parametrize("of", ["heads", "batches"])
def test_a_beginning_that_fails_ends_the_socket_for_it_does_not_know_where_it_stands(
    monkeypatch: pytest.MonkeyPatch, log: Log, runtime: ChatRuntime, of: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OperationalError("", {}, Exception("the database is away"))

    monkeypatch.setattr(service, of, fail)
    recorder = begun(runtime, {TALK: 1})
    assert recorder.frames[-1]["payload"]["code"] == "UNAVAILABLE"
    assert recorder.close_code == CloseCode.TRY_AGAIN_LATER


def test_a_hole_in_the_log_ends_the_socket_and_is_not_looked_into_again_and_again(
    monkeypatch: pytest.MonkeyPatch, log: Log, runtime: ChatRuntime
) -> None:
    reads = []

    def with_a_hole(after: Mapping[UUID, int], *, limit: int) -> Any:
        reads.append(after)
        return {TALK: MessageBatch(participant_ids=[ADA.user_id], last_seq=6, messages=[message(5), message(6)])}

    recorder = begun(runtime, {})
    monkeypatch.setattr(service, "batches", with_a_hole)
    runtime.delivery.on_event(Event(kind="message", conversation_id=TALK, to=(ADA.user_id,), data={"seq": 6}))
    gevent.idle()
    assert recorder.seqs() == []
    assert recorder.close_code == CloseCode.STATE_LOST
    assert len(reads) == 1


def test_a_socket_that_lags_is_fed_as_it_reads(log: Log, runtime: ChatRuntime) -> None:
    recorder = begun(runtime, {})
    recorder.is_lagging = True
    log.last_seq = 6
    runtime.delivery.on_event(Event(kind="message", conversation_id=TALK, to=(ADA.user_id,), data={"seq": 6}))
    gevent.idle()
    assert recorder.seqs() == []
    recorder.is_lagging = False
    recorder.on_room()
    gevent.idle()
    assert recorder.seqs() == [4, 5, 6]


def test_a_bus_that_reconnects_reads_the_log_at_once(
    monkeypatch: pytest.MonkeyPatch, log: Log, runtime: ChatRuntime
) -> None:
    """The service reads the log every few seconds in any case, so that only a longer interval shows this."""
    monkeypatch.setattr(delivery, "RECONCILE_SECONDS", 3600)

    def changes(*_: Any, **__: Any) -> Any:
        change = SimpleNamespace(conversation_id=TALK, user_id=ADA.user_id, last_seq=log.last_seq, seq_before=3)
        return datetime.now(UTC), [change], set()

    monkeypatch.setattr(service, "changes", changes)
    recorder = begun(runtime, {})
    reconciling = gevent.spawn(runtime.delivery.reconcile_forever)
    log.last_seq = 4  # its wake-up was lost
    gevent.idle()
    assert recorder.seqs() == []
    runtime.delivery.reconcile_now()
    gevent.idle()
    assert recorder.seqs() == [4]
    reconciling.kill()

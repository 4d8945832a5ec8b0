"""Events as they go over the bus; `tests/service/test_conversations.py` shows that SQL writes them the same way."""

import json
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.realtime.bus import Event, deliver_payload

TALK, ADA, BEN = UUID(int=1), UUID(int=2), UUID(int=3)
EVENTS = [
    Event(kind="message", conversation_id=TALK, to=(ADA, BEN), data={"seq": 7}),
    Event(kind="read", conversation_id=TALK, to=(ADA,), data={"last_read_seq": 7, "read_at": "2026-01-01"}),
    Event(kind="typing", conversation_id=UUID(int=0), to=(), data={}),
]
GOOD = json.loads(EVENTS[0].encode())
JUNK = [
    *("", " ", "x", "null", "5", '"message"', "[]", "{}", "{", '{"kind":"message"', "\x00", "NaN"),
    *(json.dumps({name: value for name, value in GOOD.items() if name != missing}) for missing in GOOD),
    *(json.dumps(GOOD | {"conversation_id": value}) for value in (None, 5, "", "x", [], {})),
    *(json.dumps(GOOD | {"to": value}) for value in (None, 5, "x", [None], [5], ["x"], [[]])),
    *(json.dumps(GOOD | {"data": value}) for value in (None, 5, "x", ["x"])),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.kind)
def test_what_was_encoded_decodes_to_the_same(event: Event) -> None:
    assert Event.decode(event.encode()) == event
    assert Event.decode(event.encode().encode()) == event


def test_ids_in_its_data_travel_as_text() -> None:
    user_id = uuid4()
    event = Event(kind="typing", conversation_id=uuid4(), to=(), data={"user_id": user_id})
    assert Event.decode(event.encode()).data == {"user_id": str(user_id)}


def test_what_a_newer_worker_adds_is_passed_over() -> None:
    assert Event.decode(json.dumps(GOOD | {"version": 2})) == EVENTS[0]


@pytest.mark.parametrize("payload", [*JUNK, b"\xff", b"\x80abc"], ids=lambda payload: ascii(payload)[-60:])
def test_what_is_no_event_is_a_value_error_and_is_not_delivered(payload: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        Event.decode(payload)
    delivered: list[Any] = []
    deliver_payload(payload, delivered.append)
    assert delivered == []


@pytest.mark.parametrize("seq", [None, "7", 7.5, [], {}])
def test_an_event_of_a_message_without_a_number_ends_nobody_who_listens(seq: object) -> None:
    delivered = []

    def deliver(event: Event) -> None:
        delivered.append(event.seq)

    deliver_payload(json.dumps(GOOD | {"data": {"seq": seq}}), deliver)
    deliver_payload(EVENTS[0].encode(), deliver)
    assert delivered == [7]


def test_a_listener_outlives_what_nobody_expected() -> None:
    def deliver(_: Event) -> None:
        raise RuntimeError("a fault of ours")

    deliver_payload(EVENTS[0].encode(), deliver)

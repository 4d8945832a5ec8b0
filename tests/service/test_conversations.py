"""What conversations show only when requests are really parallel, over two workers, and really committed."""

import json
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from itertools import pairwise
from typing import Any
from uuid import UUID

import psycopg2
import pytest

from app.realtime.bus import CHANNEL, Event
from tests.support.databases import query
from tests.support.users import ChatUser
from tests.support.waiting import in_parallel, statuses, until

AT_ONCE = 20
MESSAGES = 200
BROKEN = "what the database cannot keep"

# Stands for whatever can go wrong behind the number that a message was given.
BREAK_SOME = f"""
CREATE FUNCTION break_some() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.content = '{BROKEN}' THEN RAISE EXCEPTION 'played by a test'; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER break_some AFTER INSERT ON messages FOR EACH ROW EXECUTE FUNCTION break_some()"""


@pytest.fixture(scope="module")
def database_url(database_url_factory: Callable[[], str]) -> str:
    url = database_url_factory()
    query(url, BREAK_SOME)
    return url


@pytest.fixture
def people(newcomer: Callable[..., ChatUser]) -> list[ChatUser]:
    return [newcomer() for _ in range(4)]


@pytest.fixture
def talk(people: list[ChatUser]) -> str:
    """The id of a conversation of all four."""
    return people[0].begin(*people)


def everything(reader: ChatUser, talk: str) -> list[dict[str, Any]]:
    """All messages of a conversation, oldest first."""
    found: list[dict[str, Any]] = []
    while more := reader.messages(talk, after_seq=len(found), limit=100):
        found += more
    return found


def test_one_conversation_comes_of_many_beginnings_at_once(people: list[ChatUser]) -> None:
    ada, ben, *_ = people

    def begin(number: int) -> Any:
        me, you = (ada, ben) if number % 2 else (ben, ada)
        return me.post("", participant_ids=[you.id, me.id] if number % 3 else [you.id])

    answers = in_parallel(begin)

    assert statuses(answers) == {201: 1, 200: AT_ONCE - 1}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert {len(answer.json()["participants"]) for answer in answers} == {2}
    assert len(ada.conversations()) == len(ben.conversations()) == 1


def test_messages_of_many_at_once_are_numbered_without_gaps_in_the_order_of_their_times(
    people: list[ChatUser], talk: str
) -> None:
    answers = in_parallel(
        lambda number: people[number % 4].post(f"/{talk}/messages", content=str(number), client_msg_id=str(number)),
        MESSAGES,
    )

    assert statuses(answers) == {201: MESSAGES}
    kept = everything(people[0], talk)
    assert [message["seq"] for message in kept] == list(range(1, MESSAGES + 1))
    assert sorted((answer.json() for answer in answers), key=lambda message: int(message["seq"])) == kept
    assert sorted(int(message["content"]) for message in kept) == list(range(MESSAGES))
    times = [datetime.fromisoformat(message["created_at"]) for message in kept]
    assert all(earlier < later for earlier, later in pairwise(times))
    shown = people[1].conversation(talk)
    assert (shown["last_seq"], shown["last_message"]) == (MESSAGES, kept[-1])
    assert shown["updated_at"] == kept[-1]["created_at"]


def test_one_message_comes_of_many_sendings_at_once(people: list[ChatUser], talk: str) -> None:
    def send(number: int) -> Any:
        return people[0].post(f"/{talk}/messages", content="Hello", client_msg_id=str(number // AT_ONCE))

    answers = in_parallel(send, MESSAGES)

    different = MESSAGES // AT_ONCE
    assert statuses(answers) == {201: different, 200: MESSAGES - different}
    kept = everything(people[0], talk)
    assert [message["seq"] for message in kept] == list(range(1, different + 1))
    by_client_msg_id = {message["client_msg_id"]: message for message in kept}
    assert [answer.json() for answer in answers] == [by_client_msg_id[str(n // AT_ONCE)] for n in range(MESSAGES)]
    assert people[0].conversation(talk)["last_seq"] == different


def test_messages_and_conversation_change_together_or_not_at_all(people: list[ChatUser], talk: str) -> None:
    """Among many at once, some break after they were given their number, and some are sent twice."""

    def send(number: int) -> Any:
        sender, kind = people[number // 4 % 3], number % 4
        body = {"content": BROKEN if kind == 0 else "kept", "client_msg_id": f"{number // 4}" if kind > 1 else None}
        return sender.post(f"/{talk}/messages", **body)

    answers = in_parallel(send, MESSAGES)

    quarter = MESSAGES // 4
    assert statuses(answers) == {500: quarter, 201: 2 * quarter, 200: quarter}
    kept = everything(people[0], talk)
    assert [message["seq"] for message in kept] == list(range(1, 2 * quarter + 1))
    assert {message["content"] for message in kept} == {"kept"}
    shown = people[0].conversation(talk)
    assert (shown["last_seq"], shown["updated_at"]) == (len(kept), kept[-1]["created_at"])


def test_a_message_wakes_the_workers_as_an_event_when_it_is_kept_and_not_otherwise(
    database_url: str, people: list[ChatUser], talk: str
) -> None:
    with closing(psycopg2.connect(database_url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(f"LISTEN {CHANNEL}")
        for content, client_msg_id in (("First", "1"), ("First", "1"), (BROKEN, "2"), ("", "3"), ("Second", "2")):
            people[0].post(f"/{talk}/messages", content=content, client_msg_id=client_msg_id)
        heard = connection.notifies

        def is_heard() -> bool:
            cursor.execute("SELECT")
            return len(heard) >= 2

        until(is_heard)

    events = [Event.decode(notification.payload) for notification in heard]
    assert [event.data for event in events] == [{"seq": 1}, {"seq": 2}]
    for event, notification in zip(events, heard, strict=True):
        assert (event.kind, event.conversation_id) == ("message", UUID(talk))
        assert sorted(event.to) == sorted(UUID(one.id) for one in people)
        assert json.loads(event.encode()) == json.loads(notification.payload)


def test_marks_set_by_many_at_once_stay_at_the_furthest(people: list[ChatUser], talk: str) -> None:
    for number in range(AT_ONCE):
        people[0].send(talk, str(number))
    answers = in_parallel(lambda number: people[1].post(f"/{talk}/read", seq=(number * 7) % AT_ONCE + 1))
    assert statuses(answers) == {204: AT_ONCE}
    marks = {one["user_id"]: one["last_read_seq"] for one in people[0].conversation(talk)["participants"]}
    assert marks == {one.id: AT_ONCE if one is people[1] else 0 for one in people}

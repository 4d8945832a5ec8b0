"""The list of one's conversations: its order, its pages, and cursors that cannot be followed."""

import base64
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from app.common import paging
from tests.support.assertions import refused_fields
from tests.support.rows import add_conversation, add_user
from tests.support.users import ChatUser


@pytest.fixture
def talks(ada: ChatUser) -> list[str]:
    """Seven of Ada's, all of one time, as this test is one transaction: the order among them is that of ids."""
    return sorted(str(add_conversation(ada.uuid, add_user())) for _ in range(7))


def test_the_latest_activity_comes_first_and_reading_is_none(ada: ChatUser, talks: list[str]) -> None:
    for talk in (talks[5], talks[2], talks[5]):
        ada.send(talk)
    rest = [talk for talk in talks if talk not in (talks[5], talks[2])]
    assert ada.conversations() == [talks[5], talks[2], *rest]
    for talk in (talks[2], talks[0]):
        ada.read(talk)
    assert ada.conversations() == [talks[5], talks[2], *rest]


def test_a_refused_or_repeated_message_is_no_activity(ada: ChatUser, talks: list[str]) -> None:
    ada.send(talks[3], client_msg_id="1"), ada.send(talks[4])
    ada.send(talks[3], client_msg_id="1"), ada.post(f"/{talks[3]}/messages", content="")
    assert ada.conversations()[:2] == [talks[4], talks[3]]


def test_it_holds_ones_own_and_no_others(ada: ChatUser, ben: ChatUser, talks: list[str]) -> None:
    assert ben.conversations() == []
    shared = ben.begin(ada)
    assert ben.conversations() == [shared]
    assert set(ada.conversations()) == {*talks, shared}


@pytest.mark.parametrize("limit", [1, 2, 3, 6, 7, 8, 100])
def test_the_links_lead_through_all_without_repeats_or_gaps(ada: ChatUser, talks: list[str], limit: int) -> None:
    ada.send(talks[5]), ada.send(talks[2])
    pages = ada.walk(limit=limit)
    assert [one["id"] for page in pages for one in page] == ada.conversations()
    assert len(pages) == -(-len(talks) // limit)


def test_what_stands_still_is_met_once_while_others_get_messages(ada: ChatUser, talks: list[str]) -> None:
    first = ada.get(limit=3)
    for talk in talks[2:5]:
        ada.send(talk)
    behind = ada.client.get(first.headers["Link"].partition(">")[0][1:], headers=ada.headers)
    seen = [one["id"] for answer in (first, behind) for one in answer.json or []]
    assert len(seen) == len(set(seen))
    assert set(seen) == set(talks) - set(talks[3:5])


def test_fifty_are_shown_where_no_limit_is_given(ada: ChatUser) -> None:
    for _ in range(51):
        add_conversation(ada.uuid, add_user())
    assert [len(page) for page in ada.walk()] == [50, 1]


@pytest.mark.parametrize("limit", ["0", "101", "-1", "x", "1.5", "1_0", "٣", "9" * 30])
def test_a_limit_is_from_1_to_100(ada: ChatUser, limit: str) -> None:
    assert refused_fields(ada.get(limit=limit)) == {"limit"}


def test_a_cursor_that_was_tampered_with_is_refused(ada: ChatUser, talks: list[str]) -> None:
    cursor = cursor_of(ada)
    changed = [cursor[:at] + ("A" if cursor[at] != "A" else "B") + cursor[at + 1 :] for at in range(len(cursor))]
    for wrong in (*changed, cursor[:-1], cursor[1:], cursor + "A", "x", "é", "\x00", "A" * 513):
        assert refused_fields(ada.get(limit=2, cursor=wrong)) == {"cursor"}


def test_another_users_cursor_is_refused(ada: ChatUser, ben: ChatUser, talks: list[str]) -> None:
    assert refused_fields(ben.get(limit=2, cursor=cursor_of(ada))) == {"cursor"}


@pytest.mark.parametrize("key", [None, "", "x", "2026", "2026-01-01", "0001-01-01T00:00:00+23:59", "NaN",
                                 "0001-01-01T00:00:00+00:00", "9999-12-31T23:59:59.999999Z"])  # fmt: skip
@pytest.mark.parametrize("identifier", ["", "x", str(UUID(int=0))])
def test_a_forged_cursor_does_no_harm(ada: ChatUser, key: str | None, identifier: str) -> None:
    """Its tag is right, for that is no secret: it leads to some place in one's own list, or is refused."""
    position = paging.Position(page=2, key=key, id=identifier)
    cursor = paging.encode_cursor(position, of_list=("conversations", ada.uuid))
    answer = ada.get(cursor=cursor)
    if answer.status_code != 200:
        assert refused_fields(answer) == {"cursor"}


def cursor_of(writer: ChatUser) -> str:
    link = str(writer.get(limit=2).headers["Link"])
    cursor = link.partition("cursor=")[2].partition("&")[0]
    assert base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    return cursor


def test_showing_and_listing_cost_one_statement_whatever_there_is(
    ada: ChatUser, counting_statements: Callable[[], Any]
) -> None:
    identification = 1
    for talks, people, messages in ((1, 2, 0), (30, 10, 20)):
        made = [
            add_conversation(ada.uuid, *(add_user() for _ in range(people - 1)), messages=messages)
            for _ in range(talks)
        ]
        with counting_statements() as showing:
            assert ada.get(f"/{made[0]}").status_code == 200
        with counting_statements() as listing:
            assert len(ada.conversations()) >= talks
        assert (len(showing), len(listing)) == (identification + 1, identification + 1)

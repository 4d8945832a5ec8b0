"""Conversations: one for the same people and listing, what each of its people sees of it, and that nobody else does."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from sqlalchemy import delete, update
from werkzeug.test import TestResponse

from app.db.session import transaction
from app.models import Conversation, ConversationParticipant
from tests.support import UNKNOWN_ID
from tests.support.assertions import assert_error, problems, refused_fields
from tests.support.rows import EPOCH, Person, add_equipment, add_user, count_rows
from tests.support.users import ChatUser, chat_user

MAX_PEOPLE = 20


def leave(writer: ChatUser, talk: str) -> None:
    """Remove a participant; no route does so."""
    theirs = ConversationParticipant.conversation_id == UUID(talk), ConversationParticipant.user_id == writer.uuid
    with transaction() as session:
        session.execute(delete(ConversationParticipant).where(*theirs))


class TestBeginning:
    def test_a_new_or_existing_conversation_is_where_location_says(self, ada: ChatUser, ben: ChatUser) -> None:
        for status in (201, 200):
            answer = ada.post(participant_ids=[ben.id])
            assert answer.status_code == status
            found = ada.client.get(answer.headers["Location"], headers=ada.headers)
            assert (found.status_code, found.json) == (200, answer.json)

    @pytest.mark.parametrize("about_a_listing", [False, True])
    def test_whoever_begins_it_and_however_they_are_named_it_is_the_same(
        self, ada: ChatUser, ben: ChatUser, owner: Person, about_a_listing: bool
    ) -> None:
        cleo = chat_user(ada.client, owner)
        equipment_id = add_equipment(owner.id) if about_a_listing else None
        everybody = [ada, ben, cleo]
        first = ada.begin(ben, cleo, equipment_id=equipment_id)
        for beginner in everybody:
            others = [one for one in everybody if one is not beginner]
            for named in (others, others[::-1], everybody, everybody[::-1], [*others, *others], [*everybody, beginner]):
                assert beginner.begin(*named, equipment_id=equipment_id) == first
        assert count_rows(Conversation) == 1

    def test_a_listing_alone_means_its_owner(self, ada: ChatUser, owner: Person) -> None:
        equipment_id = add_equipment(owner.id)
        answer = ada.post(equipment_id=str(equipment_id))
        assert answer.status_code == 201
        body = answer.json or {}
        assert body["equipment_id"] == str(equipment_id)
        assert {one["user_id"] for one in body["participants"]} == {ada.id, str(owner.id)}
        assert ada.begin(chat_user(ada.client, owner), equipment_id=equipment_id) == body["id"]
        assert ada.post(participant_ids=[], equipment_id=str(equipment_id)).json == body

    def test_another_listing_or_none_and_more_people_are_other_conversations(
        self, ada: ChatUser, ben: ChatUser, owner: Person
    ) -> None:
        cleo = chat_user(ada.client, owner)
        one, other = add_equipment(owner.id), add_equipment(owner.id)
        begun = [ada.begin(ben, equipment_id=listing) for listing in (None, one, other)]
        begun += [ada.begin(cleo), ada.begin(ben, cleo), ben.begin(cleo)]
        assert len(set(begun)) == len(begun) == count_rows(Conversation)

    def test_there_must_be_another_participant(self, ada: ChatUser, owner: Person) -> None:
        others: list[Any] = [{}, {"participant_ids": []}, {"participant_ids": [], "equipment_id": None}]
        answers = [ada.post(**body) for body in others]
        answers += [ada.post(participant_ids=named) for named in ([ada.id], [ada.id, ada.id])]
        answers.append(chat_user(ada.client, owner).post(equipment_id=str(add_equipment(owner.id))))
        assert [problems(answer) for answer in answers] == [[("participant_ids", "nobody_else")]] * 6

    def test_an_unknown_user_or_listing_is_named_and_nothing_is_begun(self, ada: ChatUser, ben: ChatUser) -> None:
        assert problems(ada.post(participant_ids=[ben.id, UNKNOWN_ID])) == [("participant_ids", "unknown_reference")]
        for others in ([], [ben.id]):
            assert problems(ada.post(participant_ids=others, equipment_id=UNKNOWN_ID)) == [
                ("equipment_id", "unknown_reference")
            ]
        assert count_rows(Conversation) == 0

    def test_at_most_twenty_people_take_part_the_caller_included(self, ada: ChatUser) -> None:
        others = [str(add_user()) for _ in range(MAX_PEOPLE)]
        assert problems(ada.post(participant_ids=others)) == [("participant_ids", "too_many")]
        assert refused_fields(ada.post(participant_ids=[*others, ada.id])) == {"participant_ids"}
        for named in (others[1:], [ada.id, *others[1:]]):
            answer = ada.post(participant_ids=named)
            assert answer.status_code in (200, 201)
            assert len((answer.json or {})["participants"]) == MAX_PEOPLE
        assert count_rows(Conversation) == 1

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            *(("participant_ids", value) for value in (None, "", "x", 5, {}, [None], [5], ["x"], [[]], ["\x00"])),
            *(("equipment_id", value) for value in ("", "x", 5, [], {}, True)),
        ],
    )
    def test_a_bad_field_is_refused_by_name(self, ada: ChatUser, ben: ChatUser, field: str, value: Any) -> None:
        assert refused_fields(ada.post(**{"participant_ids": [ben.id], field: value})) == {field}


class TestOne:
    def test_a_new_conversation_names_its_participants_and_its_listing(
        self, ada: ChatUser, ben: ChatUser, owner: Person
    ) -> None:
        equipment_id = add_equipment(owner.id)
        shown = ada.conversation(ada.begin(ben, equipment_id=equipment_id))
        expected = {"equipment_id": str(equipment_id), "last_message": None, "last_seq": 0, "unread_count": 0}
        assert expected.items() <= shown.items()
        unread = {"avatar_url": None, "last_read_at": None, "last_read_seq": 0}
        assert sorted(shown["participants"], key=lambda one: str(one["user_id"])) == [
            {"user_id": each.id, "username": each.username, **unread}
            for each in sorted((ada, ben), key=lambda each: each.id)
        ]

    def test_the_last_message_is_shown_as_the_list_of_messages_shows_it(
        self, ada: ChatUser, ben: ChatUser, talk: str
    ) -> None:
        for sender in (ada, ben):
            sent = sender.send(talk, client_msg_id="1")
            shown = ada.conversation(talk)
            assert shown["last_message"] == sent == ada.messages(talk)[0]
            assert (shown["last_seq"], shown["updated_at"]) == (sent["seq"], sent["created_at"])
            assert ada.get().json == [shown]

    def test_unread_is_what_others_sent_behind_the_mark(self, ada: ChatUser, ben: ChatUser, talk: str) -> None:
        for sender in (ben, ada, ben, ada, ada):
            sender.send(talk)
        assert (ada.conversation(talk)["unread_count"], ben.conversation(talk)["unread_count"]) == (2, 3)
        for seq, unread in ((1, 1), (2, 1), (3, 0), (5, 0)):
            ada.read(talk, seq=seq)
            assert ada.conversation(talk)["unread_count"] == (ada.get().json or [])[0]["unread_count"] == unread
        assert ben.conversation(talk)["unread_count"] == 3

    def test_everybody_sees_how_far_each_has_read_and_when(self, ada: ChatUser, ben: ChatUser, talk: str) -> None:
        ada.send(talk), ada.send(talk)
        ben.read(talk, seq=1)
        marks = {one["user_id"]: one for one in ada.conversation(talk)["participants"]}
        assert (marks[ada.id]["last_read_seq"], marks[ada.id]["last_read_at"]) == (0, None)
        assert marks[ben.id]["last_read_seq"] == 1
        read_at = datetime.fromisoformat(marks[ben.id]["last_read_at"])
        assert abs(datetime.now(UTC) - read_at) < timedelta(minutes=1)

    @pytest.mark.parametrize("microseconds", [0, 1, 700_000, 123_450])
    def test_the_time_of_reading_is_exact_and_in_utc(self, ada: ChatUser, talk: str, microseconds: int) -> None:
        read_at = EPOCH + timedelta(microseconds=microseconds)
        with transaction() as session:
            session.execute(update(ConversationParticipant).values(last_read_at=read_at))
        shown = {one["last_read_at"] for one in ada.conversation(talk)["participants"]}
        assert shown == {read_at.isoformat()}

    def test_a_deleted_listing_leaves_the_conversation_without_one(
        self, ada: ChatUser, client: FlaskClient, owner: Person
    ) -> None:
        equipment_id = add_equipment(owner.id)
        talk = ada.begin(equipment_id=equipment_id)
        ada.send(talk)
        assert client.delete(f"/api/v1/equipment/{equipment_id}", headers=owner.headers).status_code == 204
        assert ada.conversation(talk)["equipment_id"] is None
        assert ada.send(talk)["seq"] == 2


REQUESTS: list[Callable[[ChatUser, str], TestResponse]] = [
    lambda writer, talk: writer.get(f"/{talk}"),
    lambda writer, talk: writer.get(f"/{talk}/messages"),
    lambda writer, talk: writer.post(f"/{talk}/messages", content="Hello", client_msg_id="1"),
    lambda writer, talk: writer.post(f"/{talk}/read"),
]


class TestParticipantsOnly:
    def test_an_unknown_conversation_is_not_found(self, ada: ChatUser) -> None:
        for call in REQUESTS:
            for talk in (UNKNOWN_ID, "not-a-uuid"):
                assert_error(call(ada, talk), 404, "NOT_FOUND")

    def test_others_are_refused_and_change_nothing(
        self, ada: ChatUser, ben: ChatUser, stranger: ChatUser, admin: Person, talk: str
    ) -> None:
        ben.send(talk, client_msg_id="1")
        leave(ben, talk)
        before = ada.conversation(talk)
        for call in REQUESTS:
            for other in (stranger, ben, chat_user(ada.client, admin)):
                assert_error(call(other, talk), 403, "FORBIDDEN")
        assert ada.conversation(talk) == before

    def test_a_removed_participant_cannot_rejoin_by_beginning_it(self, ada: ChatUser, ben: ChatUser, talk: str) -> None:
        leave(ben, talk)
        assert ben.conversations() == []
        assert_error(ben.post(participant_ids=[ada.id]), 403, "FORBIDDEN")
        assert [one["user_id"] for one in ada.conversation(talk)["participants"]] == [ada.id]


def test_beginning_costs_the_same_statements_for_any_number_of_people(
    ada: ChatUser, counting_statements: Callable[[], Any]
) -> None:
    costs = []
    for people in (2, MAX_PEOPLE):
        others = [str(add_user()) for _ in range(people - 1)]
        for _ in ("new", "existing"):
            with counting_statements() as counted:
                assert ada.post(participant_ids=others).status_code in (200, 201)
            costs.append(len(counted))
    assert costs == [4, 4, 4, 4]  # the caller, the conversation, its people or the one that exists, what is shown

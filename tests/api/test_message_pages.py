"""Reading: messages in pages from either end, and how far each has read."""

from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import update

from app.db.session import transaction
from app.messages.values import MAX_SEQ
from app.models import ConversationParticipant
from tests.support.assertions import refused_fields
from tests.support.rows import EPOCH, add_conversation
from tests.support.users import ChatUser


class TestPages:
    COUNT = 60

    @pytest.fixture
    def long(self, ada: ChatUser, ben: ChatUser) -> str:
        return str(add_conversation(ada.uuid, ben.uuid, messages=self.COUNT))

    def test_an_empty_conversation_has_none(self, ada: ChatUser, talk: str) -> None:
        for query in ({}, {"after_seq": 0}, {"before_seq": 1}, {"offset": 0}):
            assert ada.walk(f"/{talk}/messages", **query) == [[]]

    @pytest.mark.parametrize(
        ("query", "seqs"),
        [
            ({}, list(range(60, 10, -1))),
            ({"limit": 1}, [60]),
            ({"limit": 100}, list(range(60, 0, -1))),
            ({"offset": 0, "limit": 2}, [60, 59]),
            ({"offset": 58}, [2, 1]),
            ({"offset": 60}, []),
            ({"offset": MAX_SEQ}, []),
            ({"before_seq": 3}, [2, 1]),
            ({"before_seq": 61, "limit": 2}, [60, 59]),
            ({"before_seq": MAX_SEQ, "limit": 2}, [60, 59]),
            ({"before_seq": 1}, []),
            ({"after_seq": 0, "limit": 3}, [1, 2, 3]),
            ({"after_seq": 58}, [59, 60]),
            ({"after_seq": 60}, []),
            ({"after_seq": MAX_SEQ}, []),
            ({"limit": "", "before_seq": "null", "after_seq": "undefined", "offset": " "}, list(range(60, 10, -1))),
        ],
        ids=str,
    )
    def test_a_page_is_what_was_asked_for(
        self, ada: ChatUser, long: str, query: dict[str, Any], seqs: list[int]
    ) -> None:
        assert ada.seqs(long, **query) == seqs

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            *(("limit", value) for value in ("0", "101", "-1", "x", "1.5", "1_0", "+5", "٣", "9" * 30)),
            *(("offset", value) for value in ("-1", "x", "1.5", str(MAX_SEQ + 1), "9" * 18)),
            *(("before_seq", value) for value in ("0", "-1", "x", str(MAX_SEQ + 1), "9" * 18)),
            *(("after_seq", value) for value in ("-1", "x", "\x00", str(MAX_SEQ + 1), "9" * 18)),
        ],
    )
    def test_a_bad_value_is_refused_by_name(self, ada: ChatUser, talk: str, field: str, value: str) -> None:
        assert refused_fields(ada.get(f"/{talk}/messages", **{field: value})) == {field}

    @pytest.mark.parametrize("names", ["offset before_seq", "offset after_seq", "before_seq after_seq"])
    def test_two_ways_of_paging_at_once_are_refused(self, ada: ChatUser, talk: str, names: str) -> None:
        first, second = names.split()
        assert refused_fields(ada.get(f"/{talk}/messages", **{first: 1, second: 1})) == {second}
        assert refused_fields(ada.get(f"/{talk}/messages", offset=1, before_seq=1, after_seq=1)) == {"after_seq"}

    @pytest.mark.parametrize("limit", [7, 20, 59, 60, 61])
    @pytest.mark.parametrize(
        ("query", "seqs"),
        [
            ({}, range(60, 0, -1)),
            ({"offset": 5}, range(55, 0, -1)),
            ({"before_seq": 50}, range(49, 0, -1)),
            ({"after_seq": 0}, range(1, 61)),
            ({"after_seq": 40}, range(41, 61)),
        ],
        ids=str,
    )
    def test_the_links_lead_to_the_end_without_repeats_or_gaps(
        self, ada: ChatUser, long: str, query: dict[str, int], seqs: range, limit: int
    ) -> None:
        pages = ada.walk(f"/{long}/messages", limit=limit, **query)
        assert [message["seq"] for page in pages for message in page] == list(seqs)
        assert len(pages) == -(-len(seqs) // limit)

    def test_what_is_sent_meanwhile_moves_nothing_on_the_way_back(
        self, ada: ChatUser, ben: ChatUser, long: str
    ) -> None:
        first = ada.get(f"/{long}/messages", limit=10)
        for _ in range(7):
            ben.send(long)
        link = first.headers["Link"].partition(">")[0][1:]
        behind = ada.client.get(link, headers=ada.headers).json or []
        assert [message["seq"] for message in behind] == list(range(50, 40, -1))

    def test_what_is_sent_meanwhile_is_met_on_the_way_forward(self, ada: ChatUser, ben: ChatUser, long: str) -> None:
        assert "Link" not in ada.get(f"/{long}/messages", after_seq=55).headers
        ben.send(long)
        assert ada.seqs(long, after_seq=60) == [61]


class TestReading:
    @pytest.fixture(autouse=True)
    def sent(self, ada: ChatUser, talk: str) -> None:
        for _ in range(5):
            ada.send(talk)

    def mark(self, reader: ChatUser, talk: str) -> int:
        marks = {one["user_id"]: one["last_read_seq"] for one in reader.conversation(talk)["participants"]}
        return int(marks[reader.id])

    @pytest.mark.parametrize("to_the_end", [{}, {"seq": None}, {"seq": MAX_SEQ}])
    def test_the_mark_goes_forward_only_and_never_beyond_the_end(
        self, ben: ChatUser, talk: str, to_the_end: dict[str, Any]
    ) -> None:
        for body, mark in (({"seq": 0}, 0), ({"seq": 3}, 3), ({"seq": 1}, 3), (to_the_end, 5), ({"seq": 3}, 5)):
            ben.read(talk, **body)
            assert self.mark(ben, talk) == mark

    def test_an_absent_body_means_all(self, ben: ChatUser, talk: str) -> None:
        assert ben.call("POST", f"/conversations/{talk}/read").status_code == 204
        assert self.mark(ben, talk) == 5

    def test_it_is_ones_own_mark_and_one_conversations(self, ada: ChatUser, ben: ChatUser, talk: str) -> None:
        other = str(add_conversation(ben.uuid, ada.uuid, messages=2))
        ben.read(talk)
        assert (self.mark(ada, talk), self.mark(ben, other)) == (0, 0)

    def test_what_comes_later_is_unread_again(self, ada: ChatUser, ben: ChatUser, talk: str) -> None:
        ben.read(talk)
        ada.send(talk)
        assert (self.mark(ben, talk), ben.conversation(talk)["unread_count"]) == (5, 1)

    def test_looking_again_is_noted_even_where_there_is_nothing_new(self, ben: ChatUser, talk: str) -> None:
        ben.read(talk)
        with transaction() as session:
            session.execute(update(ConversationParticipant).values(last_read_at=EPOCH))
        ben.read(talk, seq=0)
        times = {one["user_id"]: one["last_read_at"] for one in ben.conversation(talk)["participants"]}
        assert datetime.fromisoformat(times[ben.id]) > EPOCH
        assert [at for user_id, at in times.items() if user_id != ben.id] == [EPOCH.isoformat()]

    @pytest.mark.parametrize("seq", [-1, "1", "", 1.0, 1.5, True, [], {}, MAX_SEQ + 1, 2**63])
    def test_a_bad_number_is_refused_by_name(self, ben: ChatUser, talk: str, seq: Any) -> None:
        assert refused_fields(ben.post(f"/{talk}/read", seq=seq)) == {"seq"}
        assert self.mark(ben, talk) == 0

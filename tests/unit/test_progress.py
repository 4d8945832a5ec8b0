"""The last message of each conversation that a socket was sent: what no test of a whole socket can time."""

from uuid import UUID, uuid4

import pytest

from app.messages.progress import FOLLOWED_CONVERSATIONS, Progress
from app.messages.values import ConversationHead

KNOWN, OTHER, NEW = UUID(int=1), UUID(int=2), UUID(int=3)


def head(conversation_id: UUID, last_seq: int) -> ConversationHead:
    return ConversationHead(id=conversation_id, last_seq=last_seq, last_read_seq=0, unread=0)


@pytest.fixture
def beginning() -> Progress:
    """Of a socket that does not know yet where its conversations stand."""
    return Progress()


@pytest.fixture
def progress(beginning: Progress) -> Progress:
    """Of a socket that began when one conversation was at 5 and another at 2."""
    beginning.begin([head(KNOWN, 5), head(OTHER, 2)])
    assert beginning.release_all() == {}
    return beginning


@pytest.fixture
def overfull() -> Progress:
    """Of a socket whose user has more conversations than are followed."""
    progress = Progress()
    progress.begin([head(uuid4(), 1) for _ in range(FOLLOWED_CONVERSATIONS)])
    progress.release_all()
    return progress


def test_of_more_conversations_than_are_followed_one_starts_where_it_was_first_heard_of(overfull: Progress) -> None:
    overfull.track(NEW, 29)
    assert overfull.lacks(NEW, 30)
    overfull.track(NEW, 33)  # more has come before it was sent anything
    assert overfull.lacks(NEW, 34)
    assert overfull.sent(NEW) == 29


def test_what_was_heard_of_before_it_began_starts_there_too() -> None:
    progress = Progress()
    progress.track(NEW, 29)
    progress.track(KNOWN, 4)
    assert not progress.lacks(NEW, 30)
    progress.begin([head(KNOWN, 5), *(head(uuid4(), 1) for _ in range(FOLLOWED_CONVERSATIONS - 1))])
    assert progress.release_all() == {NEW: 30}
    assert (progress.sent(NEW), progress.sent(KNOWN)) == (29, 5)


def test_of_two_that_are_replayed_the_second_still_waits_when_the_first_is_done(progress: Progress) -> None:
    for conversation_id in (KNOWN, OTHER):
        progress.hold(conversation_id, 0)
    progress.lacks(KNOWN, 6), progress.lacks(OTHER, 3)
    for conversation_id, seq in progress.release(KNOWN).items():
        assert progress.lacks(conversation_id, seq) == (conversation_id == KNOWN)
    assert progress.release(OTHER) == {OTHER: 3}
    assert progress.lacks(OTHER, 3)

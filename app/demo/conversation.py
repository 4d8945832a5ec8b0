"""What the demo renter and the demo owner have written to each other about one of the owner's listings."""

from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID, uuid5

from sqlalchemy import insert
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from app.demo.chance import EPOCH, NAMESPACE
from app.demo.generator import listing_id
from app.demo.owners import owner, renter
from app.models import Conversation, ConversationParticipant, Equipment, Message

# A gravel bike: among the demo owner's first listings, which are the same however many owners there are.
LISTING = 13


class Line(NamedTuple):
    """What was said, and how long before everything else ended."""

    is_owners: bool
    before: timedelta
    content: str


LINES = (
    Line(
        False,
        timedelta(hours=31, minutes=55),
        "Hi Dana! Is the gravel bike free from Friday to Sunday? I am 1.82 m tall.",
    ),
    Line(True, timedelta(hours=31, minutes=40), "Hello Robin, yes, it is, and the frame is a 56, so it will fit you."),
    Line(
        False,
        timedelta(hours=30, minutes=20),
        "Perfect. Could I pick it up on Thursday evening?\nAnd do you have SPD pedals for it?",
    ),
    Line(
        True,
        timedelta(hours=29, minutes=48),
        "Thursday after 18:00 is fine. I will put the SPD pedals on for you. See you then!",
    ),
)


def add_conversation(session: Session) -> bool:
    """Add it, unless it is there or its listing is missing; whether it was added. The people must be there.

    The demo renter has not read the last message yet.
    """
    if session.get(Equipment, listing_id(LISTING)) is None:
        return False
    people = {False: renter().id, True: owner(0).account.id}
    conversation_id = uuid5(NAMESPACE, "conversation/0")
    times = {"created_at": _moment(LINES[0]), "updated_at": _moment(LINES[-1])}
    row = {
        "id": conversation_id,
        "equipment_id": listing_id(LISTING),
        "participant_key": Conversation.key_of(people.values(), listing_id(LISTING)),
        "last_seq": len(LINES),
    }
    statement = upsert(Conversation).values(**row, **times).on_conflict_do_nothing()
    if session.scalar(statement.returning(Conversation.id)) is None:
        return False  # nor where they have begun one of their own about it
    session.execute(insert(ConversationParticipant), _participants(conversation_id, people))
    session.execute(insert(Message), _messages(conversation_id, people))
    return True


def _moment(line: Line) -> datetime:
    return EPOCH - line.before


def _participants(conversation_id: UUID, people: dict[bool, UUID]) -> list[dict[str, object]]:
    """The owner has read all there is; the renter what there was when they last wrote."""
    read_by_renter = max(seq for seq, line in enumerate(LINES, start=1) if not line.is_owners)
    read = {False: read_by_renter, True: len(LINES)}
    return [
        {
            "conversation_id": conversation_id,
            "user_id": user_id,
            "last_read_seq": read[is_owners],
            "last_read_at": _moment(LINES[read[is_owners] - 1]),
        }
        for is_owners, user_id in people.items()
    ]


def _messages(conversation_id: UUID, people: dict[bool, UUID]) -> list[dict[str, object]]:
    return [
        {
            "id": uuid5(NAMESPACE, f"message/0/{seq}"),
            "conversation_id": conversation_id,
            "seq": seq,
            "sender_id": people[line.is_owners],
            "content": line.content,
            "created_at": _moment(line),
        }
        for seq, line in enumerate(LINES, start=1)
    ]

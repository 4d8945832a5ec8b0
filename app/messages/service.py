"""Reading and writing conversations. The bus announces every change to the participants' sockets, from COMMIT on."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.orm import Session

from app.auth.principal import Identity
from app.db.session import on_commit, run_in, single_statement, transaction
from app.errors import Conflict, InvalidInput
from app.messages import conversations, repository
from app.messages.values import SentMessage
from app.observability import metrics
from app.realtime.bus import Bus, Event

MAX_PARTICIPANTS = 20

get = run_in(single_statement, conversations.get_conversation)
list_own = run_in(single_statement, conversations.list_conversations)
list_messages = run_in(single_statement, repository.list_messages)
heads = run_in(single_statement, conversations.list_heads)
batches = run_in(single_statement, repository.list_batches)
_store = run_in(single_statement, repository.add_message)
_mark_read = run_in(single_statement, repository.mark_read)
_show_typing = run_in(single_statement, repository.show_typing)


def begin(who: Identity, participant_ids: Sequence[UUID], equipment_id: UUID | None) -> tuple[dict[str, Any], bool]:
    """Find or create the conversation of these users about this listing, by default with its owner.

    Returns the conversation, and whether it is new. Raises InvalidInput, and Forbidden to a removed participant.
    """
    people = {who.user_id, *participant_ids}
    with transaction() as session:
        if not participant_ids and equipment_id is not None:
            people.add(conversations.get_owner_id(session, equipment_id))
        if len(people) < 2:
            raise InvalidInput.of("participant_ids", "Name somebody else to write to.", "nobody_else")
        if len(people) > MAX_PARTICIPANTS:
            message = f"A conversation has at most {MAX_PARTICIPANTS} people."
            raise InvalidInput.of("participant_ids", message, "too_many")
        conversation_id, is_new = conversations.find_or_add_conversation(session, sorted(people), equipment_id)
        return conversations.get_conversation(session, conversation_id, who.user_id), is_new


def send(
    bus: Bus, who: Identity, conversation_id: UUID, *, content: str, client_msg_id: str | None = None
) -> SentMessage:
    """Store a message, once for each `client_msg_id`, and announce it. Raises NotFound, Forbidden.

    After another error the message may be committed: a repeat with the same `client_msg_id` finds it.
    """

    def tell() -> None:
        metrics.MESSAGES_STORED.inc()
        data = {"seq": sent.message.seq}
        bus.publish(Event(kind="message", conversation_id=conversation_id, to=sent.participant_ids, data=data))

    values = conversation_id, who.user_id, content, client_msg_id, bus.channel
    try:
        sent = _store(*values)
    except Conflict:  # by a transaction that is committed now: a second statement finds its message
        sent = _store(*values)
    if not sent.is_repeated:
        on_commit(tell)
    return sent


def mark_read(bus: Bus, who: Identity, conversation_id: UUID, seq: int | None = None) -> None:
    """Move the caller's read mark to `seq`, or to the end, and announce it. Raises NotFound, Forbidden."""
    bus.publish(_mark_read(conversation_id, who.user_id, seq, bus.channel))


def show_typing(bus: Bus, who: Identity, conversation_id: UUID, *, is_typing: bool) -> None:
    """Announce whether the caller is typing; nothing is stored. Raises NotFound, Forbidden."""
    bus.publish(_show_typing(conversation_id, who.user_id, is_typing, bus.channel))


def leave_all(session: Session, user_id: UUID) -> None:
    """As `conversations.leave_all`, before the user is deleted."""
    conversations.leave_all(session, user_id)


def changes(
    user_ids: Sequence[UUID], since: datetime | None, *, longest_transaction: timedelta
) -> tuple[datetime, Sequence[Row[Any]], set[UUID]]:
    """As `conversations.list_changes`."""
    with transaction() as session:
        return conversations.list_changes(session, user_ids, since, longest_transaction=longest_transaction)

"""SQL of conversations."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, insert, select, text
from sqlalchemy.orm import Session

from app.common.paging import Position, decode_cursor, encode_cursor, invalid_cursor, time_of_key
from app.db import prepared
from app.db.session import translate_integrity_errors
from app.errors import InvalidInput
from app.messages.repository import execute_for, iso_time, statement, value_of
from app.messages.values import ConversationHead, MessageView
from app.models import Conversation, ConversationParticipant, Equipment

# Unread messages are those of others after the read mark. A mark at the end needs no count.
_UNREAD = """
    CASE WHEN p.last_read_seq >= c.last_seq THEN 0 ELSE (
        SELECT count(*) FROM messages m
        WHERE m.conversation_id = c.id AND m.seq > p.last_read_seq AND m.sender_id IS DISTINCT FROM p.user_id
    ) END"""
# A user's conversations, found by the user: MATERIALIZED, as with a LIMIT the planner would walk all conversations in
# order of their activity.
_MINE = """
mine AS MATERIALIZED (
    SELECT c.id, c.updated_at, c.last_seq
    FROM conversation_participants p JOIN conversations c ON c.id = p.conversation_id
    WHERE p.user_id = :user_id
)"""
_VIEW = f"""
SELECT c.id, c.equipment_id, c.last_seq, c.created_at, c.updated_at, p.user_id IS NOT NULL AS is_member,
    {_UNREAD.strip()} AS unread_count,
    (
        SELECT jsonb_agg(jsonb_build_object(
            'user_id', u.id, 'username', u.username, 'avatar_url', u.avatar_url,
            'last_read_at', {iso_time("other.last_read_at")}, 'last_read_seq', other.last_read_seq
        ) ORDER BY u.username)
        FROM conversation_participants other JOIN users u ON u.id = other.user_id
        WHERE other.conversation_id = c.id
    ) AS participants,
    last.id AS last_id, last.sender_id, sender.username AS sender_name, last.content,
    last.created_at AS last_created_at, last.client_msg_id
FROM conversations c
LEFT JOIN conversation_participants p ON p.conversation_id = c.id AND p.user_id = :user_id
LEFT JOIN messages last ON last.conversation_id = c.id AND last.seq = c.last_seq
LEFT JOIN users sender ON sender.id = last.sender_id
"""  # noqa: S608 - parts of this module's own
_GET = statement("get_conversation", f"{_VIEW} WHERE c.id = :conversation_id")
_LIST = statement(
    "list_conversations",
    f"""
WITH {_MINE},
page AS (
    SELECT id FROM mine
    WHERE CAST(:before AS timestamptz) IS NULL OR updated_at < :before OR (updated_at = :before AND id > :after_id)
    ORDER BY updated_at DESC, id
    LIMIT :limit
)
{_VIEW}
WHERE c.id IN (SELECT id FROM page) AND p.user_id IS NOT NULL
ORDER BY c.updated_at DESC, c.id""",  # noqa: S608 - parts of this module's own
)
# Conversations without messages come last, as anyone can create many of them.
_HEADS = statement(
    "list_heads",
    f"""
WITH {_MINE},
c AS (SELECT id, last_seq, updated_at FROM mine ORDER BY last_seq = 0, updated_at DESC, id LIMIT :limit)
SELECT c.id, c.last_seq, p.last_read_seq, {_UNREAD.strip()} AS unread
FROM c JOIN conversation_participants p ON p.conversation_id = c.id AND p.user_id = :user_id
ORDER BY c.updated_at DESC, c.id""",  # noqa: S608 - parts of this module's own
)
_CHANGED = text("""
SELECT p.user_id, c.id AS conversation_id, c.last_seq, COALESCE((
        SELECT m.seq FROM messages m WHERE m.conversation_id = c.id AND m.created_at <= :since
        ORDER BY m.seq DESC LIMIT 1
    ), 0) AS seq_before
FROM conversations c JOIN conversation_participants p ON p.conversation_id = c.id
WHERE c.updated_at > :since AND p.user_id = ANY(:user_ids)
""")
_TIME_AND_EXISTING = text("""
SELECT clock_timestamp() AS now, ARRAY(SELECT id FROM users WHERE id = ANY(:user_ids)) AS existing
""")
# Users are locked first, in order of their ids, as everywhere: a deletion locks its user before the listings and
# conversations.
_ADD = text("""
WITH people AS (SELECT id FROM users WHERE id = ANY(:user_ids) ORDER BY id FOR KEY SHARE)
INSERT INTO conversations (equipment_id, participant_key)
SELECT CAST(:equipment_id AS uuid), :key WHERE (SELECT count(*) FROM people) = cardinality(:user_ids)
ON CONFLICT (participant_key) DO NOTHING
RETURNING id
""")
# A conversation without other participants is deleted.
_LEAVE = text("""
WITH ended AS (DELETE FROM conversation_participants WHERE user_id = :user_id RETURNING conversation_id)
DELETE FROM conversations c
WHERE c.id IN (SELECT conversation_id FROM ended) AND NOT EXISTS (
    SELECT FROM conversation_participants p WHERE p.conversation_id = c.id AND p.user_id <> :user_id
)
""")


def get_owner_id(session: Session, equipment_id: UUID) -> UUID:
    """The owner of a listing. Raises InvalidInput if the listing is missing."""
    owner_id = session.scalar(select(Equipment.owner_id).where(Equipment.id == equipment_id))
    if owner_id is None:
        raise _unknown_equipment()
    return owner_id


def find_or_add_conversation(
    session: Session, participant_ids: Sequence[UUID], equipment_id: UUID | None
) -> tuple[UUID, bool]:
    """The conversation of these people about this listing, and whether it is new; any number at once make one.

    Raises InvalidInput if a user or the listing is missing.
    """
    key = Conversation.key_of(participant_ids, equipment_id)
    values = {"user_ids": list(participant_ids), "equipment_id": equipment_id, "key": key}
    with translate_integrity_errors(fk_conversations_equipment_id=_unknown_equipment):
        conversation_id: UUID | None = session.scalar(_ADD, values)
    if conversation_id is None:
        existing = session.scalar(select(Conversation.id).where(Conversation.participant_key == key))
        if existing is None:
            raise InvalidInput.of("participant_ids", "There is no such user.", "unknown_reference")
        return existing, False
    people = [{"conversation_id": conversation_id, "user_id": user_id} for user_id in participant_ids]
    session.execute(insert(ConversationParticipant), people)
    return conversation_id, True


def leave_all(session: Session, user_id: UUID) -> None:
    """Remove a user, whose row is locked, from every conversation; delete conversations without participants."""
    session.execute(_LEAVE, {"user_id": user_id})


def get_conversation(executor: Session | Connection, conversation_id: UUID, user_id: UUID) -> dict[str, Any]:
    """A conversation as this user sees it, with the fields of `schemas.Conversation`. Raises NotFound, Forbidden."""
    return _view(execute_for(executor, _GET, conversation_id, user_id)[0])


def list_conversations(
    connection: Connection, user_id: UUID, *, limit: int, cursor: str | None
) -> tuple[list[dict[str, Any]], str | None]:
    """A page of a user's conversations, latest activity first, and the next cursor.

    Raises InvalidInput: the cursor is of another list.
    """
    scope = ("conversations", user_id)
    start = decode_cursor(cursor, of_list=scope) if cursor else None
    try:
        before, after_id = (time_of_key(start.key), UUID(start.id)) if start else (None, None)
    except ValueError as error:
        raise invalid_cursor() from error
    # The row after the page tells whether there is a next page.
    values = {"user_id": user_id, "before": before, "after_id": after_id, "limit": limit + 1}
    found = [_view(row) for row in prepared.execute(connection, _LIST, values)]
    if len(found) <= limit:
        return found, None
    last = found[limit - 1]
    end = Position(page=start.page + 1 if start else 2, key=last["updated_at"].isoformat(), id=str(last["id"]))
    return found[:limit], encode_cursor(end, of_list=scope)


def list_heads(connection: Connection, user_id: UUID, *, limit: int) -> list[ConversationHead]:
    """The heads of a user's conversations, latest activity first."""
    rows = prepared.execute(connection, _HEADS, {"user_id": user_id, "limit": limit})
    return [value_of(ConversationHead, row) for row in rows]


def list_changes(
    session: Session, user_ids: Sequence[UUID], since: datetime | None, *, longest_transaction: timedelta
) -> tuple[datetime, Sequence[Row[Any]], set[UUID]]:
    """Changes of these users' conversations since an earlier call: (the next call's `since`, changes, deleted users).

    Without `since`, the latest changes. A change has the time of its statement and is visible after its COMMIT, so
    calls overlap by the longest transaction.
    """
    now, existing = session.execute(_TIME_AND_EXISTING, {"user_ids": user_ids}).one()
    since_next = now - longest_transaction
    changed = session.execute(_CHANGED, {"user_ids": user_ids, "since": since or since_next}).all()
    return since_next, changed, set(user_ids) - set(existing)


def _view(row: Any) -> dict[str, Any]:
    last = None
    if row.last_id is not None:
        others = {"id": row.last_id, "conversation_id": row.id, "created_at": row.last_created_at, "seq": row.last_seq}
        last = value_of(MessageView, row, **others)
    return {**row._asdict(), "last_message": last}


def _unknown_equipment() -> InvalidInput:
    return InvalidInput.of("equipment_id", "There is no such equipment.", "unknown_reference")

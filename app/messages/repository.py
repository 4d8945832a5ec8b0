"""SQL of messages and read marks; `conversations` has that of conversations."""

from collections.abc import Mapping
from dataclasses import fields
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import ARRAY, Boolean, Connection, DateTime, Integer, String, Text, Uuid, bindparam, text
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeEngine

from app.db import prepared
from app.db.prepared import PreparedStatement
from app.db.session import translate_integrity_errors
from app.errors import Conflict, Forbidden, NotFound
from app.messages.values import MessageBatch, MessageList, MessagePage, MessageView, SentMessage
from app.realtime.bus import Event

Value = TypeVar("Value")

_ALREADY_SENT = partial(Conflict, "This message is being sent by another request.")
_TYPES: dict[str, TypeEngine[Any]] = {
    "after_id": Uuid(),
    "after_seq": Integer(),
    "after_seqs": ARRAY(Integer),
    "before": DateTime(timezone=True),
    "before_seq": Integer(),
    "channel": Text(),
    "client_msg_id": String(),
    "content": String(),
    "conversation_id": Uuid(),
    "conversation_ids": ARRAY(Uuid),
    "is_typing": Boolean(),
    "limit": Integer(),
    "offset": Integer(),
    "seq": Integer(),
    "user_id": Uuid(),
}


def statement(label: str, sql: str) -> PreparedStatement:
    """A prepared statement. Its parameters have the types of their names."""
    clause = text(sql)
    types = (bindparam(name, type_=_TYPES[name]) for name in clause.compile().params)
    return PreparedStatement(label, clause.bindparams(*types))


def iso_time(column: str) -> str:
    """A time as text, in the form of orjson and `datetime.isoformat`: six digits of a second's fraction, or none."""
    return f"""replace(to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'), '.000000', '')"""


_PARTICIPANT_IDS = (
    "ARRAY(SELECT user_id FROM conversation_participants WHERE conversation_id = c.id) AS participant_ids"
)
# The conversation, and whether the user takes part in it.
_ACCESS = f"""
access AS (
    SELECT c.id, c.last_seq, {_PARTICIPANT_IDS},
        EXISTS (
            SELECT FROM conversation_participants p WHERE p.conversation_id = c.id AND p.user_id = :user_id
        ) AS is_member
    FROM conversations c
    WHERE c.id = :conversation_id
)"""  # noqa: S608 - parts of this module's own


def _notified(kind: str, data: str, *, when: str) -> str:
    """A column that notifies the channel, if there is one, of an event as `app.realtime.bus.Event` encodes it."""
    return f"""CASE WHEN {when} AND :channel IS NOT NULL THEN
        CAST(pg_notify(:channel, CAST(json_build_object(
            'kind', '{kind}', 'conversation_id', access.id, 'to', access.participant_ids,
            'data', json_build_object({data})
        ) AS text)) AS text)
    END AS notified"""


# One statement, one round trip. A repeated message takes no number. Two concurrent ones with one client_msg_id both
# find none; the second waits for the conversation's row, violates the unique key, and is rolled back with its number.
# The time is taken under the row lock, so that it rises with `seq`. The sender's row is locked before the
# conversation's, in the order of a user's deletion: otherwise they could deadlock.
_ADD_MESSAGE = statement(
    "add_message",
    f"""
WITH {_ACCESS},
sender AS (SELECT id, username FROM users WHERE id = :user_id FOR KEY SHARE),
repeated AS (
    SELECT id, seq, content, created_at, client_msg_id, true AS is_repeated
    FROM messages
    WHERE sender_id = :user_id AND conversation_id = :conversation_id AND client_msg_id = :client_msg_id
),
numbered AS (
    UPDATE conversations
    SET last_seq = last_seq + 1, updated_at = clock_timestamp()
    WHERE id = :conversation_id AND (SELECT is_member FROM access) AND NOT EXISTS (SELECT FROM repeated)
        AND EXISTS (SELECT FROM sender)
    RETURNING last_seq, updated_at
),
added AS (
    INSERT INTO messages (conversation_id, seq, sender_id, client_msg_id, content, created_at)
    SELECT :conversation_id, last_seq, :user_id, :client_msg_id, :content, updated_at FROM numbered
    RETURNING id, seq, content, created_at, client_msg_id, false AS is_repeated
),
stored AS (SELECT * FROM added UNION ALL SELECT * FROM repeated WHERE (SELECT is_member FROM access))
SELECT access.id AS conversation_id, access.is_member, access.participant_ids,
    CAST(:user_id AS uuid) AS sender_id, (SELECT username FROM sender) AS sender_name,
    stored.id, stored.seq, stored.content, stored.created_at, stored.client_msg_id, stored.is_repeated,
    {_notified("message", "'seq', stored.seq", when="NOT stored.is_repeated")}
FROM access LEFT JOIN stored ON true
""",  # noqa: S608 - parts of this module's own
)

_MESSAGES = """
    SELECT m.id, m.conversation_id, m.sender_id, u.username AS sender_name, m.content, m.created_at, m.seq,
        m.client_msg_id
    FROM messages m LEFT JOIN users u ON u.id = m.sender_id"""

# Without gaps, `last_seq` is the number of messages, so an offset is a subtraction.
_LIST = {
    direction: statement(
        f"list_messages_{direction.lower()}",
        f"""
WITH {_ACCESS}
SELECT access.is_member, access.last_seq, shown.*
FROM access
LEFT JOIN LATERAL ({_MESSAGES}
    WHERE access.is_member AND m.conversation_id = access.id AND m.seq > :after_seq
        AND m.seq <= LEAST(CAST(:before_seq AS integer) - 1, access.last_seq - CAST(:offset AS integer))
    ORDER BY m.seq {direction}
    LIMIT :limit
) shown ON true
ORDER BY shown.seq {direction}
""",  # noqa: S608 - parts of this module's own
    )
    for direction in ("ASC", "DESC")
}

_LIST_BATCHES = statement(
    "list_batches",
    f"""
SELECT start.id AS batch_id, COALESCE(c.last_seq, 0) AS last_seq, {_PARTICIPANT_IDS}, shown.*
FROM unnest(:conversation_ids, :after_seqs) AS start (id, after_seq)
LEFT JOIN conversations c ON c.id = start.id
LEFT JOIN LATERAL ({_MESSAGES}
    WHERE m.conversation_id = start.id AND m.seq > start.after_seq
    ORDER BY m.seq
    LIMIT :limit
) shown ON true
ORDER BY start.id, shown.seq
""",  # noqa: S608 - parts of this module's own
)

_MARK_READ = statement(
    "mark_read",
    f"""
WITH {_ACCESS},
marked AS (
    UPDATE conversation_participants p
    SET last_read_seq = GREATEST(p.last_read_seq, LEAST(COALESCE(:seq, access.last_seq), access.last_seq)),
        last_read_at = clock_timestamp()
    FROM access
    WHERE p.conversation_id = access.id AND p.user_id = :user_id
    RETURNING p.last_read_seq AS seq, {iso_time("p.last_read_at")} AS read_at
)
SELECT access.is_member, access.participant_ids, seq, read_at,
    {_notified("read", "'user_id', :user_id, 'read_at', read_at, 'last_read_seq', seq", when="seq IS NOT NULL")}
FROM access LEFT JOIN marked ON true
""",  # noqa: S608 - parts of this module's own
)

_SHOW_TYPING = statement(
    "show_typing",
    f"""
WITH {_ACCESS}
SELECT access.is_member, access.participant_ids,
    {_notified("typing", "'user_id', :user_id, 'is_typing', :is_typing", when="access.is_member")}
FROM access
""",  # noqa: S608 - parts of this module's own
)


def add_message(
    connection: Connection,
    conversation_id: UUID,
    sender_id: UUID,
    content: str,
    client_msg_id: str | None,
    channel: str | None,
) -> SentMessage:
    """Store a message under its conversation's next number, or find it by its client_msg_id, and notify the channel.

    Raises NotFound, Forbidden, and Conflict if a concurrent transaction stored it: repeat the transaction.
    """
    values = {"content": content, "client_msg_id": client_msg_id, "channel": channel}
    with translate_integrity_errors(uq_messages_sender_id_conversation_id_client_msg_id=_ALREADY_SENT):
        row = execute_for(connection, _ADD_MESSAGE, conversation_id, sender_id, **values)[0]
    if row.id is None:  # the sender was deleted after this statement's snapshot
        raise not_a_participant()
    return value_of(SentMessage, row, message=value_of(MessageView, row))


def list_messages(connection: Connection, conversation_id: UUID, user_id: UUID, page: MessagePage) -> MessageList:
    """A page of a conversation's messages, in the page's order. Raises NotFound, Forbidden."""
    listing = _LIST["ASC" if page.oldest_first else "DESC"]
    rows = execute_for(connection, listing, conversation_id, user_id, **vars(page))
    messages = [value_of(MessageView, row) for row in rows if row.seq is not None]
    return MessageList(messages=messages, last_seq=rows[0].last_seq)


def list_batches(connection: Connection, after: Mapping[UUID, int], *, limit: int) -> dict[UUID, MessageBatch]:
    """At most `limit` messages after a number, oldest first, of each of these conversations."""
    values = {"conversation_ids": list(after), "after_seqs": list(after.values()), "limit": limit}
    batches: dict[UUID, MessageBatch] = {}
    for row in prepared.execute(connection, _LIST_BATCHES, values):
        batch = batches.setdefault(row.batch_id, value_of(MessageBatch, row, messages=[]))
        if row.seq is not None:
            batch.messages.append(value_of(MessageView, row))
    return batches


def mark_read(
    connection: Connection, conversation_id: UUID, user_id: UUID, seq: int | None, channel: str | None
) -> Event:
    """Move the user's read mark to `seq`, or to the end: never back, never beyond. Raises as `execute_for`."""
    row = execute_for(connection, _MARK_READ, conversation_id, user_id, seq=seq, channel=channel)[0]
    if row.seq is None:  # the membership ended while this waited for the row lock
        raise not_a_participant()
    data = {"user_id": user_id, "read_at": row.read_at, "last_read_seq": row.seq}
    return Event(kind="read", conversation_id=conversation_id, to=row.participant_ids, data=data)


def show_typing(
    connection: Connection, conversation_id: UUID, user_id: UUID, is_typing: bool, channel: str | None
) -> Event:
    """Notify the channel that the user is typing or not; nothing is stored. Raises NotFound, Forbidden."""
    row = execute_for(connection, _SHOW_TYPING, conversation_id, user_id, is_typing=is_typing, channel=channel)[0]
    data = {"user_id": user_id, "is_typing": is_typing}
    return Event(kind="typing", conversation_id=conversation_id, to=row.participant_ids, data=data)


def execute_for(
    executor: Session | Connection, about: PreparedStatement, conversation_id: UUID, user_id: UUID, **values: Any
) -> list[Any]:
    """Execute a statement about a conversation. Raises NotFound, or Forbidden if the user takes no part in it."""
    rows = prepared.execute(executor, about, {"conversation_id": conversation_id, "user_id": user_id, **values})
    if not rows:
        raise NotFound("There is no such conversation.")
    if not rows[0].is_member:
        raise not_a_participant()
    return rows


def not_a_participant() -> Forbidden:
    """The error for a conversation without the caller."""
    return Forbidden("You do not take part in this conversation.")


def value_of(kind: type[Value], row: Any, **others: Any) -> Value:
    """A dataclass of the row's columns with the same names, and of `others`."""
    names = [field.name for field in fields(kind) if field.name not in others]  # type: ignore[arg-type]
    return kind(**{name: getattr(row, name) for name in names}, **others)

"""Removal of rows past their `expires_at`."""

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from app.db.session import transaction
from app.models import IdempotencyKey, LoginAttempts

BATCH_ROWS = 1_000
ExpiringTable = type[LoginAttempts] | type[IdempotencyKey]


def delete_expired(session: Session, table: ExpiringTable, limit: int) -> int:
    """Delete at most `limit` expired rows; return their number. Skips rows that other transactions have locked."""
    key = table.__table__.primary_key
    expired = (
        select(*key)
        .where(table.expires_at <= func.statement_timestamp())
        .order_by(table.expires_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("expired")
    )
    same = (column == expired.c[column.name] for column in key)
    return len(session.execute(delete(table).where(*same).returning(*key)).all())


def delete_all_expired(table: ExpiringTable) -> int:
    """Delete the expired rows in transactions of `BATCH_ROWS` rows; return their number."""
    deleted = 0
    while True:
        with transaction() as session:
            batch = delete_expired(session, table, BATCH_ROWS)
        deleted += batch
        if batch < BATCH_ROWS:
            return deleted

"""SQL of the tallies of login attempts. Locks are taken in one order, and cleaning waits for none: no deadlock.

The table is bounded without being counted: each new row sends away a few that expired, and what its own slot holds
beyond its share of `MAX_FAILING_ROWS`. Slots are dealt at random, so nobody can choose whose row has to go.
"""

from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ARRAY, DateTime, LargeBinary, Row, SmallInteger, bindparam, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.auth.lockout import Tallies, Tally
from app.models import LoginAttempts

ALL_ADDRESSES = ""
# Rows of pairs and of accounts that nobody logged in behind of late; some tens of megabytes with their indexes.
MAX_FAILING_ROWS = 50_000
SLOTS = 256  # as the column's default deals them
MAX_FAMILIAR_ADDRESSES = 20  # of one account
EXPIRED_REMOVED_AT_ONCE = 20

# `surplus` may be out of date by the time a row is locked: a row that was used again since expires later, and is kept.
# The account at hand is spared, whose attempt would be uncounted with its row.
_CLEAN_UP = text("""
WITH surplus AS MATERIALIZED (
    (SELECT account, address, expires_at FROM login_attempts
     WHERE expires_at <= :now ORDER BY expires_at LIMIT :expired)
    UNION
    SELECT failing.account, failing.address, failing.expires_at
    FROM unnest(:slots) AS filled(slot), LATERAL (
        SELECT account, address, expires_at FROM login_attempts
        WHERE slot = filled.slot AND succeeded_at IS NULL ORDER BY expires_at DESC OFFSET :share
    ) AS failing
), locked AS MATERIALIZED (
    SELECT row.account, row.address FROM surplus JOIN login_attempts AS row USING (account, address)
    WHERE row.expires_at <= surplus.expires_at AND row.account <> :spared
    FOR UPDATE OF row SKIP LOCKED
)
DELETE FROM login_attempts AS row USING locked WHERE row.account = locked.account AND row.address = locked.address
""").bindparams(
    bindparam("now", type_=DateTime(timezone=True)),
    bindparam("slots", type_=ARRAY(SmallInteger)),
    bindparam("spared", type_=LargeBinary),
)


_COUNTED = [getattr(LoginAttempts, field.name) for field in fields(Tally)]


@dataclass(frozen=True, kw_only=True)
class Taken:
    """The tallies behind an attempt, locked, as of `now` by the database's clock; the slots of those made for it."""

    tallies: Tallies
    now: datetime
    new_slots: list[int]


def take(session: Session, account: bytes, address: str, *, attempts: int, lockout: timedelta) -> Taken:
    """Lock the tallies of an account and of its pair with an address, made if absent, and count so many attempts."""
    until = func.clock_timestamp() + lockout
    fresh = {"account": account, "attempts": attempts, "counted_until": until, "expires_at": until}
    # In this order for everyone: who has the account's row finds nobody at the pair's.
    statement = insert(LoginAttempts).values([{**fresh, "address": each} for each in (ALL_ADDRESSES, address)])
    counted = statement.on_conflict_do_update(
        constraint="pk_login_attempts", set_={"attempts": LoginAttempts.attempts + attempts}
    )
    # What is returned is read once the lock is held, the time too.
    result = session.execute(
        counted.returning(*_COUNTED, LoginAttempts.address, LoginAttempts.slot, func.clock_timestamp().label("now"))
    )
    rows = {row.address: row for row in result}
    return Taken(
        tallies=Tallies(account=_tally(rows[ALL_ADDRESSES]), pair=_tally(rows[address])),
        now=rows[address].now,
        new_slots=[row.slot for row in rows.values() if row.attempts == attempts],
    )


def write(session: Session, account: bytes, address: str, *, before: Tallies, after: Tallies) -> None:
    """Keep what has changed of two tallies that were taken in this transaction."""
    both = ((ALL_ADDRESSES, before.account, after.account), (address, before.pair, after.pair))
    changed = [
        {"account": account, "address": each, **asdict(new), "expires_at": new.expires_at}
        for each, old, new in both
        if new != old
    ]
    if changed:
        session.execute(update(LoginAttempts), changed)


def clean_up(session: Session, taken: Taken, *, spared: bytes) -> None:
    """Remove a few rows that expired, and what is beyond its share in the slots that have just got a row.

    Waits for no lock: what another transaction holds is left to it. `spared` is the account at hand.
    """
    session.execute(
        _CLEAN_UP,
        {
            "now": taken.now,
            "expired": EXPIRED_REMOVED_AT_ONCE,
            "slots": taken.new_slots,
            "share": MAX_FAILING_ROWS // SLOTS,
            "spared": spared,
        },
    )


def remove_expired(session: Session, most: int) -> int:
    """Remove at most so many rows that expired; how many it was. Waits for no lock."""
    expired = (
        select(LoginAttempts.account, LoginAttempts.address)
        .where(LoginAttempts.expires_at <= func.clock_timestamp())
        .order_by(LoginAttempts.expires_at)
        .limit(most)
        .with_for_update(skip_locked=True)
        .cte("expired")
    )
    same = LoginAttempts.account == expired.c.account, LoginAttempts.address == expired.c.address
    removed = session.execute(delete(LoginAttempts).where(*same).returning(LoginAttempts.address))
    return len(removed.all())


def forget_oldest_familiar(session: Session, account: bytes) -> None:
    """Keep `MAX_FAMILIAR_ADDRESSES` of an account, the latest; only for who has its tallies locked."""
    oldest = (
        select(LoginAttempts.address)
        .where(LoginAttempts.account == account, LoginAttempts.succeeded_at.is_not(None))
        .order_by(LoginAttempts.succeeded_at.desc())
        .offset(MAX_FAMILIAR_ADDRESSES)
    )
    session.execute(delete(LoginAttempts).where(LoginAttempts.account == account, LoginAttempts.address.in_(oldest)))


def _tally(row: Row[Any]) -> Tally:
    return Tally(**{column.key: row._mapping[column.key] for column in _COUNTED})

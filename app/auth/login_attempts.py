"""The counters of login attempts and their SQL. Locks are taken in one order, and deletes skip locked rows."""

from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.models import LoginAttempts

ALL_ADDRESSES = ""
MAX_KNOWN_ADDRESSES = 20  # per account
KNOWN_FOR = timedelta(days=30)  # after a login from the address
EXPIRED_BATCH_ROWS = 20  # deleted at each attempt, which adds at most two: the table stays small


class AttemptKey(NamedTuple):
    """An account's digest and the network that an attempt comes from."""

    account: bytes
    address: str


@dataclass
class AttemptCounter:
    """Attempts to log in to one account, from one address or from all.

    `attempts` and `failures` count until `counted_until`, and then start from zero. No block outlasts that.
    """

    attempts: int
    counted_until: datetime
    failures: int = 0
    blocked_until: datetime | None = None
    succeeded_at: datetime | None = None

    @property
    def expires_at(self) -> datetime:
        """When the counter becomes equivalent to no row."""
        return max(self.counted_until, self.succeeded_at + KNOWN_FOR) if self.succeeded_at else self.counted_until


@dataclass(kw_only=True)
class Counters:
    """The counters of an attempt."""

    account: AttemptCounter  # from all addresses
    pair: AttemptCounter  # from the address of the attempt
    now: datetime  # the database's time after they were locked


_COLUMNS = [getattr(LoginAttempts, field.name) for field in fields(AttemptCounter)]


def lock_counters(session: Session, key: AttemptKey, *, attempts: int) -> Counters:
    """Lock the two counters and add to their `attempts`. Absent counters are inserted as expired ones."""
    now = func.clock_timestamp()
    new = {"account": key.account, "attempts": attempts, "counted_until": now, "expires_at": now}
    # The account's row comes first in every transaction: its holder meets no other at the pair's row.
    statement = (
        insert(LoginAttempts)
        .values([{**new, "address": address} for address in (ALL_ADDRESSES, key.address)])
        .on_conflict_do_update(constraint="pk_login_attempts", set_={"attempts": LoginAttempts.attempts + attempts})
        # Evaluated once the lock is held, `clock_timestamp()` too.
        .returning(LoginAttempts.address, now, *_COLUMNS)
    )
    rows = {address: columns for address, *columns in session.execute(statement)}
    locked_at, *pair = rows[key.address]
    return Counters(account=AttemptCounter(*rows[ALL_ADDRESSES][1:]), pair=AttemptCounter(*pair), now=locked_at)


def save_counters(session: Session, key: AttemptKey, counters: Counters) -> None:
    """Update the rows of counters that this transaction has locked."""
    rows = [
        {"account": key.account, "address": address, **asdict(counter), "expires_at": counter.expires_at}
        for address, counter in ((ALL_ADDRESSES, counters.account), (key.address, counters.pair))
    ]
    session.execute(update(LoginAttempts), rows)


def remove_oldest_known_addresses(session: Session, account: bytes) -> None:
    """Keep the latest `MAX_KNOWN_ADDRESSES` of an account whose counters this transaction has locked."""
    oldest = (
        select(LoginAttempts.address)
        .where(LoginAttempts.account == account, LoginAttempts.succeeded_at.is_not(None))
        .order_by(LoginAttempts.succeeded_at.desc())
        .offset(MAX_KNOWN_ADDRESSES)
    )
    session.execute(delete(LoginAttempts).where(LoginAttempts.account == account, LoginAttempts.address.in_(oldest)))

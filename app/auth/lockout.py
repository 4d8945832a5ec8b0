"""When a login must wait: rules over what was counted, pure of time and of the database.

Two tallies lie behind an attempt: of its account from its address (the pair), and of its account from everywhere. An
attempt is reserved, which counts it as a failure, before anybody looks at the password, and settled afterwards. So
however many are made at once, no more pass than may fail; and what is never settled stays a failure until it expires.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from app.settings import LoginLimits

# An account that failed this many times `max_failures` is being attacked from many addresses.
ACCOUNT_FACTOR = 10
# How long an address stays familiar after a login from it. What strangers do elsewhere takes nothing from it.
FAMILIAR_FOR = timedelta(days=30)


class Outcome(StrEnum):
    """What came of an attempt that was let through."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"  # nobody judged the password


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What is counted behind an attempt.

    `attempts` and `failures` count until `counted_until`, when they start from zero; no block outlasts that.
    """

    attempts: int
    counted_until: datetime
    failures: int = 0
    blocked_until: datetime | None = None
    succeeded_at: datetime | None = None

    @property
    def expires_at(self) -> datetime:
        """From when on this is as good as nothing."""
        if self.succeeded_at is None:
            return self.counted_until
        return max(self.counted_until, self.succeeded_at + FAMILIAR_FOR)

    def is_familiar(self, now: datetime) -> bool:
        """Tell whether the account was logged in to from here of late."""
        return self.succeeded_at is not None and self.succeeded_at + FAMILIAR_FOR > now


@dataclass(frozen=True, kw_only=True)
class Tallies:
    """The two that lie behind one attempt."""

    account: Tally
    pair: Tally


@dataclass(frozen=True, kw_only=True)
class Reservation:
    """An attempt that was let through: of how many it is one, and until when it counts unless it is settled."""

    allowance: int
    counted_until: datetime
    begins_lockout: bool


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """An attempt that was not let through; it may be made again after `wait`, which is above zero."""

    wait: timedelta


def reserve(tallies: Tallies, now: datetime, limits: LoginLimits) -> tuple[Reservation | Refusal, Tallies]:
    """Decide on an attempt, which the tallies' `attempts` count already; what they are to be from now on.

    A refusal prolongs nothing. The attempt that reaches the allowance begins the lock-out by itself; one that does not
    holds up nobody while it is under way, so that a double click fails neither.
    """
    account, pair = (_as_of(now, tally, limits) for tally in (tallies.account, tallies.pair))
    if pair.blocked_until is not None:
        return Refusal(wait=pair.blocked_until - now), Tallies(account=account, pair=pair)
    allowance = _allowance(account, pair, now, limits)
    until = now + _lockout(limits)
    failures = pair.failures + 1
    is_last = failures >= allowance
    reservation = Reservation(allowance=allowance, counted_until=until, begins_lockout=is_last)
    return reservation, Tallies(
        account=replace(
            account, failures=account.failures + 1, counted_until=account.counted_until if account.failures else until
        ),
        pair=replace(pair, failures=failures, counted_until=until, blocked_until=until if is_last else None),
    )


def settle(tallies: Tallies, reservation: Reservation, outcome: Outcome, now: datetime, limits: LoginLimits) -> Tallies:
    """What the tallies are to be once it is known what came of an attempt."""
    account, pair = tallies.account, tallies.pair
    match outcome:
        case Outcome.SUCCEEDED:
            pair = replace(pair, failures=0, blocked_until=None, succeeded_at=now)
            return Tallies(account=_one_less(account, now), pair=pair)
        case Outcome.FAILED:
            if account.counted_until > now:
                account = replace(account, counted_until=now + _lockout(limits))
            return Tallies(account=account, pair=_backed_off(pair, now, limits))
    if reservation.counted_until <= now:
        return tallies
    if pair.failures >= reservation.allowance:  # without this one there is no lock-out
        pair = replace(pair, blocked_until=None)
    return Tallies(account=_one_less(account, now), pair=_one_less(pair, now))


def backoff(failures: int, limits: LoginLimits) -> timedelta:
    """How long a pair waits after so many failures (1 or more): twice as long each time, up to a lock-out."""
    wait_ms = limits.backoff_base_ms * 2 ** (failures - 1)
    return timedelta(milliseconds=min(wait_ms, limits.lockout_seconds * 1000))


def _allowance(account: Tally, pair: Tally, now: datetime, limits: LoginLimits) -> int:
    """How many failures the pair may have: all of them, or, of an account under attack, one if it is a stranger.

    One, and not none: else whoever attacks from enough addresses would keep the owner out of all that are new.
    """
    is_attacked = account.failures >= ACCOUNT_FACTOR * limits.max_failures
    return 1 if is_attacked and not pair.is_familiar(now) else limits.max_failures


def _as_of(now: datetime, tally: Tally, limits: LoginLimits) -> Tally:
    """The tally without what is over; the present attempt is the first that a new one counts."""
    if tally.counted_until <= now:
        return Tally(attempts=1, counted_until=now + _lockout(limits), succeeded_at=tally.succeeded_at)
    if tally.blocked_until is not None and tally.blocked_until <= now:
        return replace(tally, blocked_until=None)
    return tally


def _backed_off(pair: Tally, now: datetime, limits: LoginLimits) -> Tally:
    if not pair.failures or pair.counted_until <= now:  # a login succeeded meanwhile, or all this is long ago
        return pair
    until = min(now + backoff(pair.failures, limits), pair.counted_until)
    blocked_until = max(until, pair.blocked_until or until)
    return replace(pair, blocked_until=blocked_until if blocked_until > now else None)


def _one_less(tally: Tally, now: datetime) -> Tally:
    return replace(tally, failures=max(0, tally.failures - 1)) if tally.counted_until > now else tally


def _lockout(limits: LoginLimits) -> timedelta:
    return timedelta(seconds=limits.lockout_seconds)

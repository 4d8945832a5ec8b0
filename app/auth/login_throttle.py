"""Throttling of login attempts: back-off and lock-out, counted in one table for all workers.

An attempt is reserved, which counts it as a failure, before the identity provider checks the password, and settled
afterwards. So no more concurrent attempts pass than may fail.

Two counters apply to an attempt: of its account from its address (the pair), and of its account from all addresses.
Failures elsewhere take no attempt from a known address, which the account has logged in from. So an attacker at another
address cannot lock the owner out. The refresh grant is not throttled, because refresh tokens are long and random.
"""

import hashlib
import math
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import structlog
from sqlalchemy.exc import SQLAlchemyError

from app.auth import login_attempts
from app.auth.login_attempts import EXPIRED_BATCH_ROWS, KNOWN_FOR, AttemptKey, Counters
from app.common.client_address import network_of
from app.db.expiry import delete_expired
from app.db.session import transaction
from app.errors import Forbidden, InvalidCredentials, TooManyRequests, Unavailable
from app.models import LoginAttempts
from app.observability import metrics
from app.settings import LoginLimits

# An account with this many times `max_failures` failures is under attack from many addresses.
ACCOUNT_FACTOR = 10
LOGGED_DIGEST_CHARACTERS = 12

log = structlog.get_logger(__name__)


class Outcome(StrEnum):
    """The result of an attempt that was let through. UNKNOWN: the password was not checked."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Reservation:
    """An attempt that was let through."""

    allowance: int  # the failures that the pair may have
    counted_until: datetime
    begins_lockout: bool


@contextmanager
def attempt(limits: LoginLimits, *, email: str, client_address: str) -> Iterator[None]:
    """Wrap the request to the identity provider. No connection is held while the block runs.

    A block that ends normally is a success. InvalidCredentials and Forbidden are failures. Unavailable and
    TooManyRequests say nothing about the password, and take the attempt back. After any other end, such as a crash, the
    attempt stays a failure until it expires.

    Raises TooManyRequests, with no hint of whether password or e-mail are right, or SQLAlchemyError, if the attempt
    cannot be counted; then the block is not entered.
    """
    key = AttemptKey(account_of(email), network_of(client_address))
    reservation = _reserve(limits, key)
    try:
        yield
    except (InvalidCredentials, Forbidden):
        _settle(limits, key, reservation, Outcome.FAILED)
        raise
    except (Unavailable, TooManyRequests):
        _settle(limits, key, reservation, Outcome.UNKNOWN)
        raise
    _settle(limits, key, reservation, Outcome.SUCCEEDED)


def account_of(email: str) -> bytes:
    """A digest that is the same for all spellings of an e-mail that an identity provider may take for one account."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", email).casefold())
    return hashlib.sha256(folded.encode()).digest()


def _reserve(limits: LoginLimits, key: AttemptKey) -> Reservation:
    with transaction() as session:
        counters = login_attempts.lock_counters(session, key, attempts=1)
        has_new_row = 1 in (counters.account.attempts, counters.pair.attempts)
        decision = reserve(counters, limits)
        if isinstance(decision, Reservation):
            login_attempts.save_counters(session, key, counters)
        if has_new_row:
            delete_expired(session, LoginAttempts, EXPIRED_BATCH_ROWS)
    if isinstance(decision, Reservation):
        return decision
    wait_seconds = math.ceil(decision.total_seconds())
    raise TooManyRequests("Too many attempts to log in. Try again later.", retry_after_seconds=wait_seconds)


def _settle(limits: LoginLimits, key: AttemptKey, reservation: Reservation, outcome: Outcome) -> None:
    """Record the outcome. If that fails, the response stands and the attempt stays a failure."""
    try:
        with transaction() as session:
            counters = login_attempts.lock_counters(session, key, attempts=0)
            is_new_address = counters.pair.succeeded_at is None
            settle(counters, reservation, outcome, limits)
            login_attempts.save_counters(session, key, counters)
            if outcome is Outcome.SUCCEEDED and is_new_address:
                login_attempts.remove_oldest_known_addresses(session, key.account)
    except SQLAlchemyError as error:
        log.warning("login_attempt_not_settled", outcome=outcome, reason=type(error).__name__)
        return
    if outcome is Outcome.FAILED and reservation.begins_lockout and counters.pair.blocked_until is not None:
        metrics.LOGIN_LOCKOUTS.inc()
        account = key.account.hex()[:LOGGED_DIGEST_CHARACTERS]
        log.warning("login_locked_out", account=account, address=key.address, seconds=limits.lockout_seconds)


def reserve(counters: Counters, limits: LoginLimits) -> Reservation | timedelta:
    """Count an attempt, which the counters' `attempts` include, as a failure; or refuse it and return the wait.

    The wait is above zero, and a refusal does not prolong it. The attempt that reaches the allowance begins the
    lock-out by itself. Attempts before it do not block each other while they run, so that a double click fails neither.
    """
    account, pair, now = counters.account, counters.pair, counters.now
    if pair.blocked_until is not None and pair.blocked_until > now:
        return pair.blocked_until - now
    until = now + timedelta(seconds=limits.lockout_seconds)
    for counter in (account, pair):
        if counter.counted_until <= now:  # expired: this attempt is the first of a new count
            counter.attempts, counter.failures, counter.blocked_until = 1, 0, None
    allowance = _allowance(counters, limits)
    if not account.failures:
        account.counted_until = until
    account.failures += 1
    pair.failures += 1
    pair.counted_until = until
    is_last = pair.failures >= allowance
    pair.blocked_until = until if is_last else None
    return Reservation(allowance=allowance, counted_until=until, begins_lockout=is_last)


def settle(counters: Counters, reservation: Reservation, outcome: Outcome, limits: LoginLimits) -> None:
    """Correct the counters once the outcome of a reserved attempt is known."""
    account, pair, now = counters.account, counters.pair, counters.now
    match outcome:
        case Outcome.SUCCEEDED:
            account.failures = max(0, account.failures - 1)
            pair.failures, pair.blocked_until, pair.succeeded_at = 0, None, now
        case Outcome.FAILED:
            if account.counted_until > now:
                account.counted_until = now + timedelta(seconds=limits.lockout_seconds)
            # Not if a success has reset the counter meanwhile, or it has expired.
            if pair.failures and pair.counted_until > now:
                until = min(now + backoff(pair.failures, limits), pair.counted_until)
                pair.blocked_until = max(until, pair.blocked_until or until)
        case Outcome.UNKNOWN if reservation.counted_until > now:
            if pair.failures >= reservation.allowance:  # without this attempt there is no lock-out
                pair.blocked_until = None
            account.failures, pair.failures = max(0, account.failures - 1), max(0, pair.failures - 1)


def backoff(failures: int, limits: LoginLimits) -> timedelta:
    """The wait after this many failures (1 or more): doubled each time, up to a lock-out."""
    wait_ms = limits.backoff_base_ms * 2 ** (failures - 1)
    return timedelta(milliseconds=min(wait_ms, limits.lockout_seconds * 1000))


def _allowance(counters: Counters, limits: LoginLimits) -> int:
    """The failures that the pair may have: one if the account is under attack and the address is unknown.

    One and not zero: otherwise an attack from many addresses would keep the owner out of every new address.
    """
    is_attacked = counters.account.failures >= ACCOUNT_FACTOR * limits.max_failures
    succeeded_at = counters.pair.succeeded_at
    is_known = succeeded_at is not None and succeeded_at + KNOWN_FOR > counters.now
    return 1 if is_attacked and not is_known else limits.max_failures

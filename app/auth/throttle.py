"""The throttle of logins: who guesses passwords is made to wait, by what all workers count in one table.

What it holds against: many guesses at one account, from one address (lock-out) or from many (one guess each); the same
in parallel (an attempt is counted before its password is looked at); and locking the owner out from elsewhere (what
strangers do takes nothing from an address that the owner has logged in from). No memory of this process is involved,
so there is no lock of this process to wait for, and nothing that a restart forgets. `lockout` has the rules.

Refreshing needs no throttle: refresh tokens are random and long, and nobody guesses one.
"""

import hashlib
import math
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import structlog
from sqlalchemy.exc import SQLAlchemyError

from app.auth import lockout, login_attempts
from app.auth.lockout import Outcome, Refusal, Reservation
from app.client_address import network_of
from app.db.session import delete_in_batches, transaction
from app.errors import Forbidden, InvalidCredentials, TooManyRequests, Unavailable
from app.observability import counters
from app.settings import LoginLimits

REMOVED_AT_ONCE = 1_000
ACCOUNT_SHOWN_CHARACTERS = 12  # of a digest, in the log

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """Whom an attempt is about and where it comes from."""

    account: bytes
    address: str


@contextmanager
def attempt(limits: LoginLimits, *, email: str, client_address: str) -> Iterator[None]:
    """Goes around asking the tenant, and around nothing else; no connection is held meanwhile.

    Passing the block is a login that succeeded. InvalidCredentials out of it is a failure; so is Forbidden, although
    the tenant may say it to the right password only: it lets nobody in, so it neither clears what was counted nor
    makes the address familiar. Unavailable and the tenant's own TooManyRequests say nothing about the password, and
    are taken back. Whatever else ends the block, the death of the process included, leaves the failure counted.

    Raises:
        TooManyRequests: the block is not entered; the same for a right and a wrong password, a known and an unknown
            e-mail. SQLAlchemyError: the database cannot count, so nobody may try.
    """
    pair = _Pair(account=account_of(email), address=network_of(client_address))
    reservation = _reserve(limits, pair)
    try:
        yield
    except (InvalidCredentials, Forbidden):
        _settle(limits, pair, reservation, Outcome.FAILED)
        raise
    except (Unavailable, TooManyRequests):
        _settle(limits, pair, reservation, Outcome.UNKNOWN)
        raise
    _settle(limits, pair, reservation, Outcome.SUCCEEDED)


def remove_expired() -> int:
    """Remove all that expired, in short transactions; how many rows it was. They counted as absent already."""
    return delete_in_batches(login_attempts.remove_expired, batch_size=REMOVED_AT_ONCE)


def account_of(email: str) -> bytes:
    """A digest that is the same for every way to write an e-mail that any tenant might take for the same."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", email).casefold())
    return hashlib.sha256(folded.encode()).digest()


def _reserve(limits: LoginLimits, pair: _Pair) -> Reservation:
    with transaction() as session:
        taken = login_attempts.take(session, pair.account, pair.address, attempts=1, lockout=_lockout(limits))
        decision, after = lockout.reserve(taken.tallies, taken.now, limits)
        login_attempts.write(session, pair.account, pair.address, before=taken.tallies, after=after)
        if taken.new_slots:
            login_attempts.clean_up(session, taken, spared=pair.account)
    if isinstance(decision, Refusal):
        wait_seconds = math.ceil(decision.wait.total_seconds())
        raise TooManyRequests("Too many attempts to log in. Try again later.", retry_after_seconds=wait_seconds)
    return decision


def _settle(limits: LoginLimits, pair: _Pair, reservation: Reservation, outcome: Outcome) -> None:
    """Note what came of it. The tenant's answer stands even where that fails: then the attempt stays a failure."""
    try:
        with transaction() as session:
            taken = login_attempts.take(session, pair.account, pair.address, attempts=0, lockout=_lockout(limits))
            after = lockout.settle(taken.tallies, reservation, outcome, taken.now, limits)
            login_attempts.write(session, pair.account, pair.address, before=taken.tallies, after=after)
            if outcome is Outcome.SUCCEEDED and taken.tallies.pair.succeeded_at is None:
                login_attempts.forget_oldest_familiar(session, pair.account)
    except SQLAlchemyError as error:
        log.warning("login_attempt_not_settled", outcome=outcome, reason=type(error).__name__)
        return
    if outcome is Outcome.FAILED and reservation.begins_lockout and after.pair.blocked_until is not None:
        counters.count_login_lockout()
        shown = pair.account.hex()[:ACCOUNT_SHOWN_CHARACTERS]
        log.warning("login_locked_out", account=shown, address=pair.address, seconds=limits.lockout_seconds)


def _lockout(limits: LoginLimits) -> timedelta:
    return timedelta(seconds=limits.lockout_seconds)

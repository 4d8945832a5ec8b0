"""The rules of the login throttle that depend on exact times or on overlapping attempts, with a fake clock."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.auth.login_attempts import KNOWN_FOR, AttemptCounter, Counters
from app.auth.login_throttle import ACCOUNT_FACTOR, Outcome, Reservation, account_of, backoff, reserve, settle
from app.settings import LoginLimits

LIMITS = LoginLimits(max_failures=5, lockout_seconds=300, backoff_base_ms=200)
LOCKOUT = timedelta(seconds=300)
HOME, ELSEWHERE = "192.0.2.1", "198.51.100.7"
EVERYWHERE = ""


@dataclass
class Account:
    """The counters of one account as the table would hold them, and a clock."""

    limits: LoginLimits = LIMITS
    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    rows: dict[str, AttemptCounter] = field(default_factory=dict)

    def take(self, address: str, attempts: int) -> Counters:
        for each in (EVERYWHERE, address):
            fresh = AttemptCounter(attempts=0, counted_until=self.now + timedelta(seconds=self.limits.lockout_seconds))
            row = self.rows.setdefault(each, fresh)
            self.rows[each] = replace(row, attempts=row.attempts + attempts)
        return Counters(account=replace(self.rows[EVERYWHERE]), pair=replace(self.rows[address]), now=self.now)

    def keep(self, address: str, counters: Counters) -> None:
        self.rows |= {EVERYWHERE: counters.account, address: counters.pair}
        for row in self.rows.values():
            assert 0 <= row.failures <= row.attempts
            assert row.blocked_until is None or row.blocked_until <= row.counted_until <= row.expires_at

    def reserve(self, address: str = HOME) -> Reservation | timedelta:
        counters = self.take(address, 1)
        decision = reserve(counters, self.limits)
        if isinstance(decision, Reservation):
            self.keep(address, counters)
        return decision

    def admitted(self, address: str = HOME) -> Reservation:
        decision = self.reserve(address)
        assert isinstance(decision, Reservation)
        return decision

    def wait(self, address: str = HOME) -> timedelta:
        decision = self.reserve(address)
        assert isinstance(decision, timedelta)
        return decision

    def settle(self, reservation: Reservation, outcome: Outcome, address: str = HOME) -> None:
        counters = self.take(address, 0)
        settle(counters, reservation, outcome, self.limits)
        self.keep(address, counters)

    def attempt(self, outcome: Outcome, address: str = HOME) -> None:
        self.settle(self.admitted(address), outcome, address)

    def fail(self, times: int, address: str = HOME) -> None:
        for _ in range(times):
            self.attempt(Outcome.FAILED, address)

    def passes(self, **time: float) -> None:
        self.now += timedelta(**time)

    def is_attacked(self) -> None:
        """Fail from other addresses until the account counts enough failures for strangers to be trusted less."""
        for number in range(ACCOUNT_FACTOR):
            self.fail(self.limits.max_failures, f"203.0.113.{number}")


@pytest.fixture
def account() -> Account:
    """An account that is never made to wait between failures, so that tests see the lock-out alone."""
    return Account(limits=replace(LIMITS, backoff_base_ms=0))


def test_each_failure_doubles_the_wait() -> None:
    account = Account()
    for wait_ms in (200, 400, 800, 1600):
        account.fail(1)
        assert account.wait() == timedelta(milliseconds=wait_ms)
        account.passes(milliseconds=wait_ms)
    account.fail(1)
    assert account.wait() == LOCKOUT


def test_a_backoff_is_never_longer_than_a_lockout() -> None:
    assert backoff(1000, replace(LIMITS, backoff_base_ms=60_000, max_failures=1000)) == LOCKOUT


def test_a_backoff_ends_with_the_count() -> None:
    account = Account(limits=replace(LIMITS, backoff_base_ms=60_000, max_failures=50, lockout_seconds=100))
    first = account.admitted()
    account.passes(seconds=90)
    account.settle(first, Outcome.FAILED)
    assert account.wait() == timedelta(seconds=10)


def test_an_unknown_outcome_settled_after_its_expiry_takes_nothing_back(account: Account) -> None:
    late = account.admitted()
    account.passes(seconds=300)
    account.fail(4)
    account.settle(late, Outcome.UNKNOWN)
    account.fail(1)
    assert account.wait() == LOCKOUT


def test_an_unknown_outcome_does_not_take_back_a_backoff() -> None:
    account = Account()
    first, second = account.admitted(), account.admitted()
    account.settle(first, Outcome.FAILED)
    account.settle(second, Outcome.UNKNOWN)
    assert account.wait()


class TestUnknownAddresses:
    def test_one_failure_fewer_is_no_attack_yet(self, account: Account) -> None:
        account.is_attacked()
        account.rows[EVERYWHERE] = replace(account.rows[EVERYWHERE], failures=49)
        account.fail(2, ELSEWHERE)

    def test_the_attack_is_over_a_lockout_after_its_last_failure(self, account: Account) -> None:
        account.is_attacked()
        account.passes(seconds=299)
        account.fail(1, ELSEWHERE)
        account.passes(seconds=299)
        account.fail(1, "198.51.100.8")
        assert account.wait("198.51.100.8")
        account.passes(seconds=300)
        account.fail(5, ELSEWHERE)

    def test_logins_that_succeed_do_not_prolong_an_attack(self, account: Account) -> None:
        account.is_attacked()
        account.passes(seconds=299)
        account.attempt(Outcome.SUCCEEDED)
        account.passes(seconds=1)
        account.fail(5, ELSEWHERE)

    @pytest.mark.parametrize(("age", "failures"), [(KNOWN_FOR - timedelta(seconds=1), 5), (KNOWN_FOR, 1)])
    def test_an_address_is_known_for_thirty_days(self, account: Account, age: timedelta, failures: int) -> None:
        account.attempt(Outcome.SUCCEEDED)
        assert account.rows[HOME].expires_at == account.now + KNOWN_FOR
        account.now += age
        account.is_attacked()
        account.fail(failures)
        assert account.wait()


LIMITS_OF_ANY_KIND = st.builds(
    LoginLimits,
    max_failures=st.integers(1, 8),
    lockout_seconds=st.integers(1, 600),
    backoff_base_ms=st.sampled_from([0, 1, 200, 60_000]),
)
# What is tried: how long after the one before, how long until it is settled (None: never), and how.
GUESSES = st.lists(
    st.tuples(
        st.floats(0, 400),
        st.none() | st.floats(0, 9),
        st.sampled_from([Outcome.FAILED, Outcome.FAILED, Outcome.UNKNOWN]),
    ),
    max_size=60,
)


def guess(account: Account, guesses: list[tuple[float, float | None, Outcome]]) -> Iterator[tuple[datetime, Outcome]]:
    """Make them, settle each when it is due; yields when each that passed was made, and what comes of it."""
    due: list[tuple[datetime, Reservation, Outcome]] = []
    for pause, delay, outcome in guesses:
        then = account.now + timedelta(seconds=pause)
        for settlement in sorted((each for each in due if each[0] <= then), key=lambda each: each[0]):
            due.remove(settlement)
            account.now = settlement[0]
            account.settle(settlement[1], settlement[2])
        account.now = then
        decision = account.reserve()
        if isinstance(decision, Reservation):
            yield then, Outcome.FAILED if delay is None else outcome
            if delay is not None:
                due.append((then + timedelta(seconds=delay), decision, outcome))


@given(limits=LIMITS_OF_ANY_KIND, guesses=GUESSES)
def test_however_guesses_overlap_no_more_are_judged_in_a_lockout_than_may_fail(
    limits: LoginLimits, guesses: list[tuple[float, float | None, Outcome]]
) -> None:
    judged = [at for at, outcome in guess(Account(limits), guesses) if outcome is Outcome.FAILED]
    lockout = timedelta(seconds=limits.lockout_seconds)
    for first, one_too_many in zip(judged, judged[limits.max_failures :], strict=False):
        assert one_too_many - first >= lockout


@given(limits=LIMITS_OF_ANY_KIND, guesses=GUESSES)
def test_who_waits_as_long_as_told_in_whole_seconds_passes(
    limits: LoginLimits, guesses: list[tuple[float, float | None, Outcome]]
) -> None:
    account = Account(limits)
    list(guess(account, guesses))
    decision = account.reserve()
    if isinstance(decision, timedelta):
        assert timedelta(0) < decision <= timedelta(seconds=limits.lockout_seconds)
        account.passes(seconds=ceil(decision.total_seconds()))
        account.admitted()


@given(limits=LIMITS_OF_ANY_KIND, elsewhere=st.lists(st.tuples(st.integers(0, 30), st.booleans()), max_size=200))
def test_whatever_strangers_do_elsewhere_a_known_address_keeps_all_its_attempts(
    limits: LoginLimits, elsewhere: list[tuple[int, bool]]
) -> None:
    account = Account(replace(limits, backoff_base_ms=0))
    account.attempt(Outcome.SUCCEEDED)
    for number, fails in elsewhere:
        decision = account.reserve(f"203.0.113.{number}")
        if isinstance(decision, Reservation):
            account.settle(decision, Outcome.FAILED if fails else Outcome.UNKNOWN, f"203.0.113.{number}")
    account.fail(limits.max_failures - 1)
    account.attempt(Outcome.SUCCEEDED)


@pytest.mark.attack("logins")
@pytest.mark.parametrize("variant", ["SAM.STRAßE@EXAMPLE.COM", "sam.strasse@example.com"])
def test_emails_that_fold_to_the_same_text_are_one_account(variant: str) -> None:
    assert account_of(variant) == account_of("sam.straße@example.com")


@given(email=st.emails())
def test_no_tenant_that_compares_in_lower_case_has_more_accounts_than_are_counted(email: str) -> None:
    assert account_of(email) == account_of(email.lower()) == account_of(email.upper())
    assert account_of(email) != account_of(f"x{email}")

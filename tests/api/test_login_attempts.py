"""What is kept of login attempts: what counts as what, what it costs, and that it goes again."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, insert, select, text

from app.auth import login_attempts, throttle
from app.database import transaction
from app.errors import InvalidCredentials, Unavailable
from app.models import LoginAttempts
from app.settings import Settings
from tests.conftest import StatementCounter
from tests.support.logins import (
    HOME,
    LOCKOUT_SECONDS,
    MAX_FAILURES,
    WRONG,
    Logins,
    assert_refused,
    count_rows,
    row_of,
    time_passes,
)
from tests.support.processes.tenant import PASSWORD, TenantProcess

Counting = Callable[[], AbstractContextManager[StatementCounter]]
SHARE = login_attempts.MAX_FAILING_ROWS // login_attempts.SLOTS


class TestOutcomes:
    @pytest.mark.parametrize("mode", ["down", "error", "garbage", "wrong_shape", "rate_limited"])
    def test_what_the_tenant_does_not_judge_is_not_counted(
        self, logins: Logins, tenant: TenantProcess, email: str, mode: str
    ) -> None:
        logins.fail(MAX_FAILURES - 1, email)
        tenant.fault("token", mode)
        for _ in range(MAX_FAILURES + 1):
            assert logins.attempt(email).status_code in (429, 503)
        assert logins.judged() == 2 * MAX_FAILURES
        assert row_of(email, HOME).failures == row_of(email).failures == MAX_FAILURES - 1
        tenant.reset()
        assert logins.attempt(email).status_code == 200

    @pytest.mark.attack("logins")
    def test_an_account_that_the_tenant_does_not_let_in_clears_nothing_and_makes_nothing_familiar(
        self, logins: Logins, tenant: TenantProcess, email: str
    ) -> None:
        logins.fail(MAX_FAILURES - 1, email)
        tenant.control("POST", f"users/{email}", {"blocked": True})
        assert logins.attempt(email).status_code == 403
        time_passes(10)
        assert_refused(logins.attempt(email))
        assert row_of(email, HOME).succeeded_at is None

    def test_a_double_click_fails_neither(self, client: FlaskClient, settings: Settings, email: str) -> None:
        first, second = (throttle.attempt(settings.logins, email=email, client_address=HOME) for _ in range(2))
        with first, second:
            pass
        assert row_of(email, HOME).failures == row_of(email).failures == 0

    @pytest.mark.attack("logins")
    def test_where_nothing_can_be_counted_nobody_may_guess(self, logins: Logins, email: str) -> None:
        with transaction() as session:
            session.execute(text("ALTER TABLE login_attempts RENAME TO elsewhere"))
        assert logins.attempt(email).status_code == 500
        assert logins.judged() == 0

    @pytest.mark.parametrize("error", [None, InvalidCredentials("no"), Unavailable("away")])
    def test_the_tenant_s_answer_stands_where_it_cannot_be_noted(
        self, client: FlaskClient, settings: Settings, email: str, error: Exception | None
    ) -> None:
        def ask() -> str:
            with throttle.attempt(settings.logins, email=email, client_address=HOME), transaction() as session:
                session.execute(text("ALTER TABLE login_attempts RENAME TO elsewhere"))
            if error is not None:
                raise error
            return "tokens"

        if error is None:
            assert ask() == "tokens"
        else:
            with pytest.raises(type(error)):
                ask()
        with transaction() as session:
            assert session.execute(text("SELECT max(failures) FROM elsewhere")).scalar_one() == 1


class TestCost:
    @pytest.mark.parametrize(("password", "first", "later"), [(WRONG, 5, 4), (PASSWORD, 6, 4)], ids=["wrong", "right"])
    def test_an_attempt_costs_a_few_statements(
        self, logins: Logins, counting_statements: Counting, email: str, password: str, first: int, later: int
    ) -> None:
        costs = []
        for _ in range(3):
            with counting_statements() as counted:
                logins.attempt(email, password)
            costs.append([each for each in counted.statements if "login_attempts" in each])
            time_passes(10)
        assert [len(each) for each in costs] == [first, later, later], costs

    def test_a_refusal_costs_one(self, logins: Logins, counting_statements: Counting, email: str) -> None:
        logins.fail(MAX_FAILURES, email)
        with counting_statements() as counted:
            assert_refused(logins.attempt(email))
        assert len(counted) == 1, counted.statements


class TestRemoval:
    def add(self, rows: int, *, seconds_left: int, **values: Any) -> None:
        """So many rows, each of an account of its own."""
        until = func.clock_timestamp() + timedelta(seconds=seconds_left)
        row = {"attempts": 1, "failures": 1, "counted_until": until, "expires_at": until, "address": HOME, **values}
        with transaction() as session:
            added = [{**row, "account": uuid4().bytes * 2} for _ in range(rows)]
            session.execute(insert(LoginAttempts).values(added))

    def test_what_expired_goes_as_new_rows_come(self, logins: Logins, email: str) -> None:
        self.add(50, seconds_left=-1)
        self.add(50, seconds_left=60)
        counts = []
        for number in range(4):
            logins.attempt(f"{number}{email}", WRONG)
            counts.append(count_rows())
        assert counts == [100 + 2 - 20, 100 + 4 - 40, 100 + 6 - 50, 100 + 8 - 50]

    def test_what_expired_counts_as_absent_while_it_is_still_there(self, logins: Logins, email: str) -> None:
        logins.fail(MAX_FAILURES, email)
        time_passes(LOCKOUT_SECONDS)
        logins.fail(1, email)
        assert (row_of(email, HOME).attempts, row_of(email, HOME).failures) == (1, 1)

    @pytest.fixture
    def all_in_slot_7(self, client: FlaskClient) -> None:
        """New rows come into one slot."""
        with transaction() as session:
            session.execute(text("ALTER TABLE login_attempts ALTER slot SET DEFAULT 7"))

    @pytest.mark.attack("logins")
    def test_a_slot_holds_no_more_than_its_share_and_lets_go_what_would_have_expired_first(
        self, all_in_slot_7: None, logins: Logins, email: str
    ) -> None:
        self.add(100, seconds_left=60)
        self.add(SHARE, seconds_left=120)
        self.add(50, seconds_left=60, slot=8)
        logins.attempt(email, WRONG)
        in_slot = LoginAttempts.slot == 7
        assert count_rows(in_slot) == SHARE
        assert count_rows(in_slot, LoginAttempts.expires_at < func.clock_timestamp() + timedelta(seconds=90)) == 0
        assert count_rows(LoginAttempts.slot == 8) == 50

    @pytest.mark.attack("logins")
    def test_no_attempt_is_pushed_out_by_its_own_cleaning(
        self, all_in_slot_7: None, logins: Logins, email: str
    ) -> None:
        # As if the lock-out had been a day before it was set to five minutes: all others are kept for longer.
        self.add(SHARE, seconds_left=86_400)
        logins.attempt(email, WRONG)
        assert row_of(email, HOME).failures == row_of(email).failures == 1

    def test_familiar_addresses_are_not_pushed_out_by_failures(
        self, all_in_slot_7: None, logins: Logins, email: str
    ) -> None:
        assert logins.attempt(email).status_code == 200
        time_passes(30 * 86_400 - 3600)  # nothing else is as near to its end
        self.add(2 * SHARE, seconds_left=86_400)
        logins.attempt(f"un{email}", WRONG)
        assert row_of(email, HOME).succeeded_at is not None
        assert count_rows() <= SHARE + 3

    @pytest.mark.attack("logins")
    def test_an_account_has_a_bounded_number_of_familiar_addresses_the_latest(
        self, client: FlaskClient, settings: Settings, email: str
    ) -> None:
        most = login_attempts.MAX_FAMILIAR_ADDRESSES
        for number in range(most + 5):
            with throttle.attempt(settings.logins, email=email, client_address=f"203.0.113.{number}"):
                pass
            time_passes(1)
        with transaction() as session:
            of_account = LoginAttempts.account == throttle.account_of(email)
            kept = session.scalars(select(LoginAttempts.address).where(of_account, LoginAttempts.address != "")).all()
        assert set(kept) == {f"203.0.113.{number}" for number in range(5, most + 5)}

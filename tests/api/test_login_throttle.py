"""The login throttle over HTTP: its lockouts, what a response tells, which outcomes count, and its table."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select, text, update
from structlog.typing import EventDict

from app.auth import login_attempts, login_throttle
from app.db.session import transaction
from app.errors import InvalidCredentials, Unavailable
from app.models import LoginAttempts
from app.observability import metrics
from app.settings import Settings
from tests.conftest import StatementCounter
from tests.support.logins import (
    HOME,
    LOCKOUT_SECONDS,
    MAX_FAILURES,
    WRONG,
    Logins,
    assert_refused,
    flood,
    row_of,
    time_passes,
)
from tests.support.processes.tenant import PASSWORD, TenantProcess
from tests.support.rows import count_rows

# Headers that go by the clock, or by how often this address has asked for anything.
TOLD_BY_TIME = ("Date", "X-Request-Id", "Retry-After", "X-RateLimit-Remaining", "X-RateLimit-Reset")
Counting = Callable[[], AbstractContextManager[StatementCounter]]


class TestGuessing:
    @pytest.mark.attack("logins")
    def test_the_right_password_is_refused_during_the_lockout_as_a_wrong_one_is(
        self, logins: Logins, email: str
    ) -> None:
        logins.fail(MAX_FAILURES, email)
        right, wrong = logins.attempt(email), logins.attempt(email, WRONG)
        assert assert_refused(right) == assert_refused(wrong)
        assert list(right.headers.keys()) == list(wrong.headers.keys())
        assert logins.judged() == MAX_FAILURES

    def test_whoever_waits_as_long_as_told_gets_in(self, logins: Logins, email: str) -> None:
        logins.fail(MAX_FAILURES, email)
        time_passes(int(logins.attempt(email).headers["Retry-After"]))
        assert logins.attempt(email).status_code == 200

    @pytest.mark.attack("logins")
    def test_guessing_on_during_the_lockout_does_not_prolong_it(self, logins: Logins, email: str) -> None:
        logins.fail(MAX_FAILURES, email)
        for _ in range(10):
            time_passes(20)
            logins.attempt(email, WRONG)
        assert_refused(logins.attempt(email), seconds=LOCKOUT_SECONDS - 200)

    def test_after_a_failure_the_next_attempt_waits(self, logins: Logins, email: str, settings: Settings) -> None:
        logins.attempt(email, WRONG)
        pair = row_of(email, HOME)
        assert pair.blocked_until is not None
        reserved_at = pair.counted_until - timedelta(seconds=LOCKOUT_SECONDS)
        assert pair.blocked_until >= reserved_at + timedelta(milliseconds=settings.logins.backoff_base_ms)
        time_passes(-5)  # so that it is not over before this machine gets to it
        assert_refused(logins.attempt(email), seconds=6)
        assert logins.judged() == 1

    def test_a_login_clears_what_was_counted(self, logins: Logins, email: str) -> None:
        for _ in range(3):
            logins.fail(MAX_FAILURES - 1, email)
            assert logins.attempt(email).status_code == 200

    def test_other_accounts_at_the_same_address_are_not_held_up(self, logins: Logins, email: str) -> None:
        logins.fail(MAX_FAILURES, f"un-{email}")
        assert logins.attempt(email).status_code == 200


class TestDisguises:
    @pytest.mark.attack("logins")
    @pytest.mark.parametrize(
        "disguise",
        [
            pytest.param(str.upper, id="capitals"),
            pytest.param(str.title, id="title"),
            pytest.param(lambda email: f" {email}\t", id="blanks"),
            pytest.param(lambda email: email.replace("k", "\N{KELVIN SIGN}"), id="kelvin"),
            pytest.param(lambda email: email.replace("s", "\N{LATIN SMALL LETTER LONG S}"), id="long s"),
            pytest.param(lambda email: "".join(chr(ord(letter) + 0xFEE0) for letter in email), id="wide"),
            pytest.param(lambda email: email.replace("é", "e\u0301"), id="parts"),
            pytest.param(lambda email: email.replace("example.com", "EXAMPLE。com"), id="dot"),
            pytest.param(lambda email: f"{email}.", id="root"),
            pytest.param(lambda email: f"Sam <{email}>", id="name"),
            pytest.param(lambda email: email.replace("@", "\u200d@"), id="joiner"),
            pytest.param(lambda email: f'"{email.split("@")[0]}"@example.com', id="quotes"),
        ],
    )
    def test_an_email_in_disguise_is_the_same_account_or_none(
        self, logins: Logins, disguise: Callable[[str], str]
    ) -> None:
        email = f"ké-sk{uuid4().hex[:8]}@example.com"
        logins.fail(MAX_FAILURES, email)
        assert logins.attempt(disguise(email), WRONG).status_code in (400, 429)
        assert logins.judged() == MAX_FAILURES

    @pytest.mark.attack("logins")
    @pytest.mark.parametrize(
        "name",
        ["X-Forwarded-For", "X-Real-IP", "Forwarded", "True-Client-IP", "CF-Connecting-IP", "auth0-forwarded-for"],
    )
    def test_an_address_that_is_only_said_changes_nothing(self, logins: Logins, email: str, name: str) -> None:
        for number in range(MAX_FAILURES + 3):
            address = f"203.0.113.{number}"
            logins.attempt(email, WRONG, **{name: f"for={address}" if name == "Forwarded" else address})
            time_passes(10)
        assert logins.judged() == MAX_FAILURES
        assert row_of(email, HOME).attempts == MAX_FAILURES + 3

    @pytest.mark.attack("logins")
    def test_all_addresses_of_one_ipv6_subscriber_are_one(self, logins: Logins, email: str) -> None:
        for number in range(MAX_FAILURES + 3):
            logins.attempt(email, WRONG, f"2001:db8:0:1:{number:x}::{number + 1:x}")
            time_passes(10)
        assert logins.judged() == MAX_FAILURES
        assert logins.attempt(email, PASSWORD, "2001:db8:0:2::1").status_code == 200


class TestManyAddresses:
    @pytest.mark.attack("logins")
    def test_credential_stuffing_gets_one_guess_from_each_further_address(self, logins: Logins, email: str) -> None:
        for number in range(10):
            logins.fail(MAX_FAILURES, email, f"203.0.113.{number}")
            time_passes(-10 * MAX_FAILURES)
        for number in range(10, 20):
            for _ in range(4):
                logins.attempt(email, WRONG, f"203.0.113.{number}")
                time_passes(1)  # longer than the back-off
        assert logins.judged() == 10 * MAX_FAILURES + 10

    @pytest.fixture
    def attacked(self, logins: Logins, email: str) -> str:
        """An account that so many others have just guessed at."""
        logins.fail(1, email, "203.0.113.1")
        enough = 10 * MAX_FAILURES
        with transaction() as session:
            is_account = LoginAttempts.address == login_attempts.ALL_ADDRESSES
            session.execute(update(LoginAttempts).where(is_account).values(attempts=enough, failures=enough))
        return email

    @pytest.mark.attack("logins")
    def test_nobody_elsewhere_takes_an_attempt_from_where_the_owner_has_been(
        self, logins: Logins, request: pytest.FixtureRequest, email: str
    ) -> None:
        assert logins.attempt(email).status_code == 200
        request.getfixturevalue("attacked")
        logins.fail(MAX_FAILURES - 1, email)
        assert logins.attempt(email).status_code == 200

    @pytest.mark.attack("logins")
    def test_nobody_elsewhere_keeps_the_owner_out_of_a_new_address(self, logins: Logins, attacked: str) -> None:
        assert logins.attempt(attacked).status_code == 200
        logins.fail(MAX_FAILURES - 1, attacked)
        assert logins.attempt(attacked).status_code == 200


class TestWhatIsTold:
    @pytest.mark.attack("logins")
    def test_a_known_and_an_unknown_email_are_told_and_cost_the_same(
        self, logins: Logins, counting_statements: Counting, email: str
    ) -> None:
        def course(address: str) -> list[Any]:
            """All that can be seen of guessing until well into the lock-out."""
            seen: list[Any] = []
            for _ in range(MAX_FAILURES + 3):
                before = logins.judged()
                with counting_statements() as counted:
                    answer = logins.attempt(address, WRONG)
                body = {**(answer.json or {}), "request_id": ""}
                headers = {name: "" if name in TOLD_BY_TIME else value for name, value in answer.headers}
                seen.append((answer.status_code, body, headers, len(counted), logins.judged() - before))
                time_passes(10)
            return seen

        known, unknown = course(email), course(f"un{email[2:]}")
        assert known == unknown
        assert [status for status, *_ in known] == [401] * MAX_FAILURES + [429] * 3

    def test_a_lockout_is_logged_and_counted_once_and_without_the_email(
        self, logins: Logins, logged: list[EventDict], email: str
    ) -> None:
        counted = metrics.REGISTRY.get_sample_value("gearyard_login_lockouts_total") or 0
        logins.fail(MAX_FAILURES, email)
        logins.attempt(email, WRONG)
        assert metrics.REGISTRY.get_sample_value("gearyard_login_lockouts_total") == counted + 1
        (line,) = [entry for entry in logged if entry["event"] == "login_locked_out"]
        assert (line["address"], line["seconds"]) == (HOME, LOCKOUT_SECONDS)
        assert login_throttle.account_of(email).hex().startswith(line["account"])
        assert len(line["account"]) == 12
        assert email not in str(logged)

    def test_neither_email_nor_password_is_kept(self, logins: Logins, email: str) -> None:
        logins.attempt(email, WRONG)
        with transaction() as session:
            kept = session.execute(
                text("SELECT string_agg(login_attempts::text, ' ') FROM login_attempts")
            ).scalar_one()
        assert email.partition("@")[0] not in kept
        assert WRONG not in kept


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
        first, second = (login_throttle.attempt(settings.logins, email=email, client_address=HOME) for _ in range(2))
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
            with login_throttle.attempt(settings.logins, email=email, client_address=HOME), transaction() as session:
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
    def test_what_expired_counts_as_absent_while_it_is_still_there(self, logins: Logins, email: str) -> None:
        logins.fail(MAX_FAILURES, email)
        time_passes(LOCKOUT_SECONDS)
        logins.fail(1, email)
        assert (row_of(email, HOME).attempts, row_of(email, HOME).failures) == (1, 1)

    @pytest.mark.attack("logins")
    def test_a_flood_of_failures_removes_neither_counters_nor_known_addresses(self, logins: Logins, email: str) -> None:
        assert logins.attempt(email).status_code == 200
        time_passes(30 * 86_400 - 3600)  # no other row expires as soon
        logins.fail(MAX_FAILURES - 1, f"un{email}")
        flood(1_000, seconds_left=86_400)
        logins.attempt(f"other-{email}", WRONG)
        assert row_of(email, HOME).succeeded_at is not None
        assert row_of(f"un{email}", HOME).failures == MAX_FAILURES - 1

    @pytest.mark.attack("logins")
    def test_a_new_row_deletes_more_expired_rows_than_an_attempt_adds(self, logins: Logins, email: str) -> None:
        flood(login_attempts.EXPIRED_BATCH_ROWS + 5, seconds_left=-1)
        logins.attempt(email, WRONG)
        assert count_rows(LoginAttempts) == 5 + 2

    @pytest.mark.attack("logins")
    def test_an_account_has_a_bounded_number_of_familiar_addresses_the_latest(
        self, client: FlaskClient, settings: Settings, email: str
    ) -> None:
        most = login_attempts.MAX_KNOWN_ADDRESSES
        for number in range(most + 5):
            with login_throttle.attempt(settings.logins, email=email, client_address=f"203.0.113.{number}"):
                pass
            time_passes(1)
        with transaction() as session:
            of_account = LoginAttempts.account == login_throttle.account_of(email)
            kept = session.scalars(select(LoginAttempts.address).where(of_account, LoginAttempts.address != "")).all()
        assert set(kept) == {f"203.0.113.{number}" for number in range(5, most + 5)}

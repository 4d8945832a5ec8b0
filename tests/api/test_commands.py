"""The commands of an operator."""

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text

from app.common.request_id import current_request_id
from app.db.session import transaction
from app.models import LoginAttempts, Role
from tests.support.admin_api import audit_log, role_of
from tests.support.rows import Person, change_user, count_rows


def promote(app: Flask, *arguments: str) -> Any:
    current_request_id.set(None)  # a command runs in a process that answers no requests
    return app.test_cli_runner().invoke(args=["users", "promote", *arguments])


@pytest.mark.parametrize("role", [role.value for role in Role])
def test_promote_gives_a_role_and_is_logged_without_an_actor(
    app: Flask, client: FlaskClient, renter: Person, role: str
) -> None:
    for _ in range(2):
        done = promote(app, renter.email.upper(), role)
        assert done.exit_code == 0, done.output
        assert role in done.output
    assert role_of(renter.id) == role
    entry = {"actor_id": None, "request_id": None, "action": "user.role_changed", "subject_id": renter.id}
    changed = [entry | {"before": {"role": "renter"}, "after": {"role": role}}]
    assert audit_log() == (changed if role != "renter" else [])


@pytest.mark.attack("accounts")
@pytest.mark.parametrize("role", ["renter", "owner"])
def test_promote_does_not_demote_the_last_admin(app: Flask, client: FlaskClient, admin: Person, role: str) -> None:
    done = promote(app, admin.email, role)
    assert done.exit_code == 1
    assert "last admin" in done.output
    assert (role_of(admin.id), audit_log()) == ("admin", [])


def test_promote_refuses_an_unverified_email(app: Flask, client: FlaskClient, renter: Person) -> None:
    change_user(renter.id, email_verified=False)
    done = promote(app, renter.email, "admin")
    assert done.exit_code == 1
    assert "verified" in done.output
    assert role_of(renter.id) == "renter"


@pytest.mark.attack("accounts")
def test_promote_refuses_an_email_that_looks_alike(app: Flask, client: FlaskClient, renter: Person) -> None:
    change_user(renter.id, email="v\u0130ctim@example.com")
    assert promote(app, "victim@example.com", "admin").exit_code == 1
    assert role_of(renter.id) == "renter"


@pytest.mark.parametrize("arguments", [["nobody@example.com", "admin"], ["person@example.com", "emperor"], []])
def test_promote_says_what_is_wrong_in_a_line(app: Flask, client: FlaskClient, arguments: list[str]) -> None:
    done = promote(app, *arguments)
    assert done.exit_code != 0
    assert "Traceback" not in done.output
    assert done.output.strip().splitlines()[-1].startswith("Error:")


def test_maintenance_removes_what_expired_and_nothing_else(app: Flask, client: FlaskClient) -> None:
    with transaction() as session:
        session.execute(
            text(
                "INSERT INTO login_attempts (account, address, counted_until, expires_at)"
                " SELECT decode(lpad(to_hex(n), 64, '0'), 'hex'), '', t, t FROM generate_series(1, 2500) AS n,"
                " LATERAL (SELECT now() + (CASE WHEN n <= 2400 THEN -1 ELSE 1 END) * interval '1 hour') AS x(t)"
            )
        )
    done = app.test_cli_runner().invoke(args=["maintenance"])
    assert done.exit_code == 0
    assert done.output.splitlines()[0] == "login attempts: 2400 expired rows removed"
    assert count_rows(LoginAttempts) == 100


def test_maintenance_that_fails_says_so(app: Flask, client: FlaskClient) -> None:
    with transaction() as session:
        session.execute(text("ALTER TABLE login_attempts RENAME TO moved"))
    done = app.test_cli_runner().invoke(args=["maintenance"])
    assert done.exit_code == 1
    assert done.output.strip().splitlines()[-1] == "Error: failed: login attempts"

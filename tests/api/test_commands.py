"""What an operator does from a shell."""

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text

from app.database import transaction
from app.models import Role, User
from tests.support.rows import Person


def role_of(client: FlaskClient, person: Person) -> str:
    answer = client.get("/api/v1/auth/me", headers=person.headers).json
    assert answer is not None
    return str(answer["role"])


@pytest.mark.parametrize("role", [role.value for role in Role])
def test_promote_gives_a_role_at_once(app: Flask, client: FlaskClient, renter: Person, role: str) -> None:
    done = app.test_cli_runner().invoke(args=["users", "promote", renter.email.upper(), role])
    assert done.exit_code == 0, done.output
    assert role in done.output
    assert role_of(client, renter) == role


def test_promote_refuses_an_unverified_email(app: Flask, client: FlaskClient, renter: Person) -> None:
    with transaction() as session:
        session.get_one(User, renter.id).email_verified = False
    done = app.test_cli_runner().invoke(args=["users", "promote", renter.email, "admin"])
    assert done.exit_code == 1
    assert "verified" in done.output
    assert role_of(client, renter) == "renter"


@pytest.mark.parametrize("arguments", [["nobody@example.com", "admin"], ["person@example.com", "emperor"], []])
def test_promote_says_what_is_wrong_in_a_line(app: Flask, client: FlaskClient, arguments: list[str]) -> None:
    done = app.test_cli_runner().invoke(args=["users", "promote", *arguments])
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
    with transaction() as session:
        assert session.scalar(text("SELECT count(*) FROM login_attempts")) == 100


def test_maintenance_that_fails_says_so(app: Flask, client: FlaskClient) -> None:
    with transaction() as session:
        session.execute(text("ALTER TABLE login_attempts RENAME TO moved"))
    done = app.test_cli_runner().invoke(args=["maintenance"])
    assert done.exit_code == 1
    assert done.output.strip().splitlines()[-1] == "Error: failed: login attempts"

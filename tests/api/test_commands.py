"""What an operator does from a shell."""

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.database import transaction
from app.models import Role, User
from tests.factories import Person


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

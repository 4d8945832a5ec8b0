"""Requests of the account routes to the app in this process, and the users they lead to."""

from typing import Any
from uuid import UUID

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.db.session import transaction
from app.models import User
from tests.support.assertions import assert_ok
from tests.support.processes.tenant import PASSWORD

AUTH = "/api/v1/auth"


def post(client: FlaskClient, action: str, **body: Any) -> TestResponse:
    return client.post(f"{AUTH}/auth0/{action}", json=body)


def sign_up(client: FlaskClient, email: str, password: str = PASSWORD, **more: Any) -> dict[str, Any]:
    return dict(assert_ok(post(client, "signup", email=email, password=password, **more), 201))


def log_in(client: FlaskClient, email: str, password: str = PASSWORD) -> dict[str, Any]:
    return dict(assert_ok(post(client, "login", email=email, password=password)))


def ask_me(client: FlaskClient, token: str) -> TestResponse:
    return client.get(f"{AUTH}/me", headers={"Authorization": f"Bearer {token}"})


def me(client: FlaskClient, token: str) -> dict[str, Any]:
    return dict(assert_ok(ask_me(client, token)))


def user_id(client: FlaskClient, token: str) -> str:
    return str(me(client, token)["id"])


def user_of(id_: str) -> User:
    with transaction() as session:
        return session.get_one(User, UUID(id_))

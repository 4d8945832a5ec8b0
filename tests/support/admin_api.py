"""Requests of an admin, and the audit log."""

from typing import Any
from uuid import UUID

from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from app.db.session import transaction
from app.models import AuditEntry, User
from tests.support.rows import Person

ADMIN = "/api/v1/admin"


def change_role(client: FlaskClient, who: Person, user_id: UUID, role: Any, **headers: str) -> TestResponse:
    path = f"{ADMIN}/users/{user_id}/role"
    return client.put(path, json={"role": role}, headers=who.headers | headers)


def delete_user(client: FlaskClient, who: Person, user_id: UUID, **headers: str) -> TestResponse:
    return client.delete(f"{ADMIN}/users/{user_id}", headers=who.headers | headers)


def role_of(user_id: UUID) -> str:
    with transaction() as session:
        return session.get_one(User, user_id).role.value


def audit_log() -> list[dict[str, Any]]:
    """The entries without id and time, oldest first."""
    with transaction() as session:
        entries = session.scalars(select(AuditEntry).order_by(AuditEntry.id)).all()
    names = ("actor_id", "action", "subject_id", "before", "after", "request_id")
    return [{name: getattr(entry, name) for name in names} for entry in entries]

"""The audit log: changes by admins and operators, each inserted in the transaction that makes it."""

from collections.abc import Mapping
from enum import StrEnum
from uuid import UUID

from sqlalchemy import insert
from sqlalchemy.orm import Session

from app.common.request_id import current_request_id
from app.models import AuditEntry


class Action(StrEnum):
    """The kinds of changes. Clients filter by these values, so none is ever renamed."""

    USER_CHANGED = "user.changed"
    USER_ROLE_CHANGED = "user.role_changed"
    USER_DELETED = "user.deleted"
    EQUIPMENT_CHANGED = "equipment.changed"
    EQUIPMENT_DELETED = "equipment.deleted"
    EQUIPMENT_AVAILABILITY_CHANGED = "equipment.availability_changed"
    PHOTO_ADDED = "equipment.photo_added"
    PHOTO_REMOVED = "equipment.photo_removed"
    CATEGORY_CREATED = "category.created"
    CATEGORY_CHANGED = "category.changed"
    CATEGORY_DELETED = "category.deleted"


Details = Mapping[str, str | int | bool | None]
OPERATOR = None  # the actor of a command, which has neither a user id nor a request id


def changed_fields(values: Mapping[str, object]) -> Details:
    """The names of the changed fields, without their values, which are personal data."""
    return {"fields": ", ".join(sorted(values))}


def record(
    session: Session,
    actor_id: UUID | None,
    action: Action,
    subject_id: UUID,
    *,
    before: Details | None = None,
    after: Details | None = None,
) -> None:
    """Insert an entry of the current request in the transaction of the change.

    An entry outlives its subject, so `before` and `after` hold no more personal data than the change needs.
    """
    session.execute(
        insert(AuditEntry).values(
            actor_id=actor_id,
            request_id=None if actor_id is OPERATOR else current_request_id.get(),
            action=action.value,
            subject_id=subject_id,
            before=before,
            after=after,
        )
    )

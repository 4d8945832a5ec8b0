"""The audit log: who changed what of somebody else's, written in the transaction that changes it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from sqlalchemy import insert
from sqlalchemy.orm import Session
from structlog.contextvars import get_contextvars

from app.models import AuditEntry


class Action(StrEnum):
    """What was done to what: the words that the log is searched by, so none of them is ever renamed."""

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


@dataclass(frozen=True, kw_only=True)
class Author:
    """Who makes a change, and by which request."""

    user_id: UUID | None
    request_id: str | None


def author(user_id: UUID) -> Author:
    """The user as the author of a change, by the request that is being served."""
    return Author(user_id=user_id, request_id=get_contextvars().get("request_id"))


# Whoever has a shell on the server: the service cannot tell who that is.
OPERATOR = Author(user_id=None, request_id=None)


def names(values: Mapping[str, object]) -> Details:
    """Which fields were changed, where what is in them is a person's own."""
    return {"fields": ", ".join(sorted(values))}


def record(
    session: Session,
    author: Author,
    action: Action,
    subject_id: UUID,
    *,
    before: Details | None = None,
    after: Details | None = None,
) -> None:
    """Write a change down: there if it is committed, and not without it.

    An entry outlives what it tells of, so `before` and `after` hold what says what was done, and no more of a person.
    """
    session.execute(
        insert(AuditEntry).values(
            actor_id=author.user_id,
            request_id=author.request_id,
            action=action.value,
            subject_id=subject_id,
            before=dict(before) if before is not None else None,
            after=dict(after) if after is not None else None,
        )
    )

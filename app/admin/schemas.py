"""The schemas of moderation."""

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import marshmallow as ma
from marshmallow import ValidationError, fields, validate

from app.audit import Action
from app.equipment.schemas import MAX_DAILY_RATE
from app.models import Role
from app.paging import MAX_CURSOR_LENGTH, PageRequest
from app.web.pagination import page_length, page_number
from app.web.schemas import Body, Flag, Money, Query, Text

MAX_SEARCH_LENGTH = 254  # an e-mail's (RFC 5321)
MAX_MOMENT_LENGTH = 40


class Stats(ma.Schema):
    """How much there is, exactly."""

    total_users = fields.Integer(required=True)
    total_equipment = fields.Integer(required=True)
    available_equipment = fields.Integer(required=True)
    total_categories = fields.Integer(required=True)


class RoleChange(Body):
    """The role that a user is to have."""

    role = fields.Enum(Role, by_value=True, required=True)


class AvailabilityChange(Body):
    """Whether a listing is to be offered."""

    is_available = Flag(required=True)


class CategoryChanges(Body):
    """A category's name, and which one it is below; where that is not given, it stays where it is."""

    name = Text(min_length=2, max_length=100, required=True)
    parent_id = fields.UUID(allow_none=True, metadata={"description": "null: below none."})


class NewCategory(CategoryChanges):
    """A category to add; below none, where that is not said."""

    parent_id = fields.UUID(load_default=None, allow_none=True)


class User(ma.Schema):
    """A user as admins see one."""

    id = fields.UUID(required=True)
    email = fields.String(required=True, allow_none=True)
    role = fields.Enum(Role, by_value=True, required=True)
    username = fields.String(required=True)
    full_name = fields.String(required=True, allow_none=True)
    created_at = fields.AwareDateTime(required=True, format="iso")
    equipment_count = fields.Integer(required=True, metadata={"description": "How many listings are theirs."})


class ModeratedEquipment(ma.Schema):
    """A listing as admins see one."""

    id = fields.UUID(required=True)
    title = fields.String(required=True)
    owner_id = fields.UUID(required=True)
    owner_email = fields.String(required=True, allow_none=True)
    category_id = fields.UUID(required=True)
    category_name = fields.String(required=True)
    daily_rate = Money(maximum=MAX_DAILY_RATE, required=True)
    is_available = fields.Boolean(required=True)
    created_at = fields.AwareDateTime(required=True, format="iso")


class AuditLogEntry(ma.Schema):
    """Who changed what, and how it was before. What is a person's own is named, and not repeated."""

    id = fields.Integer(required=True)
    created_at = fields.AwareDateTime(required=True, format="iso")
    actor_id = fields.UUID(
        required=True, allow_none=True, metadata={"description": "null: an operator, from a shell on the server."}
    )
    actor_username = fields.String(
        required=True, allow_none=True, metadata={"description": "Their name of now; null once they are deleted."}
    )
    action = fields.String(required=True, metadata={"example": "category.changed"})
    subject_id = fields.UUID(required=True, metadata={"description": "Of what, or whom, was changed."})
    before = fields.Dict(required=True, allow_none=True)
    after = fields.Dict(required=True, allow_none=True)
    request_id = fields.String(required=True, allow_none=True)


class _NumberedPage(ma.Schema):
    """A page of a list, by its number."""

    total = fields.Integer(required=True, metadata={"description": "All that match, exactly."})
    page = fields.Integer(required=True)
    per_page = fields.Integer(required=True, attribute="limit")


class UserPage(_NumberedPage):
    """A page of the users."""

    users = fields.List(fields.Nested(User), required=True, attribute="items")


class ModeratedEquipmentPage(_NumberedPage):
    """A page of the listings."""

    equipment = fields.List(fields.Nested(ModeratedEquipment), required=True, attribute="items")


class AuditLogPage(_NumberedPage):
    """A page of the audit log."""

    entries = fields.List(fields.Nested(AuditLogEntry), required=True, attribute="items")
    next_cursor = fields.String(required=True, allow_none=True)


class _NumberedPageQuery(Query):
    page = page_number()
    per_page = page_length()

    @ma.post_load
    def split(self, data: dict[str, Any], **_: Any) -> tuple[dict[str, Any], PageRequest]:
        """Return the filters that are given, and the page."""
        page, limit, cursor = data.pop("page", 1), data.pop("per_page"), data.pop("cursor", None)
        return data, PageRequest(page=page, limit=limit, cursor=cursor)


def _search(where: str) -> Text:
    return Text(
        max_length=MAX_SEARCH_LENGTH,
        metadata={"description": f"A part of {where}, in any case; nothing is a wildcard."},
    )


class UserQuery(_NumberedPageQuery):
    """Which users."""

    search = _search("the e-mail, username or full name")
    role = fields.Enum(Role, by_value=True, metadata={"description": "In this role."})


class ModeratedEquipmentQuery(_NumberedPageQuery):
    """Which listings."""

    search = _search("the title, or of the owner's e-mail")
    owner_id = fields.UUID(metadata={"description": "Of this owner."})
    category_id = fields.UUID(metadata={"description": "This category and all below it."})
    is_available = fields.Boolean(metadata={"description": "Only what is on offer, or only what is not."})


class Moment(fields.AwareDateTime):
    """An RFC 3339 time, converted to UTC: PostgreSQL reads fewer offsets than Python."""

    def __init__(self, **options: Any) -> None:
        super().__init__(format="iso", **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> datetime:
        if len(str(value)) <= MAX_MOMENT_LENGTH:
            with suppress(OverflowError):  # outside the years 1 to 9999 in UTC
                return super()._deserialize(value, attr, data, **options).astimezone(UTC)
        raise self.make_error("invalid", input=value, obj_type=self.OBJ_TYPE)


class AuditLogQuery(_NumberedPageQuery):
    """Which entries of the audit log."""

    cursor = fields.String(
        validate=validate.Length(max=MAX_CURSOR_LENGTH),
        metadata={"description": "The `next_cursor` of the page before: what is written meanwhile moves nothing."},
    )
    actor_id = fields.UUID(metadata={"description": "By whom."})
    action = fields.Enum(Action, by_value=True, metadata={"description": "What was done to what."})
    subject_id = fields.UUID(metadata={"description": "What, or who, was changed."})
    since = Moment(metadata={"description": "From this time on."})
    until = Moment(metadata={"description": "Before this time."})

    @ma.validates_schema
    def what_goes_together(self, data: dict[str, Any], **_: Any) -> None:
        """Refuse two ways of paging, and an empty period."""
        if "page" in data and "cursor" in data:
            raise ValidationError("Give either page or cursor.", "cursor")
        if "since" in data and "until" in data and data["since"] > data["until"]:
            raise ValidationError("Must not be after until.", "since")

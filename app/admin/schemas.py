"""The schemas of moderation."""

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import marshmallow as ma
from marshmallow import ValidationError, fields, validate

from app.common.audit import Action
from app.common.paging import MAX_CURSOR_LENGTH, PageRequest
from app.equipment.schemas import MAX_DAILY_RATE
from app.models import Role
from app.web.pagination import LIMIT, PAGE
from app.web.schemas import Body, Flag, Money, Query, Text

MAX_SEARCH_LENGTH = 254  # an e-mail's (RFC 5321)
MAX_MOMENT_LENGTH = 40


class Stats(ma.Schema):
    """Exact counts."""

    total_users = fields.Integer(required=True)
    total_equipment = fields.Integer(required=True)
    available_equipment = fields.Integer(required=True)
    total_categories = fields.Integer(required=True)


class RoleChange(Body):
    """A user's new role."""

    role = fields.Enum(Role, by_value=True, required=True)


class AvailabilityChange(Body):
    """Whether a listing is available."""

    is_available = Flag(required=True)


class CategoryChanges(Body):
    """A category's name and parent. Without `parent_id` the parent stays the same."""

    name = Text(min_length=2, max_length=100, required=True)
    parent_id = fields.UUID(allow_none=True, metadata={"description": "null: a root category."})


class NewCategory(CategoryChanges):
    """A new category, by default without a parent."""

    parent_id = fields.UUID(load_default=None, allow_none=True)


class User(ma.Schema):
    """A user, as admins see it."""

    id = fields.UUID(required=True)
    email = fields.String(required=True, allow_none=True)
    role = fields.Enum(Role, by_value=True, required=True)
    username = fields.String(required=True)
    full_name = fields.String(required=True, allow_none=True)
    created_at = fields.AwareDateTime(required=True, format="iso")
    equipment_count = fields.Integer(required=True, metadata={"description": "The number of the user's listings."})


class ModeratedEquipment(ma.Schema):
    """A listing, as admins see it."""

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
    """A change. Of personal data it holds the names of the fields, without the values."""

    id = fields.Integer(required=True)
    created_at = fields.AwareDateTime(required=True, format="iso")
    actor_id = fields.UUID(
        required=True, allow_none=True, metadata={"description": "null: an operator with a shell on the server."}
    )
    actor_username = fields.String(
        required=True, allow_none=True, metadata={"description": "The current username; null if the user was deleted."}
    )
    action = fields.String(required=True, metadata={"example": "category.changed"})
    subject_id = fields.UUID(required=True, metadata={"description": "The changed user, listing or category."})
    before = fields.Dict(required=True, allow_none=True)
    after = fields.Dict(required=True, allow_none=True)
    request_id = fields.String(required=True, allow_none=True)


class _NumberedPage(ma.Schema):
    """A page of a list, by its number."""

    total = fields.Integer(required=True, metadata={"description": "The exact number of matches."})
    page = fields.Integer(required=True)
    per_page = fields.Integer(required=True, attribute="limit")


def _items(item: type[ma.Schema]) -> fields.List[Any]:
    return fields.List(fields.Nested(item), required=True, attribute="items")


UserPage = _NumberedPage.from_dict({"users": _items(User)}, name="UserPage")
ModeratedEquipmentPage = _NumberedPage.from_dict(
    {"equipment": _items(ModeratedEquipment)}, name="ModeratedEquipmentPage"
)
AuditLogPage = _NumberedPage.from_dict(
    {"entries": _items(AuditLogEntry), "next_cursor": fields.String(required=True, allow_none=True)},
    name="AuditLogPage",
)


class _NumberedPageQuery(Query):
    page = PAGE
    per_page = LIMIT

    @ma.post_load
    def split(self, data: dict[str, Any], **_: Any) -> tuple[dict[str, Any], PageRequest]:
        """Return the filters that are given, and the page."""
        page, limit, cursor = data.pop("page", 1), data.pop("per_page"), data.pop("cursor", None)
        return data, PageRequest(page=page, limit=limit, cursor=cursor)


def _search(where: str) -> Text:
    description = f"A part of {where}, in any case, without wildcards."
    return Text(max_length=MAX_SEARCH_LENGTH, metadata={"description": description})


class UserQuery(_NumberedPageQuery):
    """Filters of users."""

    search = _search("the e-mail, username or full name")
    role = fields.Enum(Role, by_value=True, metadata={"description": "Users with this role."})


class ModeratedEquipmentQuery(_NumberedPageQuery):
    """Filters of listings."""

    search = _search("the title, or of the owner's e-mail")
    owner_id = fields.UUID(metadata={"description": "Listings of this owner."})
    category_id = fields.UUID(metadata={"description": "This category and its subcategories."})
    is_available = fields.Boolean(metadata={"description": "Listings that are available, or that are not."})


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
    """Filters of the audit log."""

    cursor = fields.String(
        validate=validate.Length(max=MAX_CURSOR_LENGTH),
        metadata={"description": "The `next_cursor` of the previous page. New entries do not move the next page."},
    )
    actor_id = fields.UUID(metadata={"description": "The user who made the change."})
    action = fields.Enum(Action, by_value=True, metadata={"description": "The kind of change."})
    subject_id = fields.UUID(metadata={"description": "The changed user, listing or category."})
    since = Moment(metadata={"description": "Changes at or after this time."})
    until = Moment(metadata={"description": "Changes before this time."})

    @ma.validates_schema
    def check_combination(self, data: dict[str, Any], **_: Any) -> None:
        """Refuse two ways of paging, and an empty period."""
        if "page" in data and "cursor" in data:
            raise ValidationError("Give either page or cursor.", "cursor")
        if "since" in data and "until" in data and data["since"] > data["until"]:
            raise ValidationError("Must not be after until.", "since")

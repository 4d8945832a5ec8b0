"""The shapes of what admins see and change."""

import marshmallow as ma
from marshmallow import fields

from app.equipment.schemas import MAX_DAILY_RATE
from app.models import Role
from app.web.schemas import Body, Flag, Money, Text


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

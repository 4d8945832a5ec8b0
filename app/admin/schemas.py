"""The shapes of what admins see and change."""

import marshmallow as ma
from marshmallow import fields

from app.models import Role
from app.web.schemas import Body


class RoleChange(Body):
    """The role that a user is to have."""

    role = fields.Enum(Role, by_value=True, required=True)


class User(ma.Schema):
    """A user as admins see one."""

    id = fields.UUID(required=True)
    email = fields.String(required=True, allow_none=True)
    role = fields.Enum(Role, by_value=True, required=True)
    username = fields.String(required=True)
    full_name = fields.String(required=True, allow_none=True)
    created_at = fields.AwareDateTime(required=True, format="iso")
    equipment_count = fields.Integer(required=True)

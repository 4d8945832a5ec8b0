"""The schemas of users and their profiles."""

import marshmallow as ma
from marshmallow import fields

from app.models import Role
from app.web.schemas import Body, HttpsUrl, JsonObject, Text


class PublicUser(ma.Schema):
    """The public profile of a user, without e-mail and full name."""

    id = fields.UUID(required=True)
    username = fields.String(required=True)
    avatar_url = fields.String(required=True, allow_none=True)


class UserChanges(Body):
    """Changes of an account. null clears an optional field."""

    username = Text(min_length=3, max_length=50)
    full_name = Text(min_length=1, max_length=200, allow_none=True)
    avatar_url = HttpsUrl(allow_none=True)


class UserDetails(PublicUser):
    """An account, as its user and admins see it."""

    email = fields.String(required=True, allow_none=True)
    role = fields.Enum(Role, by_value=True, required=True)
    full_name = fields.String(required=True, allow_none=True)


class OwnerProfileBody(Body):
    """The business information of an owner: any JSON object."""

    business_info = JsonObject(required=True)


class OwnerProfileView(ma.Schema):
    """An owner profile, and the current role of its user."""

    business_info = fields.Dict(required=True)
    role = fields.Enum(Role, by_value=True, required=True, attribute="user.role")


class RenterProfileBody(Body):
    """The preferences and the experience of a renter."""

    preferences = JsonObject()
    experience_level = Text(min_length=1, max_length=50, allow_none=True)


class RenterProfileView(ma.Schema):
    """A renter profile; empty until it is saved."""

    preferences = fields.Dict(required=True)
    experience_level = fields.String(required=True, allow_none=True)

"""The shapes of users and their profiles."""

import marshmallow as ma
from marshmallow import fields

from app.models import Role
from app.web.schemas import Body, HttpsUrl, JsonObject, Text


class PublicUser(ma.Schema):
    """What anyone may see of a user. No e-mail, no name."""

    id = fields.UUID(required=True)
    username = fields.String(required=True)
    avatar_url = fields.String(required=True, allow_none=True)


class UserChanges(Body):
    """Any part of a user's own description; null clears what may be empty."""

    username = Text(min_length=3, max_length=50)
    full_name = Text(min_length=1, max_length=200, allow_none=True)
    avatar_url = HttpsUrl(allow_none=True)


class UserDetails(PublicUser):
    """What a user, or an admin, sees of the user."""

    email = fields.String(required=True, allow_none=True)
    role = fields.Enum(Role, by_value=True, required=True)
    full_name = fields.String(required=True, allow_none=True)


class OwnerProfileBody(Body):
    """What an owner says of the business: any JSON object."""

    business_info = JsonObject(required=True)


class OwnerProfileView(ma.Schema):
    """An owner profile, and the role that its user has now."""

    business_info = fields.Dict(required=True)
    role = fields.Enum(Role, by_value=True, required=True, attribute="user.role")


class RenterProfileBody(Body):
    """What a renter says of wishes and skill."""

    preferences = JsonObject()
    experience_level = Text(min_length=1, max_length=50, allow_none=True)


class RenterProfileView(ma.Schema):
    """A renter profile; empty until it is saved."""

    preferences = fields.Dict(required=True)
    experience_level = fields.String(required=True, allow_none=True)

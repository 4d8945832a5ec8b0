"""Schemas of sign-up, login and the user's own account."""

import marshmallow as ma
from marshmallow import fields

from app.models import Role
from app.web.schemas import Body, Email, Text

MAX_PASSWORD_LENGTH = 128
MAX_REFRESH_TOKEN_LENGTH = 2048


def _secret(max_length: int) -> Text:
    return Text(min_length=1, max_length=max_length, verbatim=True, required=True, load_only=True)


class LogIn(Body):
    """E-mail and password."""

    email = Email(required=True)
    password = _secret(MAX_PASSWORD_LENGTH)


class SignUp(LogIn):
    """A new account."""

    username = Text(min_length=3, max_length=50)
    full_name = Text(min_length=1, max_length=200)


class SignedUp(ma.Schema):
    """The created account. `auth0_id` is its subject at the identity provider."""

    id = fields.UUID(required=True)
    email = fields.String(required=True)
    email_verified = fields.Boolean(required=True)
    auth0_id = fields.String(required=True)


class Refresh(Body):
    """A refresh token from a login."""

    refresh_token = _secret(MAX_REFRESH_TOKEN_LENGTH)


class Tokens(ma.Schema):
    """The identity provider's tokens (RFC 6749 §5.1)."""

    access_token = fields.String(required=True)
    refresh_token = fields.String(dump_default=None, allow_none=True, required=True)
    id_token = fields.String(dump_default=None, allow_none=True, required=True)
    token_type = fields.String(dump_default="Bearer", required=True)
    expires_in = fields.Integer(required=True)


class Me(ma.Schema):
    """The user's own account."""

    id = fields.UUID(required=True, attribute="user_id")
    email = fields.String(required=True, allow_none=True)
    role = fields.Enum(Role, by_value=True, required=True)
    username = fields.String(required=True)
    full_name = fields.String(required=True, allow_none=True)
    avatar_url = fields.String(required=True, allow_none=True)

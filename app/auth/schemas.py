"""The shapes of sign-up, login and the caller's own account."""

from typing import Any

import marshmallow as ma
from marshmallow import fields

from app.auth.principal import Identity
from app.models import Role
from app.web.schemas import Body, Email, Text

MAX_PASSWORD_LENGTH = 128
MAX_REFRESH_TOKEN_LENGTH = 2048


def _secret(max_length: int) -> Text:
    return Text(min_length=1, max_length=max_length, verbatim=True, required=True, load_only=True)


class SignUp(Body):
    """A new account."""

    email = Email(required=True)
    password = _secret(MAX_PASSWORD_LENGTH)
    username = Text(min_length=3, max_length=50)
    full_name = Text(min_length=1, max_length=200)


class SignedUp(ma.Schema):
    """The account that was made, here and at the tenant."""

    id = fields.UUID(required=True)
    email = fields.String(required=True)
    email_verified = fields.Boolean(required=True)
    auth0_id = fields.String(required=True)


class LogIn(Body):
    """E-mail and password."""

    email = Email(required=True)
    password = _secret(MAX_PASSWORD_LENGTH)


class Refresh(Body):
    """A refresh token, as login gave it."""

    refresh_token = _secret(MAX_REFRESH_TOKEN_LENGTH)


class Tokens(ma.Schema):
    """The tenant's tokens (RFC 6749 §5.1)."""

    access_token = fields.String(required=True)
    refresh_token = fields.String(dump_default=None, allow_none=True, required=True)
    id_token = fields.String(dump_default=None, allow_none=True, required=True)
    token_type = fields.String(dump_default="Bearer", required=True)
    expires_in = fields.Integer(required=True)


class Me(ma.Schema):
    """One's own account."""

    id = fields.UUID(required=True, attribute="user_id")
    email = fields.String(required=True, allow_none=True)
    role = fields.Enum(Role, by_value=True, required=True)
    username = fields.String(required=True)
    full_name = fields.String(required=True, allow_none=True)
    avatar_url = fields.String(required=True, allow_none=True)


def own_account(who: Identity) -> dict[str, Any]:
    """What `Me` describes, ready for JSON: every client asks for it, and a schema takes four times as long."""
    return {
        "id": who.user_id,
        "email": who.email,
        "role": who.role,
        "username": who.username,
        "full_name": who.full_name,
        "avatar_url": who.avatar_url,
    }

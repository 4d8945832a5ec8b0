"""The shapes of sign-up, login and the caller's own account."""

import marshmallow as ma
from marshmallow import fields, validate

from app.models import Role
from app.web.schemas import Body, Email, Text

MAX_PASSWORD_LENGTH = 128
MAX_REFRESH_TOKEN_LENGTH = 2048


def _password() -> fields.String:
    # Not trimmed and not normalised: the tenant judges what was typed.
    return fields.String(required=True, load_only=True, validate=validate.Length(min=1, max=MAX_PASSWORD_LENGTH))


class SignUp(Body):
    """A new account."""

    email = Email(required=True)
    password = _password()
    username = Text(shortest=3, longest=50)
    full_name = Text(shortest=1, longest=200)


class SignedUp(ma.Schema):
    """The account that was made, here and at the tenant."""

    id = fields.UUID(required=True)
    email = fields.String(required=True)
    email_verified = fields.Boolean(required=True)
    auth0_id = fields.String(required=True)


class LogIn(Body):
    """E-mail and password."""

    email = Email(required=True)
    password = _password()


class Refresh(Body):
    """A refresh token, as login gave it."""

    refresh_token = fields.String(
        required=True, load_only=True, validate=validate.Length(min=1, max=MAX_REFRESH_TOKEN_LENGTH)
    )


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

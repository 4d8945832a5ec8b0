"""Sign-up and profile (Auth0 "Signup", "Get User Info")."""

from __future__ import annotations

import re
from typing import Any

from flask import Blueprint, Response, jsonify, request

from .context import tenant
from .params import BadParameters, body_parameters, required, text
from .passwords import POLICY, hash_password, is_strong, weakness
from .store import EmailTaken, User
from .tokens import InvalidToken, profile_claims

blueprint = Blueprint("accounts", __name__)

EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s.]+(\.[^@\s.]+)+")
MAX_EMAIL_LENGTH = 254
PROFILE_FIELDS = ("username", "given_name", "family_name", "name", "nickname", "picture")
_CODES = {"user_exists": "The user already exists.", "invalid_signup": "Invalid sign up"}


class SignupRefused(Exception):
    """A sign-up that Auth0 would refuse, with the body that it would answer (status 400)."""

    def __init__(self, **body: object) -> None:
        super().__init__(str(body.get("code")))
        self.body = body | {"statusCode": 400} if "name" in body else body


@blueprint.post("/dbconnections/signup")
def signup() -> Response:
    """Create a user: 200 {_id, email, email_verified: false, …}; ``_id`` lacks the ``auth0|`` that ``sub`` has.

    400 with ``code`` user_exists (or invalid_signup, by a control switch), invalid_password (PasswordStrengthError) or
    invalid_body. An unknown client or connection is 400 {"error": …}; Auth0 documents no shape for those two.
    """
    parameters = body_parameters()
    if required(parameters, "client_id") != tenant().config.client_id:
        raise SignupRefused(error="the client was not found")
    if required(parameters, "connection") != tenant().config.connection:
        raise SignupRefused(error="the connection was not found")
    profile = _profile(parameters)
    user = register(required(parameters, "email"), required(parameters, "password"), profile)
    return jsonify({"_id": user.id, "email_verified": False, "email": user.email} | profile)


def register(email: str, password: str, profile: dict[str, object]) -> User:
    """A new account, from the API or from the login page. Raises SignupRefused or BadParameters."""
    check_email(email)
    if not is_strong(password):
        raise SignupRefused(
            code="invalid_password",
            name="PasswordStrengthError",
            message="Password is too weak",
            policy=POLICY,
            description=weakness(password),
        )
    try:
        return tenant().store.add_user(email, hash_password(password), profile)
    except EmailTaken:
        code = tenant().existing_user_code
        raise SignupRefused(code=code, description=_CODES[code], name="BadRequestError") from None


def check_email(email: str) -> None:
    """Raises BadParameters unless this looks like an e-mail address."""
    if len(email) > MAX_EMAIL_LENGTH or not EMAIL.fullmatch(email.strip()):
        raise BadParameters("Object didn't pass validation for format email")


def _profile(parameters: dict[str, Any]) -> dict[str, object]:
    given = {name: text(parameters, name) for name in PROFILE_FIELDS}
    profile: dict[str, object] = {name: value for name, value in given.items() if value is not None}
    metadata = parameters.get("user_metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise BadParameters("Parameter 'user_metadata' must be an object")
    return profile | ({"user_metadata": metadata} if metadata else {})


@blueprint.route("/userinfo", methods=["GET", "POST"])
def userinfo() -> Response:
    """The user's claims that the token's scope opens (OpenID Connect Core §5.3); 401 otherwise (RFC 6750 §3)."""
    scheme, _, credential = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not credential.strip():
        return _unauthorized('Bearer realm="Users"')
    try:
        claims = tenant().tokens.claims_for_userinfo(credential.strip())
    except InvalidToken:
        claims = {}
    user = tenant().store.find_user_by_id(str(claims.get("sub", "")).removeprefix("auth0|"))
    if user is None or user.blocked:
        return _unauthorized('Bearer realm="Users", error="invalid_token", error_description="The token is invalid"')
    return jsonify(profile_claims(user, str(claims.get("scope", ""))))


def _unauthorized(challenge: str) -> Response:
    response = Response("Unauthorized", 401, mimetype="text/plain")
    response.headers["WWW-Authenticate"] = challenge
    return response


@blueprint.errorhandler(SignupRefused)
def _refused(error: SignupRefused) -> tuple[Response, int]:
    return jsonify(error.body), 400


@blueprint.errorhandler(BadParameters)
def _bad_parameters(error: BadParameters) -> tuple[Response, int]:
    return jsonify(code="invalid_body", description=str(error), name="BadRequestError", statusCode=400), 400

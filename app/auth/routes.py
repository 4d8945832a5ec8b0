"""Routes for sign-up, login, refresh and the user's own account."""

from http import HTTPStatus
from typing import Any

from flask import request

from app.auth import schemas, service
from app.auth.identity import authenticator, caller
from app.auth.principal import Identity
from app.web.access import public
from app.web.api import BASE_PATH, Blueprint, settings
from app.web.rate_limits import limited

blueprint = Blueprint("auth", __name__, url_prefix=f"{BASE_PATH}/auth", description="Accounts and tokens.")


@blueprint.route("/auth0/signup", methods=["POST"])
@public
@limited("auth")
@blueprint.arguments(schemas.SignUp)
@blueprint.response(201, schemas.SignedUp)
@blueprint.refuses(HTTPStatus.CONFLICT)
def sign_up(account: dict[str, Any]) -> dict[str, Any]:
    """Make an account."""
    return service.sign_up(authenticator().identity_provider, **account)


@blueprint.route("/auth0/login", methods=["POST"])
@public
@limited("auth")
@blueprint.arguments(schemas.LogIn)
@blueprint.response(200, schemas.Tokens)
@blueprint.refuses(HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
def log_in(credentials: dict[str, Any]) -> Any:
    """Exchange e-mail and password for tokens."""
    parts, address = authenticator(), request.remote_addr or ""
    return service.log_in(
        parts.identity_provider, parts.id_tokens, settings().logins, **credentials, client_address=address
    )


@blueprint.route("/auth0/refresh", methods=["POST"])
@public
@limited("auth")
@blueprint.arguments(schemas.Refresh)
@blueprint.response(200, schemas.Tokens)
@blueprint.refuses(HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
@blueprint.doc(operationId="refreshTokens")
def refresh(grant: dict[str, Any]) -> Any:
    """Exchange a refresh token for a fresh access token."""
    return authenticator().identity_provider.refresh(**grant)


@blueprint.route("/me")
@blueprint.response(200, schemas.Me)
@blueprint.doc(operationId="getMe")
def me() -> Identity:
    """Return the account of the token's user."""
    return caller()

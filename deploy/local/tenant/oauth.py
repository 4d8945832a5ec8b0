"""``POST /oauth/token``: the token endpoint (RFC 6749 §3.2; Auth0 "Get Token")."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response, jsonify, request

from . import grants
from .context import tenant
from .errors import OAuthError
from .params import BadParameters, body_parameters, required, text

blueprint = Blueprint("oauth", __name__)

PASSWORD_REALM = "http://auth0.com/oauth/grant-type/password-realm"  # noqa: S105 - the name of a grant
GRANTS: dict[str, Callable[[dict[str, Any], bool], dict[str, Any]]] = {
    PASSWORD_REALM: grants.password_realm,
    "password": grants.password,
    "refresh_token": grants.refresh_token,
    "authorization_code": grants.authorization_code,
}
# Grants that Auth0 has and this client is not enabled for.
DISABLED_GRANTS = frozenset(
    {
        "client_credentials",
        "implicit",
        "urn:ietf:params:oauth:grant-type:device_code",
        "http://auth0.com/oauth/grant-type/mfa-otp",
        "http://auth0.com/oauth/grant-type/passwordless/otp",
    }
)


@blueprint.post("/oauth/token")
def token() -> Response:
    """Exchange a grant for tokens: 200 {access_token, id_token?, refresh_token?, scope?, expires_in, token_type}.

    Raises OAuthError with Auth0's status and code, BadParameters (400) for what is missing or malformed. The client
    proves itself by its secret (RFC 6749 §2.3.1, header or body); without one it is a public client, which may only
    redeem a code by PKCE and refresh what it got so. One client therefore serves both the backend and a web client,
    which on a real tenant are two applications.
    """
    parameters = body_parameters()
    grant_type = required(parameters, "grant_type")
    if grant_type not in GRANTS and grant_type not in DISABLED_GRANTS:
        raise OAuthError(403, "unsupported_grant_type", "Unsupported grant type")
    client = _credentials(parameters)
    _check_client(client)
    if grant_type in DISABLED_GRANTS:
        raise OAuthError(403, "unauthorized_client", f"Grant type '{grant_type}' not allowed for the client.")
    body = GRANTS[grant_type](parameters, client.secret is None)
    return _no_store(jsonify(body))


@dataclass(frozen=True)
class _Client:
    client_id: str
    secret: str | None


def _credentials(parameters: dict[str, Any]) -> _Client:
    basic = request.authorization
    if basic is not None and basic.type == "basic":
        return _Client(basic.username or "", basic.password or "")
    if "client_secret" not in parameters:
        return _Client(required(parameters, "client_id"), None)
    # An empty secret is a wrong one, not a public client.
    return _Client(required(parameters, "client_id"), text(parameters, "client_secret") or "")


def _check_client(client: _Client) -> None:
    config = tenant().config
    known = hmac.compare_digest(client.client_id.encode(), config.client_id.encode())
    secret = config.client_secret if client.secret is None else client.secret
    if not hmac.compare_digest(secret.encode(), config.client_secret.encode()) or not known:
        raise OAuthError(401, "access_denied", "Unauthorized")


def _no_store(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"  # RFC 6749 §5.1
    response.headers["Pragma"] = "no-cache"
    return response


@blueprint.errorhandler(OAuthError)
def _oauth_error(error: OAuthError) -> tuple[Response, int]:
    return _no_store(jsonify(error=error.code, error_description=error.description)), error.status


@blueprint.errorhandler(BadParameters)
def _bad_parameters(error: BadParameters) -> tuple[Response, int]:
    return _no_store(jsonify(error="invalid_request", error_description=str(error))), 400

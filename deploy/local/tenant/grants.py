"""What each grant type demands and gives. Every function returns the body of a token response (RFC 6749 §5.1)."""

from __future__ import annotations

import hmac
import re
from typing import Any

from flask import request

from .codes import Authorization, challenge_of
from .context import tenant
from .errors import OAuthError
from .params import BadParameters, required, text
from .passwords import password_matches
from .store import Grant, User
from .tokens import granted_scope

FORWARDED_FOR = "auth0-forwarded-for"
VERIFIER = re.compile(r"[A-Za-z0-9\-._~]{43,128}")  # RFC 7636 §4.1

Parameters = dict[str, Any]


def password_realm(parameters: Parameters, public: bool) -> dict[str, Any]:
    """Auth0's password-realm grant: a user of the named connection ("Resource Owner Password Flow", realms)."""
    realm = required(parameters, "realm")
    if realm != tenant().config.connection:
        # Auth0 documents no error for this.
        raise OAuthError(400, "invalid_request", "the connection was not found")
    return password(parameters, public)


def password(parameters: Parameters, public: bool) -> dict[str, Any]:
    """The password grant (RFC 6749 §4.3) against the connection, which is this tenant's default directory.

    Needs the client's secret. A wrong password and an unknown account are the same 403, in the same time.
    """
    username, secret = required(parameters, "username"), required(parameters, "password")
    audience, scope = checked_audience(text(parameters, "audience")), granted_scope(text(parameters, "scope") or "")
    if public:
        raise OAuthError(401, "access_denied", "Unauthorized")
    tenant().faults.saw_forwarded_for(username, request.headers.get(FORWARDED_FOR))
    user = check_password(username, secret)
    return _tokens(user, Grant(user.id, scope, audience, public), gty="password") | _id_token(user, scope)


def check_password(email: str, secret: str) -> User:
    """The account, if the password is its own and it is not blocked. Raises OAuthError 403 otherwise."""
    user = tenant().store.find_user(email)
    if not password_matches(user.password_hash if user else None, secret) or user is None:
        raise OAuthError(403, "invalid_grant", "Wrong email or password.")
    return _active(tenant().store.find_user_by_id(user.id))


def refresh_token(parameters: Parameters, public: bool) -> dict[str, Any]:
    """New tokens for a refresh token (RFC 6749 §6). Rotation is off, as is Auth0's default: the same refresh token
    stays valid and the answer holds no new one ("Refresh Token Rotation"). ``scope`` can narrow, never widen.
    """
    grant = tenant().store.find_grant(required(parameters, "refresh_token"))
    requested = text(parameters, "scope")
    if grant is None or (public and not grant.public):
        raise OAuthError(403, "invalid_grant", "Unknown or invalid refresh token.")
    user = _active(tenant().store.find_user_by_id(grant.user_id))
    held = grant.scope.split()
    scope = " ".join(name for name in granted_scope(requested or grant.scope).split() if name in held)
    body = _access(user, scope, grant.audience)
    return body | _id_token(user, scope)


def authorization_code(parameters: Parameters, public: bool) -> dict[str, Any]:
    """Tokens for a code, which any attempt uses up (RFC 6749 §4.1.3, RFC 7636 §4.5; "Authorization Code + PKCE")."""
    code, redirect_uri = required(parameters, "code"), required(parameters, "redirect_uri")
    verifier = text(parameters, "code_verifier")
    authorization = tenant().codes.take(code)
    if authorization is None or authorization.client_id != tenant().config.client_id:
        raise OAuthError(403, "invalid_grant", "Invalid authorization code")
    if authorization.redirect_uri != redirect_uri:
        raise OAuthError(403, "invalid_grant", "The redirect URI is wrong.")
    _check_verifier(authorization, verifier, public)
    user = _active(tenant().store.find_user_by_id(authorization.user_id))
    scope = authorization.scope
    session = {name: getattr(authorization, name) for name in ("nonce", "sid", "auth_time")}
    return _tokens(user, Grant(user.id, scope, authorization.audience, public)) | _id_token(user, scope, **session)


def checked_audience(audience: str | None) -> str | None:
    """The audience if it is this tenant's API, None if none was asked for. Raises OAuthError 403 for another."""
    known = (tenant().config.audience, tenant().config.userinfo_audience)
    if audience is not None and audience not in known:
        raise OAuthError(403, "access_denied", f"Service not found: {audience}")
    return audience if audience == tenant().config.audience else None


def _check_verifier(authorization: Authorization, verifier: str | None, public: bool) -> None:
    if authorization.code_challenge is None:
        if public:  # neither a secret nor PKCE: whoever caught the code could redeem it
            raise OAuthError(401, "access_denied", "Unauthorized")
        return
    if verifier is None:
        raise BadParameters("Missing required parameter: code_verifier")
    challenge = challenge_of(verifier) if VERIFIER.fullmatch(verifier) else ""
    if not hmac.compare_digest(challenge, authorization.code_challenge):
        raise OAuthError(403, "invalid_grant", "Failed to verify code verifier")


def _active(user: User | None) -> User:
    if user is None:
        raise OAuthError(403, "invalid_grant", "Unknown or invalid refresh token.")
    if user.blocked:
        raise OAuthError(403, "unauthorized", "user is blocked")
    return user


def _tokens(user: User, grant: Grant, gty: str | None = None) -> dict[str, Any]:
    body = _access(user, grant.scope, grant.audience, gty)
    if "offline_access" in grant.scope.split():
        body["refresh_token"] = tenant().store.add_refresh_token(grant)
    return body


def _access(user: User, scope: str, audience: str | None, gty: str | None = None) -> dict[str, Any]:
    body: dict[str, Any] = {"access_token": tenant().tokens.access_token(user, scope, audience, gty)}
    body |= {"scope": scope} if scope else {}
    return body | {"expires_in": tenant().config.token_lifetime_seconds, "token_type": "Bearer"}


def _id_token(user: User, scope: str, **session: str | int | None) -> dict[str, Any]:
    if "openid" not in scope.split():
        return {}
    return {"id_token": tenant().tokens.id_token(user, scope, **session)}

"""Reading an authorization request (RFC 6749 §4.1.1, RFC 7636 §4.3, OpenID Connect Core §3.1.2.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from .context import tenant
from .errors import OAuthError
from .grants import checked_audience
from .redirects import is_allowed
from .tokens import granted_scope

CHALLENGE = re.compile(r"[A-Za-z0-9\-_]{43}")  # an S256 challenge is 32 bytes in base64url
MAX_ECHOED_LENGTH = 2_048  # of state and nonce


class Unredirectable(Exception):
    """The client or its redirect_uri is not known good: tell the user, and redirect nowhere (RFC 6749 §4.1.2.1)."""


@dataclass(frozen=True)
class Target:
    """Where answers go: a redirect URI that has been checked, and the state to give back with it."""

    redirect_uri: str
    state: str | None


@dataclass(frozen=True)
class AuthorizationRequest:
    """A checked authorization request. ``max_age`` is in seconds."""

    client_id: str
    redirect_uri: str
    state: str | None
    scope: str
    audience: str | None
    nonce: str | None
    code_challenge: str | None
    prompt: str | None
    max_age: int | None


def read_target(query: Mapping[str, str]) -> Target:
    """The checked redirect target. Raises Unredirectable."""
    if query.get("client_id") != tenant().config.client_id:
        raise Unredirectable("Unknown client: check client_id.")
    redirect_uri = query.get("redirect_uri", "")
    if not is_allowed(redirect_uri):
        raise Unredirectable("Callback URL mismatch: redirect_uri must be https, or http on localhost.")
    state = query.get("state")
    return Target(redirect_uri, state if state is None else state[:MAX_ECHOED_LENGTH])


def read_request(query: Mapping[str, str], target: Target) -> AuthorizationRequest:
    """The checked request. Raises OAuthError, which is to be told to the client by redirect.

    PKCE is optional here, because a client with a secret need not use it; the token endpoint demands one of the two.
    """
    if query.get("response_type") != "code":
        raise OAuthError(400, "unsupported_response_type", "Only response_type=code is supported")
    if query.get("response_mode", "query") != "query":
        raise OAuthError(400, "invalid_request", "Only response_mode=query is supported")
    nonce, max_age = query.get("nonce") or None, query.get("max_age", "")
    if nonce is not None and len(nonce) > MAX_ECHOED_LENGTH:
        raise OAuthError(400, "invalid_request", "Parameter 'nonce' is too long")
    return AuthorizationRequest(
        client_id=query["client_id"],
        redirect_uri=target.redirect_uri,
        state=target.state,
        scope=granted_scope(query.get("scope", "")),
        audience=checked_audience(query.get("audience") or None),
        nonce=nonce,
        code_challenge=_challenge(query),
        prompt=query.get("prompt") or None,
        max_age=int(max_age) if re.fullmatch(r"[0-9]{1,9}", max_age) else None,
    )


def _challenge(query: Mapping[str, str]) -> str | None:
    challenge, method = query.get("code_challenge"), query.get("code_challenge_method")
    if challenge is None and method is None:
        return None
    if method != "S256":  # an absent method means "plain" (RFC 7636 §4.3), which protects nobody
        raise OAuthError(400, "invalid_request", "code_challenge_method must be S256")
    if not CHALLENGE.fullmatch(challenge or ""):
        raise OAuthError(400, "invalid_request", "code_challenge must be an S256 challenge")
    return challenge

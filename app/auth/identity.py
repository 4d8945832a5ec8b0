"""Authentication of requests: every route needs an identity unless it is marked `@public`.

Authlib's resource protector (RFC 6750) finds the bearer token in the request. The hooks run in this order:
authentication stores the identity or its failure, the rate limit counts the request, access raises the failure.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import MissingAuthorizationError, ResourceProtector
from authlib.oauth2.rfc6750 import BearerTokenValidator
from flask import Flask, current_app, g, request
from structlog.contextvars import bind_contextvars

from app.auth import service
from app.auth.auth0 import Auth0Client
from app.auth.key_set import KeySetCache
from app.auth.principal import Identity
from app.auth.tokens import TokenVerifier
from app.errors import AmbiguousCredentials, Unauthenticated
from app.settings import Settings
from app.web.access import View, current_view, is_public, mark

# RFC 9110 §11.4: a scheme, spaces, credentials. Authlib also splits at tabs and other white space.
_CREDENTIALS = re.compile(r"[A-Za-z]+ +[!-~]")


def authenticated_by(authenticate_request: Callable[[], None]) -> Callable[[View], View]:
    """Authenticate the requests to a view by this function, which sets `g.identity` if there is one, or raises."""
    return mark(authenticate_request=authenticate_request)


def caller() -> Identity:
    """The identity of the current request. Only for routes that are not public."""
    return cast(Identity, g.identity)


class Authenticator:
    """The identity provider's client and the token verifiers of an app."""

    def __init__(self, settings: Settings) -> None:
        self.identity_provider = Auth0Client(settings)
        keys = KeySetCache(self.identity_provider.fetch_key_set, ttl_seconds=settings.jwks_cache_ttl_seconds)
        # An access token is for the API, an ID token for this application (OpenID Connect Core §3.1.3.7).
        self.access_tokens = TokenVerifier(keys.key, issuer=settings.auth0_issuer, audience=settings.auth0_audience)
        self.id_tokens = TokenVerifier(keys.key, issuer=settings.auth0_issuer, audience=settings.auth0_client_id)


def authenticator() -> Authenticator:
    """The current app's authenticator."""
    return cast(Authenticator, current_app.extensions["authenticator"])


@dataclass(frozen=True, kw_only=True)
class Authenticated:
    """The identity of a token that expires at `expires_at`, in seconds since the epoch."""

    identity: Identity
    expires_at: float

    def seconds_left(self) -> float:
        """The time until the token expires."""
        return self.expires_at - time.time()


def authenticate_header() -> Authenticated:
    """As `authenticate`, with the current request's token. Raises Unauthenticated (none), AmbiguousCredentials."""
    try:
        return cast(Authenticated, _protector.validate_request([], request))
    except OAuth2Error as error:
        raise Unauthenticated("This needs an access token: send it as `Authorization: Bearer …`.") from error


def authenticate(token_string: str) -> Authenticated:
    """Verify an access token. Raises InvalidToken, and as `service.identify`."""
    parts = authenticator()
    token = parts.access_tokens.verify(token_string)
    fetch_userinfo = partial(parts.identity_provider.fetch_userinfo, token_string)
    return Authenticated(identity=service.identify(token, fetch_userinfo=fetch_userinfo), expires_at=token.expires_at)


class _AccessTokenValidator(BearerTokenValidator):  # type: ignore[misc]
    def validate_request(self, request: Any) -> None:
        header = request.headers["Authorization"]
        # RFC 6750 §2: one token, sent in one way.
        if "," in header:
            raise AmbiguousCredentials("Send one Authorization header with one token.")
        if _CREDENTIALS.match(header) is None:
            raise MissingAuthorizationError

    def authenticate_token(self, token_string: str) -> Authenticated:
        return authenticate(token_string)

    def validate_token(self, token: Any, scopes: Any, request: Any) -> None:
        """Accept any scope, because roles come from the database."""


_protector = ResourceProtector()
_protector.register_token_validator(_AccessTokenValidator())


def init_app(app: Flask, settings: Settings) -> Auth0Client:
    """Authenticate each request; return the identity provider's client.

    Hooks that need the identity are registered next, and then `init_access`.
    """
    app.extensions["authenticator"] = built = Authenticator(settings)
    app.before_request(_authenticate)
    return built.identity_provider


def init_access(app: Flask) -> None:
    """Refuse requests that were not authenticated, unless the route is public."""
    app.before_request(_require_access)


def _authenticate() -> None:
    """Store the identity of the request, or the error that `_require_access` raises."""
    view = current_view()
    # An unknown path or method is a 404 or 405. A pre-flight carries no credentials (Fetch §3.2.2).
    needs_none = view is None or is_public(view) or request.method == "OPTIONS"
    authenticate_request = getattr(view, "authenticate_request", None if needs_none else _authenticate_by_header)
    if authenticate_request is None:
        return
    try:
        authenticate_request()
    except Exception as error:  # noqa: BLE001 - raised by `_require_access`
        g.authentication_error = error


def _authenticate_by_header() -> None:
    g.identity = authenticate_header().identity
    bind_contextvars(user_id=str(g.identity.user_id))


def _require_access() -> None:
    if "authentication_error" in g:
        raise g.authentication_error

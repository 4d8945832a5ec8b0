"""Authentication of requests: every route needs an identity unless it is marked `@public`.

Authlib's resource protector (RFC 6750) finds the bearer token in the request, and its validator verifies it. The hooks
run in this order: authentication stores the identity or its failure, the rate limit counts the request, access raises
the failure.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import ResourceProtector
from authlib.oauth2.rfc6750 import BearerTokenValidator
from flask import Flask, current_app, g, request
from structlog.contextvars import bind_contextvars

from app.auth import service
from app.auth.auth0 import Auth0Client
from app.auth.key_set import KeySetCache
from app.auth.principal import Identity
from app.auth.tokens import TokenVerifier, VerifiedToken
from app.errors import AmbiguousCredentials, Unauthenticated
from app.settings import REALM, Settings
from app.web.access import is_public

View = TypeVar("View", bound=Callable[..., Any])
# RFC 9110 §11.4: a scheme, spaces, credentials. Authlib also splits at tabs and other white space.
_CREDENTIALS = re.compile(r"[A-Za-z]+ +[!-~]")


def authenticated_by(authenticator: Callable[[], None]) -> Callable[[View], View]:
    """Authenticate the requests to a view by this function in place of the Authorization header.

    It sets `g.identity`, if the request has one, or raises.
    """

    def mark(view: View) -> View:
        view.authenticator = authenticator  # type: ignore[attr-defined]
        return view

    return mark


def caller() -> Identity:
    """The identity of the current request. Only for routes that are not public."""
    identity: Identity = g.identity
    return identity


def identity_provider(app: Flask = current_app) -> Auth0Client:
    """The app's client of the identity provider."""
    return _authenticator(app).identity_provider


def id_tokens() -> TokenVerifier:
    """The verifier of ID tokens, whose audience is this application (OpenID Connect Core §3.1.3.7)."""
    return _authenticator().id_tokens


@dataclass(frozen=True)
class Authenticator:
    """The identity provider's client and the token verifiers of an app."""

    identity_provider: Auth0Client
    access_tokens: TokenVerifier
    id_tokens: TokenVerifier
    protector: ResourceProtector

    def identify(self, token_string: str, token: VerifiedToken) -> Identity:
        """Return the user of a verified access token, as `service.identify`."""
        return service.identify(token, fetch_userinfo=lambda: self.identity_provider.fetch_userinfo(token_string))


@dataclass(frozen=True, kw_only=True)
class Authenticated:
    """The identity of a token that expires at `expires_at`, in seconds since the epoch."""

    identity: Identity
    expires_at: float

    def seconds_left(self) -> float:
        """The time until the token expires."""
        return self.expires_at - time.time()


def authenticate_header() -> Authenticated:
    """Verify the access token in the Authorization header of the current request.

    Raises:
        Unauthenticated: there is none. AmbiguousCredentials: there is more than one. As `authenticate`.
    """
    authenticator = _authenticator()
    try:
        token_string, token = authenticator.protector.validate_request([], request)
    except OAuth2Error as error:
        raise _token_required() from error
    return Authenticated(identity=authenticator.identify(token_string, token), expires_at=token.expires_at)


def authenticate(token_string: str) -> Authenticated:
    """Verify an access token that a socket sent in another way than the Authorization header.

    Raises:
        InvalidToken: it is not valid. Forbidden, Unavailable: as `service.identify`.
    """
    authenticator = _authenticator()
    token = authenticator.access_tokens.verify(token_string)
    return Authenticated(identity=authenticator.identify(token_string, token), expires_at=token.expires_at)


class _AccessTokenValidator(BearerTokenValidator):  # type: ignore[misc]
    def __init__(self, verifier: TokenVerifier) -> None:
        super().__init__(realm=REALM)
        self._verifier = verifier

    def authenticate_token(self, token_string: str) -> tuple[str, VerifiedToken]:
        return token_string, self._verifier.verify(token_string)

    def validate_request(self, request: Any) -> None:
        header = request.headers["Authorization"]
        # RFC 6750 §2: one token, sent in one way.
        if "," in header:
            raise AmbiguousCredentials("Send one Authorization header with one token.")
        if _CREDENTIALS.match(header) is None:
            raise _token_required()

    def validate_token(self, token: Any, scopes: Any, request: Any) -> None:
        """Accept any scope, because roles come from the database."""


def init_app(app: Flask, settings: Settings) -> None:
    """Authenticate each request. Hooks that need the identity are registered next, and then `init_access`."""
    client = Auth0Client(settings)
    keys = KeySetCache(client.fetch_key_set, ttl_seconds=settings.jwks_cache_ttl_seconds)
    protector = ResourceProtector()
    access_tokens = TokenVerifier(keys.key, issuer=settings.auth0_issuer, audience=settings.auth0_audience)
    protector.register_token_validator(_AccessTokenValidator(access_tokens))
    app.extensions["authenticator"] = Authenticator(
        identity_provider=client,
        access_tokens=access_tokens,
        id_tokens=TokenVerifier(keys.key, issuer=settings.auth0_issuer, audience=settings.auth0_client_id),
        protector=protector,
    )
    app.before_request(_authenticate)


def init_access(app: Flask) -> None:
    """Refuse requests that were not authenticated, unless the route is public."""
    app.before_request(_require_access)


def _authenticator(app: Flask = current_app) -> Authenticator:
    authenticator: Authenticator = app.extensions["authenticator"]
    return authenticator


def _authenticate() -> None:
    """Store the identity of the request, or the error that `_require_access` raises."""
    authenticator = _authenticator_of(current_app.view_functions.get(request.endpoint or ""))
    if authenticator is None:
        return
    try:
        authenticator()
    except Exception as error:  # noqa: BLE001 - raised by `_require_access`
        g.authentication_error = error


def _authenticator_of(view: Callable[..., Any] | None) -> Callable[[], None] | None:
    own: Callable[[], None] | None = getattr(view, "authenticator", None)
    # An unknown path or method is a 404 or 405. A pre-flight carries no credentials (Fetch §3.2.2).
    if own is not None or view is None or is_public(view) or request.method == "OPTIONS":
        return own
    return _authenticate_by_header


def _authenticate_by_header() -> None:
    g.identity = authenticate_header().identity
    bind_contextvars(user_id=str(g.identity.user_id))


def _require_access() -> None:
    error: Exception | None = g.get("authentication_error")
    if error is not None:
        raise error


def _token_required() -> Unauthenticated:
    return Unauthenticated("This needs an access token: send it as `Authorization: Bearer …`.")

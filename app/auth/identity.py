"""Who is calling: every route demands an identity unless it is marked `@public`.

The pattern is Authlib's resource protector (RFC 6750): it finds the token in the request, a validator judges it. The
identity is a frozen value, never a database row, so it can be carried anywhere (a socket's whole life, too).
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

View = TypeVar("View", bound=Callable[..., Any])
# RFC 9110 §11.4: a scheme, blanks, and what follows; not the tabs and Unicode's blanks that Authlib parts them by, too.
_CREDENTIALS = re.compile(r"[A-Za-z]+ +[!-~]")


def public(view: View) -> View:
    """Mark a view as open to anyone. Everything unmarked is closed."""
    view.is_public = True  # type: ignore[attr-defined]
    return view


def is_public(view: Callable[..., Any]) -> bool:
    """Tell whether a registered view was marked `@public` (the mark survives `functools.wraps`)."""
    return getattr(view, "is_public", False)


def authenticated_by(authenticator: Callable[[], None]) -> Callable[[View], View]:
    """Authenticate the requests to a view by this function in place of the Authorization header.

    It sets `g.identity`, if the request has one, or raises.
    """

    def mark(view: View) -> View:
        view.authenticator = authenticator  # type: ignore[attr-defined]
        return view

    return mark


def caller() -> Identity:
    """Who makes the current request. Only on routes that are not public."""
    identity: Identity = g.identity
    return identity


def identity_provider(app: Flask = current_app) -> Auth0Client:
    """The app's client of the identity provider."""
    return _guard(app).identity_provider


def id_tokens() -> TokenVerifier:
    """The verifier of ID tokens: of this application as audience (OpenID Connect Core §3.1.3.7)."""
    return _guard().id_tokens


@dataclass(frozen=True)
class Guard:
    """What it takes to know who is calling; one for each app."""

    identity_provider: Auth0Client
    access_tokens: TokenVerifier
    id_tokens: TokenVerifier
    protector: ResourceProtector

    def identify(self, token_string: str, token: VerifiedToken) -> Identity:
        """Find the user that a verified access token stands for; as `service.identify`."""
        return service.identify(token, fetch_userinfo=lambda: self.identity_provider.fetch_userinfo(token_string))


@dataclass(frozen=True, kw_only=True)
class Authenticated:
    """Who a token stands for, and until when: seconds since the epoch."""

    identity: Identity
    expires_at: float

    def seconds_left(self) -> float:
        """How long the token is still good."""
        return self.expires_at - time.time()


def authenticate_header() -> Authenticated:
    """Judge the access token in the Authorization header of the request being served.

    Raises:
        Unauthenticated: there is none. AmbiguousCredentials: there is more than one. As `authenticate`.
    """
    guard = _guard()
    try:
        token_string, token = guard.protector.validate_request([], request)
    except OAuth2Error as error:
        raise _asked_for_a_token() from error
    return Authenticated(identity=guard.identify(token_string, token), expires_at=token.expires_at)


def authenticate(token_string: str) -> Authenticated:
    """Judge an access token that came by another way than a request's Authorization header: a socket's.

    Raises:
        InvalidToken: it does not hold. Forbidden, Unavailable: as `service.identify`.
    """
    guard = _guard()
    token = guard.access_tokens.verify(token_string)
    return Authenticated(identity=guard.identify(token_string, token), expires_at=token.expires_at)


class _AccessTokenValidator(BearerTokenValidator):  # type: ignore[misc]
    def __init__(self, verifier: TokenVerifier) -> None:
        super().__init__(realm=REALM)
        self._verifier = verifier

    def authenticate_token(self, token_string: str) -> tuple[str, VerifiedToken]:
        return token_string, self._verifier.verify(token_string)

    def validate_request(self, request: Any) -> None:
        header = request.headers["Authorization"]
        # RFC 6750 §2: not more than one token, nor one way of sending it.
        if "," in header:
            raise AmbiguousCredentials("Send one Authorization header with one token.")
        if _CREDENTIALS.match(header) is None:
            raise _asked_for_a_token()

    def validate_token(self, token: Any, scopes: Any, request: Any) -> None:
        """Roles come from the database, so no scope is asked for."""


def init_app(app: Flask, settings: Settings) -> None:
    """Authenticate each request. What depends on its identity is registered next, and `init_access` after that."""
    client = Auth0Client(settings)
    keys = KeySetCache(client.fetch_key_set, ttl_seconds=settings.jwks_cache_ttl_seconds)
    protector = ResourceProtector()
    access_tokens = TokenVerifier(keys.key, issuer=settings.auth0_issuer, audience=settings.auth0_audience)
    protector.register_token_validator(_AccessTokenValidator(access_tokens))
    app.extensions["guard"] = Guard(
        identity_provider=client,
        access_tokens=access_tokens,
        id_tokens=TokenVerifier(keys.key, issuer=settings.auth0_issuer, audience=settings.auth0_client_id),
        protector=protector,
    )
    app.before_request(_authenticate)


def init_access(app: Flask) -> None:
    """Close every route of the app to requests that were not authenticated."""
    app.before_request(_check_access)


def _guard(app: Flask = current_app) -> Guard:
    guard: Guard = app.extensions["guard"]
    return guard


def _authenticate() -> None:
    """Store the identity of the request, or the reason why it has none: it is raised once the request is counted."""
    authenticator = _authenticator_of(current_app.view_functions.get(request.endpoint or ""))
    if authenticator is None:
        return
    try:
        authenticator()
    except Exception as error:  # noqa: BLE001 - raised by `_check_access`
        g.authentication_error = error


def _authenticator_of(view: Callable[..., Any] | None) -> Callable[[], None] | None:
    own: Callable[[], None] | None = getattr(view, "authenticator", None)
    # An unknown path or method answers 404 or 405 by itself; a pre-flight carries no credentials (Fetch §3.2.2).
    if own is not None or view is None or is_public(view) or request.method == "OPTIONS":
        return own
    return _authenticate_by_header


def _authenticate_by_header() -> None:
    g.identity = authenticate_header().identity
    bind_contextvars(user_id=str(g.identity.user_id))


def _check_access() -> None:
    error: Exception | None = g.get("authentication_error")
    if error is not None:
        raise error


def _asked_for_a_token() -> Unauthenticated:
    return Unauthenticated("This needs an access token: send it as `Authorization: Bearer …`.")

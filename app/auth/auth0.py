"""HTTP client of Auth0's Authentication API.

Every call has a total deadline and a limit of the response's size, and follows no redirect. Environment variables for
proxies and .netrc files are not used. Callers hold no database connection. Unavailable: no usable response in time.
"""

import io
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import requests
import structlog
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from gevent import Timeout
from requests.adapters import HTTPAdapter

from app.auth.principal import SubjectClaims
from app.errors import (
    Conflict,
    Forbidden,
    GearyardError,
    InvalidCredentials,
    InvalidInput,
    TooManyRequests,
    Unavailable,
)
from app.observability.metrics import IDENTITY_PROVIDER_CALLS, CallOutcome
from app.settings import Settings

DOCUMENT_TIMEOUT_SECONDS = 3
GRACE_SECONDS = 0.5
API_TIMEOUT_SECONDS = 8  # Auth0 hashes a password at sign-up and login
RETRY_AFTER_SECONDS = 10
MAX_RESPONSE_BYTES = 256 * 1024
_NO_USERINFO = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)
PASSWORD_REALM_GRANT = "http://auth0.com/oauth/grant-type/password-realm"  # noqa: S105 - the name of a grant
SCOPE = "openid profile email offline_access"

log = structlog.get_logger(__name__)


class Auth0Client:
    """Client of one Auth0 tenant as one application. Calls share no state, so greenlets can share the client."""

    def __init__(self, settings: Settings) -> None:
        self._issuer = settings.auth0_issuer
        self._audience = settings.auth0_audience
        self._client_id = settings.auth0_client_id
        self._client_secret = settings.auth0_client_secret
        self._connection = settings.auth0_connection
        self._adapter = HTTPAdapter()

    def fetch_key_set(self) -> Mapping[str, Any]:
        """`GET /.well-known/jwks.json`. Raises Unavailable."""
        return self._fetch_document("jwks", "jwks.json")

    def fetch_metadata(self) -> Mapping[str, Any]:
        """`GET /.well-known/openid-configuration`, the cheapest request to answer. Raises Unavailable."""
        return self._fetch_document("discovery", "openid-configuration")

    def _fetch_document(self, endpoint: str, name: str) -> Mapping[str, Any]:
        with self._session(endpoint, DOCUMENT_TIMEOUT_SECONDS) as session:
            return _json_object(session.get(f"{self._issuer}.well-known/{name}", withhold_token=True))

    def fetch_userinfo(self, access_token: str) -> Mapping[str, Any]:
        """`GET /userinfo` (OpenID Connect Core §5.3); empty if the token is not accepted there. Raises Unavailable."""
        with self._session("userinfo") as session:
            session.token = {"access_token": access_token, "token_type": "Bearer"}
            response = session.get(f"{self._issuer}userinfo")
            return {} if response.status_code in _NO_USERINFO else _json_object(response)

    def sign_up(self, email: str, password: str) -> SubjectClaims:
        """`POST /dbconnections/signup`. Returns the claims that the account's tokens will carry.

        Raises Conflict (the account exists), InvalidInput (a rule of the tenant), TooManyRequests, Unavailable.
        """
        form = {"client_id": self._client_id, "connection": self._connection, "email": email, "password": password}
        with self._session("signup") as session:
            response = session.post(f"{self._issuer}dbconnections/signup", json=form, withhold_token=True)
            if 400 <= response.status_code < 500:
                raise _sign_up_refusal(response.status_code, response.json())
            account = _json_object(response)
        identifier = account.get("_id")
        if not isinstance(identifier, str) or not identifier:
            raise _unavailable("a sign-up without an identifier")
        return SubjectClaims(
            issuer=self._issuer,
            subject=f"auth0|{identifier}",  # `_id` lacks the prefix that the token's `sub` has
            email=email,
            email_verified=account.get("email_verified") is True,
        )

    def log_in(self, email: str, password: str, *, client_address: str) -> Mapping[str, Any]:
        """`POST /oauth/token` with the password-realm grant. Returns the token response (RFC 6749 §5.1).

        `client_address` is forwarded, so that Auth0's brute-force protection counts the client and not this server.
        Raises InvalidCredentials, Forbidden, TooManyRequests, Unavailable.
        """
        return self._fetch_token(
            grant_type=PASSWORD_REALM_GRANT,
            realm=self._connection,
            username=email,
            password=password,
            audience=self._audience,
            scope=SCOPE,
            headers={"auth0-forwarded-for": client_address} if client_address else {},
        )

    def refresh(self, refresh_token: str) -> Mapping[str, Any]:
        """`POST /oauth/token` with the refresh_token grant (RFC 6749 §6). Raises as `log_in`."""
        return self._fetch_token(grant_type="refresh_token", refresh_token=refresh_token, headers={})

    def _fetch_token(self, *, headers: Mapping[str, str], **parameters: str) -> Mapping[str, Any]:
        headers = {"Accept": "application/json", **headers}
        with self._session("token") as session:
            try:
                token = session.fetch_token(f"{self._issuer}oauth/token", headers=headers, **parameters)
            except OAuthError as error:
                raise _token_refusal(error) from error
            if not isinstance(token.get("access_token"), str):
                raise _unavailable("a token response without a token")
            return dict(token)

    @contextmanager
    def _session(self, endpoint: str, timeout_seconds: int = API_TIMEOUT_SECONDS) -> Iterator[OAuth2Session]:
        """A session for one call, which has a deadline and is measured. Calls share connections, but not cookies."""
        began_at, outcome = time.perf_counter(), CallOutcome.FAILED

        def on_response(response: requests.Response, **_: Any) -> None:
            nonlocal outcome
            _read_bounded(response)
            if response.status_code == requests.codes.ok:
                outcome = CallOutcome.OK
            elif 400 <= response.status_code < 500:
                outcome = CallOutcome.REFUSED

        session = OAuth2Session(
            self._client_id,
            self._client_secret,
            token_endpoint_auth_method="client_secret_post",  # noqa: S106 - the name of a method
            default_timeout=timeout_seconds,
            hooks={"response": [on_response]},
            max_redirects=0,
            trust_env=False,
        )
        session.mount(self._issuer, self._adapter)
        try:
            # requests' timeout is one for each read; this is the deadline of all reads together.
            with Timeout(timeout_seconds + GRACE_SECONDS):
                yield session
        except GearyardError:
            raise
        except (Exception, Timeout) as error:
            # requests, urllib3 and Authlib have exceptions of their own for a failed request or an invalid response.
            outcome = CallOutcome.FAILED
            raise _unavailable(type(error).__name__) from error
        finally:
            IDENTITY_PROVIDER_CALLS.labels(endpoint, outcome).observe(time.perf_counter() - began_at)


def _read_bounded(response: requests.Response) -> None:
    """Read the body before requests does, which has no limit of its size."""
    body = response.raw.read(MAX_RESPONSE_BYTES + 1, decode_content=True)
    if len(body) > MAX_RESPONSE_BYTES:
        response.close()
        raise requests.ConnectionError("The response is too large.")
    response.raw = io.BytesIO(body)


def _json_object(response: requests.Response) -> Mapping[str, Any]:
    body = response.json() if response.status_code == requests.codes.ok else None
    if not isinstance(body, dict):
        raise _unavailable(f"status {response.status_code} without a JSON object")
    return body


def _unavailable(reason: str) -> Unavailable:
    log.warning("tenant_unavailable", reason=reason)
    return Unavailable("The identity provider does not answer.", retry_after_seconds=RETRY_AFTER_SECONDS)


def _sign_up_refusal(status: int, body: Mapping[str, Any]) -> Exception:
    """The domain error of Auth0's "Signup" error. Newer tenants say `invalid_signup` for an existing user."""
    match status, body.get("code"):
        case _, "user_exists" | "username_exists" | "invalid_signup":
            return Conflict("There is an account with this e-mail already.")
        case _, "invalid_password" | "password_dictionary_error" | "password_no_user_info_error":
            policy = body.get("policy")
            return InvalidInput.of("password", policy if isinstance(policy, str) else "Too weak.", "too_weak")
        case 429, _:
            return TooManyRequests("Too many attempts.", retry_after_seconds=RETRY_AFTER_SECONDS)
        case 400, _:
            log.warning("tenant_refused_signup", code=str(body.get("code"))[:100], name=str(body.get("name"))[:100])
            return InvalidInput("The identity provider refuses this sign-up.")
    return _unavailable(f"signup status {status}")


def _token_refusal(error: OAuthError) -> Exception:
    """The domain error of the token endpoint's error (RFC 6749 §5.2 and Auth0's own)."""
    match error.error:
        case "invalid_grant":
            return InvalidCredentials("Invalid credentials.")
        case "too_many_attempts" | "too_many_requests":
            return TooManyRequests("Too many attempts.", retry_after_seconds=60)
        case "unauthorized" | "mfa_required" | "access_denied_by_rule":
            return Forbidden("The identity provider does not let this account in.")
    # All other errors are about this application's registration with Auth0.
    log.error("tenant_refused_application", error=str(error.error)[:100])
    return _unavailable("token endpoint refusal")

"""The tenant's HTTP client: Auth0's Authentication API, and nothing of what this service makes of its answers.

Every call is bounded in time and in size and follows no redirect. None is made while a database connection is held.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import requests
import structlog
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from gevent import Timeout
from requests.auth import AuthBase

from app.auth.bounded_http import BearerAuth, BoundedAdapter
from app.errors import Conflict, Forbidden, InvalidCredentials, InvalidInput, TooManyRequests, Unavailable
from app.observability.metrics import IDENTITY_PROVIDER_CALLS, CallOutcome
from app.settings import Settings

JWKS_TIMEOUT_SECONDS = 3
METADATA_TIMEOUT_SECONDS = 3
GRACE_SECONDS = 0.5
API_TIMEOUT_SECONDS = 8  # a sign-up or login hashes a password at the other end
RETRY_AFTER_SECONDS = 10
_REFUSALS = (requests.codes.unauthorized, requests.codes.forbidden, requests.codes.not_found)
PASSWORD_REALM_GRANT = "http://auth0.com/oauth/grant-type/password-realm"  # noqa: S105 - the name of a grant
SCOPE = "openid profile email offline_access"

Session = TypeVar("Session", bound=requests.Session)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class NewAccount:
    """An account as the tenant made it; `issuer` and `subject` are what its tokens will carry."""

    issuer: str
    subject: str
    email: str
    email_verified: bool


class Auth0Client:
    """Speaks to one tenant as one application. Safe to share between greenlets: no call leaves state behind."""

    def __init__(self, settings: Settings) -> None:
        self._issuer = settings.auth0_issuer
        self._audience = settings.auth0_audience
        self._client_id = settings.auth0_client_id
        self._client_secret = settings.auth0_client_secret
        self._connection = settings.auth0_connection
        self._adapter = BoundedAdapter()

    def fetch_key_set(self) -> Mapping[str, Any]:
        """`GET /.well-known/jwks.json`.

        Raises:
            Unavailable: no answer within `JWKS_TIMEOUT_SECONDS`, or not a JSON object.
        """
        return self._get(".well-known/jwks.json", endpoint="jwks", timeout_seconds=JWKS_TIMEOUT_SECONDS)

    def fetch_metadata(self) -> Mapping[str, Any]:
        """`GET /.well-known/openid-configuration` (OpenID Connect Discovery §4): what costs a tenant least to answer.

        Raises:
            Unavailable: as `fetch_key_set`.
        """
        path = ".well-known/openid-configuration"
        return self._get(path, endpoint="discovery", timeout_seconds=METADATA_TIMEOUT_SECONDS)

    def fetch_userinfo(self, access_token: str) -> Mapping[str, Any]:
        """`GET /userinfo` (OpenID Connect Core §5.3); nothing, where the tenant will not say.

        Raises:
            Unavailable: no answer.
        """
        auth = BearerAuth(access_token)
        return self._get("userinfo", endpoint="userinfo", timeout_seconds=API_TIMEOUT_SECONDS, auth=auth)

    def sign_up(self, email: str, password: str) -> NewAccount:
        """`POST /dbconnections/signup`.

        Raises:
            Conflict: there is such an account. InvalidInput: the password or e-mail is refused by the tenant's rules.
            TooManyRequests, Unavailable.
        """
        form = {"client_id": self._client_id, "connection": self._connection, "email": email, "password": password}
        response = _answered(
            self._plain_session().post, f"{self._issuer}dbconnections/signup", endpoint="signup", json=form
        )
        body = _json_object(response)
        if response.status_code != requests.codes.ok:
            raise _sign_up_refusal(response.status_code, body)
        identifier = body.get("_id")
        if not isinstance(identifier, str) or not identifier:
            raise _unavailable("a sign-up without an identifier")
        # The answer's `_id` lacks the connection's prefix that the token's `sub` has.
        return NewAccount(
            issuer=self._issuer,
            subject=f"auth0|{identifier}",
            email=email,
            email_verified=body.get("email_verified") is True,
        )

    def log_in(self, email: str, password: str, *, client_address: str) -> Mapping[str, Any]:
        """`POST /oauth/token` with the password-realm grant: the tenant's token response (RFC 6749 §5.1).

        `client_address` is passed on where it is known, else the tenant's brute-force protection sees only this server.

        Raises:
            InvalidCredentials, Forbidden, TooManyRequests, Unavailable.
        """
        return self._token(
            grant_type=PASSWORD_REALM_GRANT,
            realm=self._connection,
            username=email,
            password=password,
            audience=self._audience,
            scope=SCOPE,
            headers={"auth0-forwarded-for": client_address} if client_address else {},
        )

    def refresh(self, refresh_token: str) -> Mapping[str, Any]:
        """`POST /oauth/token` with the refresh_token grant (RFC 6749 §6).

        Raises:
            InvalidCredentials, Forbidden, TooManyRequests, Unavailable.
        """
        return self._token(grant_type="refresh_token", refresh_token=refresh_token)

    def _plain_session(self) -> requests.Session:
        return self._mounted(requests.Session())

    def _oauth_session(self) -> OAuth2Session:
        return self._mounted(
            OAuth2Session(
                self._client_id,
                self._client_secret,
                token_endpoint_auth_method="client_secret_post",  # noqa: S106 - the name of a method
            )
        )

    def _mounted(self, session: Session) -> Session:
        """A session of its own for each call, for it keeps cookies and tokens; the adapter's connections are shared."""
        session.mount(self._issuer, self._adapter)
        return session

    def _get(
        self, path: str, *, endpoint: str, timeout_seconds: int, auth: AuthBase | None = None
    ) -> Mapping[str, Any]:
        get = self._plain_session().get
        response = _answered(get, self._issuer + path, endpoint=endpoint, timeout_seconds=timeout_seconds, auth=auth)
        if auth is not None and response.status_code in _REFUSALS:
            return {}
        if response.status_code != requests.codes.ok:
            raise _unavailable(f"status {response.status_code}")
        return _json_object(response)

    def _token(self, *, headers: Mapping[str, str] | None = None, **parameters: str) -> Mapping[str, Any]:
        url = f"{self._issuer}oauth/token"
        headers = {"Accept": "application/json", **(headers or {})}
        fetch_token = self._oauth_session().fetch_token
        try:
            token: Mapping[str, Any] = _answered(
                partial(fetch_token, **parameters), url, endpoint="token", headers=headers
            )
        except OAuthError as error:
            raise _token_refusal(error) from error
        if not isinstance(token.get("access_token"), str):
            raise _unavailable("a token response without a token")
        return token


def _answered(
    call: Any, url: str, *, endpoint: str, timeout_seconds: int = API_TIMEOUT_SECONDS, **arguments: Any
) -> Any:
    began_at, outcome = time.perf_counter(), CallOutcome.FAILED
    try:
        # The limit that covers everything, headers that come byte by byte included.
        with Timeout(timeout_seconds + GRACE_SECONDS):
            answer = call(url, timeout=timeout_seconds, allow_redirects=False, **arguments)
        outcome = _outcome(answer)
        return answer
    except OAuthError:
        outcome = CallOutcome.REFUSED
        raise
    except (Exception, Timeout) as error:
        # requests, urllib3 and Authlib each have their own words for "no proper answer".
        raise _unavailable(type(error).__name__) from error
    finally:
        IDENTITY_PROVIDER_CALLS.labels(endpoint, outcome).observe(time.perf_counter() - began_at)


def _outcome(answer: Any) -> CallOutcome:
    """What to count it as. What is no response is a token, which Authlib has taken out of one."""
    if not isinstance(answer, requests.Response) or answer.status_code == requests.codes.ok:
        return CallOutcome.OK
    return CallOutcome.REFUSED if 400 <= answer.status_code < 500 else CallOutcome.FAILED


def _json_object(response: requests.Response) -> Mapping[str, Any]:
    try:
        body = response.json()
    except ValueError as error:
        raise _unavailable("not JSON") from error
    if not isinstance(body, dict):
        raise _unavailable("not a JSON object")
    return body


def _unavailable(reason: str) -> Unavailable:
    log.warning("tenant_unavailable", reason=reason)
    return Unavailable("The identity provider does not answer.", retry_after_seconds=RETRY_AFTER_SECONDS)


def _sign_up_refusal(status: int, body: Mapping[str, Any]) -> Exception:
    """Auth0's "Signup" errors as ours. An existing user is `user_exists`, or `invalid_signup` by newer tenants."""
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
    """The token endpoint's errors (RFC 6749 §5.2 and Auth0's own) as ours."""
    match error.error:
        case "invalid_grant":
            return InvalidCredentials("E-mail, password or refresh token are not right.")
        case "too_many_attempts" | "too_many_requests":
            return TooManyRequests("Too many attempts.", retry_after_seconds=60)
        case "unauthorized" | "mfa_required" | "access_denied_by_rule":
            return Forbidden("The identity provider does not let this account in.")
    # All else is about this application's own registration, which no client can mend.
    log.error("tenant_refused_application", error=str(error.error)[:100])
    return _unavailable("token endpoint refusal")

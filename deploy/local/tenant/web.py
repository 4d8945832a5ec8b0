"""The Flask application: discovery, the key set, and what holds for every answer."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import urlsplit

from flask import Blueprint, Flask, Response, current_app, jsonify, request
from werkzeug.exceptions import HTTPException, SecurityError

from . import accounts, control, login, oauth
from .context import Tenant, tenant
from .params import MAX_BODY_BYTES
from .redirects import LOOPBACK_HOSTS, is_loopback_origin
from .tokens import SCOPES

SESSION_LIFETIME = timedelta(days=3)  # Auth0's default for an idle session
CORS_PATHS = frozenset(
    {
        "/.well-known/openid-configuration",
        "/.well-known/jwks.json",
        "/oauth/token",
        "/userinfo",
        "/dbconnections/signup",
    }
)

blueprint = Blueprint("metadata", __name__)


def create_app(here: Tenant, cookie_key: bytes) -> Flask:
    """The WSGI application of one tenant."""
    app = Flask(__name__, static_folder=None)
    app.config.update(
        SECRET_KEY=cookie_key,
        MAX_CONTENT_LENGTH=MAX_BODY_BYTES,
        SESSION_COOKIE_NAME="gearyard_tenant",  # cookies ignore ports: keep clear of the web client's own "session"
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        PERMANENT_SESSION_LIFETIME=SESSION_LIFETIME,
    )
    app.extensions["tenant"] = here
    for part in (blueprint, oauth.blueprint, accounts.blueprint, login.blueprint):
        app.register_blueprint(part)
    if here.config.control:
        app.register_blueprint(control.blueprint)
    app.before_request(_refuse_foreign_host)
    app.after_request(_finish)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected)
    return app


@blueprint.get("/.well-known/openid-configuration")
def discovery() -> Response:
    """The provider metadata of OpenID Connect Discovery §3 and RFC 8414 §2, listing only what works here."""
    issuer = tenant().config.issuer
    return jsonify(
        issuer=issuer,
        authorization_endpoint=issuer + "authorize",
        token_endpoint=issuer + "oauth/token",
        userinfo_endpoint=issuer + "userinfo",
        jwks_uri=issuer + ".well-known/jwks.json",
        end_session_endpoint=issuer + "oidc/logout",
        scopes_supported=SCOPES,
        response_types_supported=["code"],
        response_modes_supported=["query"],
        grant_types_supported=list(oauth.GRANTS),
        code_challenge_methods_supported=["S256"],
        subject_types_supported=["public"],
        id_token_signing_alg_values_supported=["RS256"],
        token_endpoint_auth_methods_supported=["client_secret_basic", "client_secret_post", "none"],
        claims_supported=["sub", "iss", "aud", "iat", "exp", "auth_time", "email", "email_verified", "family_name",
                          "given_name", "name", "nickname", "picture"],
        request_uri_parameter_supported=False,
        request_parameter_supported=False,
    )  # fmt: skip


@blueprint.get("/.well-known/jwks.json")
def jwks() -> Response:
    """The public keys (RFC 7517 §5): current, next, and those rotated out but not revoked."""
    response = jsonify(tenant().keys.public_set())
    response.headers["Cache-Control"] = "public, max-age=15, stale-while-revalidate=15, stale-if-error=86400"
    return response


def _refuse_foreign_host() -> tuple[Response, int] | None:
    # A page on the internet can point its own name at 127.0.0.1 (DNS rebinding); the browser then still sends the name.
    try:
        host = urlsplit(f"//{request.host}").hostname
    except (ValueError, SecurityError):
        host = None
    own = urlsplit(tenant().config.issuer).hostname
    return None if host in LOOPBACK_HOSTS or host == own else (jsonify(error="unknown host"), 421)


def _finish(response: Response) -> Response:
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    if "Cache-Control" not in response.headers:
        response.headers["Cache-Control"] = "no-store"
    if request.path in CORS_PATHS:
        _allow_loopback_origin(response)
    return response


def _allow_loopback_origin(response: Response) -> None:
    response.vary.add("Origin")
    origin = request.headers.get("Origin", "")
    if not is_loopback_origin(origin):
        return
    response.headers["Access-Control-Allow-Origin"] = origin
    if request.method == "OPTIONS":
        response.headers["Access-Control-Allow-Methods"] = "GET, POST"
        response.headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type, Auth0-Client"
        response.headers["Access-Control-Max-Age"] = "600"


def _http_error(error: HTTPException) -> Response:
    status = error.code or 500
    response = jsonify(statusCode=status, error=error.name, message=error.description)
    response.headers.extend(error.get_headers())
    response.mimetype = "application/json"
    response.status_code = status
    return response


def _unexpected(error: Exception) -> tuple[Response, int]:
    current_app.logger.error("unexpected %s", type(error).__name__, exc_info=error)
    return jsonify(error="server_error", error_description="Internal error"), 500

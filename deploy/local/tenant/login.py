"""``/authorize`` with its login page, and logout (Auth0 "Authorize", "Universal Login", "Log Users Out")."""

from __future__ import annotations

import hmac
import secrets
import time
from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response, render_template, request, session
from itsdangerous import BadData

from .accounts import SignupRefused, register
from .authorization import AuthorizationRequest, Target, Unredirectable, read_request, read_target
from .codes import Authorization
from .context import tenant
from .errors import OAuthError
from .grants import check_password
from .params import BadParameters
from .redirects import is_allowed, origin_of_uri, with_parameters
from .store import User

blueprint = Blueprint("login", __name__)

FORM_LIFETIME_SECONDS = 3_600  # how long a login page may stay open
_MESSAGES = {
    "invalid_grant": "Wrong email or password.",
    "unauthorized": "This account is blocked.",
    "user_exists": "This email address already has an account. Log in instead.",
    "invalid_signup": "This account could not be created.",
    "invalid_password": "Use at least 8 characters, with three of: lower case, upper case, digits, other signs.",
    "invalid_email": "Enter a valid email address.",
}


@blueprint.get("/authorize")
def authorize() -> Response:
    """Ask the user to log in, or answer at once if this browser already has (RFC 6749 §4.1.1).

    Errors go to the redirect URI as ``error`` and ``error_description``, once that URI has been checked; before, they
    are a page with status 403. There is no consent page: Auth0 shows none for a first-party application.
    """
    target = read_target(request.args)
    try:
        asked = read_request(request.args, target)
    except OAuthError as error:
        return _refuse(target, error.code, error.description)
    user = _session_user(asked)
    if user is not None:
        return _grant(asked, user)
    if asked.prompt == "none":
        return _refuse(target, "login_required", "Login required")
    page = "signup" if request.args.get("screen_hint") == "signup" else "login"
    return _page(page, asked, email=request.args.get("login_hint", "")[:254])


@blueprint.post("/u/login")
def login() -> Response:
    """The login form: 302 to the redirect URI with a code, or the page again (400; 403 if blocked)."""
    asked = _submitted()
    email = request.form.get("email", "")
    try:
        user = check_password(email, request.form.get("password", ""))
    except OAuthError as error:
        return _page("login", asked, email, error.code, 403 if error.code == "unauthorized" else 400)
    return _start_session(asked, user)


@blueprint.post("/u/signup")
def signup() -> Response:
    """The sign-up form: makes the account and logs it in, or shows the page again (400)."""
    asked = _submitted()
    email = request.form.get("email", "")
    try:
        user = register(email, request.form.get("password", ""), {})
    except SignupRefused as error:
        return _page("signup", asked, email, str(error.body["code"]), 400)
    except BadParameters:
        return _page("signup", asked, email, "invalid_email", 400)
    return _start_session(asked, user)


@blueprint.get("/v2/logout", defaults={"parameter": "returnTo"})
@blueprint.get("/oidc/logout", defaults={"parameter": "post_logout_redirect_uri"})
def logout(parameter: str) -> Response:
    """End this browser's session, then redirect if asked to and allowed (OpenID Connect RP-Initiated Logout §2, §3)."""
    session.clear()
    uri = request.args.get(parameter)
    if uri is None:
        return Response("OK", mimetype="text/plain")
    if not is_allowed(uri):
        raise Unredirectable(f"{parameter} must be https, or http on localhost.")
    return _redirect(uri, state=request.args.get("state") if parameter != "returnTo" else None)


@blueprint.errorhandler(Unredirectable)
def _unredirectable(error: Unredirectable) -> Response:
    return _html(render_template("error.html", message=str(error)), 403)


def _session_user(asked: AuthorizationRequest) -> User | None:
    if asked.prompt == "login" or "user_id" not in session:
        return None
    if asked.max_age is not None and time.time() - session["auth_time"] > asked.max_age:
        return None
    user = tenant().store.find_user_by_id(session["user_id"])
    return user if user is not None and not user.blocked else None


def _start_session(asked: AuthorizationRequest, user: User) -> Response:
    session.clear()  # a new session for a new log-in: nobody can have planted this one
    session.permanent = True
    session.update(user_id=user.id, sid=secrets.token_urlsafe(24), auth_time=int(time.time()))
    return _grant(asked, user)


def _grant(asked: AuthorizationRequest, user: User) -> Response:
    bound = {name: value for name, value in asdict(asked).items() if name not in ("state", "prompt", "max_age")}
    authorization = Authorization(**bound, user_id=user.id, sid=session["sid"], auth_time=session["auth_time"])
    return _redirect(asked.redirect_uri, code=tenant().codes.issue(authorization), state=asked.state)


def _submitted() -> AuthorizationRequest:
    """The request that the posted page was for. Raises Unredirectable if the page is forged, foreign or too old."""
    expected, given = session.get("csrf", ""), request.form.get("csrf", "")
    if not expected or not hmac.compare_digest(expected.encode(), given.encode()):
        raise Unredirectable("This login page does not belong to this browser session. Go back and start again.")
    try:
        fields: dict[str, Any] = tenant().signer.loads(request.form.get("request", ""), max_age=FORM_LIFETIME_SECONDS)
    except BadData:
        raise Unredirectable("This login page is too old. Go back and start again.") from None
    return AuthorizationRequest(**fields)


def _page(page: str, asked: AuthorizationRequest, email: str = "", error: str = "", status: int = 200) -> Response:
    session.setdefault("csrf", secrets.token_urlsafe(24))
    signed, nonce = tenant().signer.dumps(asdict(asked)), secrets.token_urlsafe(16)
    links = {name: with_parameters("/authorize", **_query(asked), screen_hint=name) for name in ("login", "signup")}
    context = {"page": page, "signed": signed, "csrf": session["csrf"], "email": email, "links": links}
    html = render_template("login.html", error=_MESSAGES.get(error, ""), nonce=nonce, **context)
    # form-action also governs the redirect that follows the form, so the web client's origin is part of it.
    return _html(html, status, f"style-src 'nonce-{nonce}'; form-action 'self' {origin_of_uri(asked.redirect_uri)}; ")


def _query(asked: AuthorizationRequest) -> dict[str, str | None]:
    query = {name: None if value is None else str(value) for name, value in asdict(asked).items()}
    method = "S256" if asked.code_challenge else None
    return query | {"response_type": "code", "code_challenge_method": method}


def _html(html: str, status: int, policy: str = "") -> Response:
    response = Response(html, status, mimetype="text/html")
    response.headers["Content-Security-Policy"] = f"default-src 'none'; {policy}base-uri 'none'; frame-ancestors 'none'"
    response.headers["X-Frame-Options"] = "DENY"
    return response


def _refuse(target: Target, code: str, description: str) -> Response:
    return _redirect(target.redirect_uri, error=code, error_description=description, state=target.state)


def _redirect(uri: str, **parameters: str | None) -> Response:
    return Response(status=302, headers={"Location": with_parameters(uri, **parameters)})

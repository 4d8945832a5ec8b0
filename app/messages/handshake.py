"""Checks of the opening handshake: RFC 6455 §4.2.1, the origin, the limits of sockets, and the token, if there is one.

A refusal is an HTTP error with the API's error body. After the 101, none is possible.
"""

import re
from http import HTTPMethod, HTTPStatus

from flask import Response, abort, g, request

from app.auth.identity import Authenticated, authenticate, authenticate_header, authenticated_by
from app.errors import AmbiguousCredentials, Forbidden, InvalidToken, MalformedRequest, TooManyRequests, Unavailable
from app.messages import runtime
from app.realtime.websocket import SUBPROTOCOL
from app.settings import AppEnv
from app.web.access import public
from app.web.api import settings
from app.web.errors import error_response

VERSION = "13"
RETRY_AFTER_SECONDS = 5
ANOTHER_WORKER_AFTER_SECONDS = 1  # by then this worker has stopped accepting connections
_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")  # 16 bytes
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)  # RFC 9110 §5.6.2


def authenticate_handshake() -> None:
    """Check the handshake, and set `g.socket_caller`, which is None without a token."""
    options = {option.strip().lower() for option in request.headers.get("Connection", "").split(",")}
    if request.headers.get("Upgrade", "").lower() != "websocket" or "upgrade" not in options:
        abort(explain())
    if request.headers.get("Sec-WebSocket-Version") != VERSION:
        abort(_upgrade_required(f"Only version {VERSION} of the WebSocket protocol is spoken here."))
    _check_form()
    _check_origin()
    _check_room()
    g.socket_caller = _caller()


def check_room_of_caller() -> None:
    """Check the limits of sockets, last, as authentication can wait while other sockets open."""
    _check_room()
    hub, who = runtime.current().hub, g.socket_caller
    if who is None and hub.unauthenticated_limit_reached:
        raise Unavailable("Too many sockets have not said whose they are.", retry_after_seconds=RETRY_AFTER_SECONDS)
    if who is not None and hub.is_full_for(who.identity.user_id):
        raise TooManyRequests("You have too many open sockets; close one.", retry_after_seconds=RETRY_AFTER_SECONDS)


@public
@authenticated_by(authenticate_handshake)
def explain() -> Response:
    """Refuse a request without an upgrade."""
    return _upgrade_required("This is a WebSocket: connect with a WebSocket client.")


def _upgrade_required(message: str) -> Response:
    """The response 426 (RFC 9110 §15.5.22, RFC 6455 §4.4)."""
    response = error_response(HTTPStatus.UPGRADE_REQUIRED, "BAD_REQUEST", message)
    response.headers.update({"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": VERSION})
    return response


def _check_form() -> None:
    if request.environ.get("SERVER_PROTOCOL") != "HTTP/1.1" or request.method != HTTPMethod.GET:
        raise MalformedRequest("A WebSocket begins with an HTTP/1.1 GET request.")
    # A body would be read as frames.
    if request.content_length or "Transfer-Encoding" in request.headers:
        raise MalformedRequest("A WebSocket begins with a request that has no body.")
    if _KEY.fullmatch(request.headers.get("Sec-WebSocket-Key", "")) is None:
        raise MalformedRequest("Sec-WebSocket-Key must be 16 bytes in Base64.")
    if not request.headers.get("Host"):
        raise MalformedRequest("The Host header is missing.")
    if any(_TOKEN.fullmatch(protocol) is None for protocol in _subprotocols()):
        raise MalformedRequest("Sec-WebSocket-Protocol is not a list of tokens.")
    if "gunicorn.socket" not in request.environ:
        raise Unavailable("This server cannot open sockets.", retry_after_seconds=RETRY_AFTER_SECONDS)


def _check_origin() -> None:
    """Refuse foreign pages: browsers send the Origin, and apply no same-origin policy to sockets (RFC 6455 §10.2)."""
    if settings().app_env is AppEnv.PRODUCTION and request.scheme != "https":
        raise MalformedRequest("Use wss: a token must not travel in the clear.")
    origin = request.headers.get("Origin")
    if origin is not None and origin not in settings().cors_allowed_origins:
        raise Forbidden("This origin may not open sockets here.")


def _check_room() -> None:
    hub = runtime.current().hub
    if hub.is_draining:
        raise Unavailable("This worker is about to end.", retry_after_seconds=ANOTHER_WORKER_AFTER_SECONDS)
    if hub.is_full:
        raise Unavailable("There is no room for another socket now.", retry_after_seconds=RETRY_AFTER_SECONDS)


def _caller() -> Authenticated | None:
    if "Authorization" in request.headers:
        authenticated = authenticate_header()
    elif (token := _token()) is not None:
        authenticated = authenticate(token)
    else:
        return None
    g.identity = authenticated.identity
    return authenticated


def _token() -> str | None:
    """The access token of the subprotocol, or else of the URL."""
    protocols = _subprotocols()
    if SUBPROTOCOL in protocols:
        others = [protocol for protocol in protocols if protocol != SUBPROTOCOL]
        if len(others) > 1:
            raise InvalidToken("Send one token, as `Sec-WebSocket-Protocol: bearer, <token>`.")
        if others:
            return others[0]
    tokens = request.args.getlist("token")
    if len(tokens) > 1:
        raise AmbiguousCredentials("Send one token in the URL, not several.")
    return tokens[0] if tokens else None


def _subprotocols() -> list[str]:
    header = request.headers.get("Sec-WebSocket-Protocol")
    return [] if header is None else [protocol.strip() for protocol in header.split(",")]

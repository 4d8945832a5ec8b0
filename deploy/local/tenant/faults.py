"""Counting every request, and misbehaving on demand, before the application sees the request."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import gevent

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

TRAP = "/_control/trap"
PATHS = {
    "/.well-known/openid-configuration": "discovery",
    "/.well-known/jwks.json": "jwks",
    "/oauth/token": "token",
    "/dbconnections/signup": "signup",
    "/userinfo": "userinfo",
    "/authorize": "authorize",
    "/u/login": "login",
    "/u/signup": "login_signup",
    "/v2/logout": "logout",
    "/oidc/logout": "logout",
    TRAP: "trap",
}
ENDPOINTS = tuple(dict.fromkeys(PATHS.values()))
ANY = "*"
MODES = ("none", "down", "error", "slow", "drip", "garbage", "huge", "redirect", "rate_limited", "wrong_shape")
DRIP_SECONDS = 0.5
HUGE_BYTES = 50 * 1024 * 1024
FORWARDED_FOR_HELD = 1_000
HANG_UP = "tenant.hang_up"  # the key under which the server's handler offers to close the connection unanswered

_JSON = ("Content-Type", "application/json; charset=utf-8")
_HTML = ("Content-Type", "text/html; charset=utf-8")
_WRONG_SHAPES = {
    "jwks": b'{"keys":"no"}',
    "token": b'{"access_token":["no"],"token_type":7,"expires_in":"soon"}',
    "signup": b'{"_id":7,"email":[]}',
    "userinfo": b"[]",
    "discovery": b'{"issuer":null,"jwks_uri":[]}',
}
_RATE_LIMITED = (
    b'{"error":"too_many_attempts","error_description":"Your account has been blocked after multiple consecutive '
    b'login attempts. An email with instructions on how to unblock it was sent."}'
)


@dataclass
class Fault:
    """How an endpoint misbehaves. ``times`` requests are left (None: no end); ``seconds`` is the wait of "slow"."""

    mode: str
    seconds: float = 0.0
    times: int | None = None


class Faults:
    """The requests counted and the faults set. Both are gone after a restart."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._forwarded_for: OrderedDict[str, str | None] = OrderedDict()
        self._faults: dict[str, Fault] = {}

    def counters(self) -> dict[str, Any]:
        """Requests per endpoint since the start or the last reset, and the last forwarded-for per e-mail."""
        counts = {name: self._counts[name] for name in (*ENDPOINTS, "other")}
        return {"endpoints": counts, "forwarded_for": dict(self._forwarded_for)}

    def reset_counters(self) -> None:
        """Count from zero again."""
        self._counts.clear()
        self._forwarded_for.clear()

    def saw_forwarded_for(self, email: str, value: str | None) -> None:
        """Remember the ``auth0-forwarded-for`` of this e-mail's last log-in (None: the header was absent)."""
        key = email.strip().lower()
        self._forwarded_for[key] = value
        self._forwarded_for.move_to_end(key)
        if len(self._forwarded_for) > FORWARDED_FOR_HELD:
            self._forwarded_for.popitem(last=False)

    def set(self, endpoint: str, fault: Fault) -> None:
        """Let the endpoint (or "*", all without a fault of their own) misbehave; mode "none" ends it."""
        self._faults.pop(endpoint, None)
        if fault.mode != "none" and fault.times != 0:
            self._faults[endpoint] = fault

    def clear(self) -> None:
        """End every fault."""
        self._faults.clear()

    def active(self) -> dict[str, dict[str, Any]]:
        """The faults that are set, by endpoint."""
        return {endpoint: asdict(fault) for endpoint, fault in self._faults.items()}

    def count(self, path: str) -> None:
        """Count a request to this path. The control switches themselves are not counted, the trap is."""
        if path == TRAP or not path.startswith("/_control"):
            self._counts[PATHS.get(path, "other")] += 1

    def take(self, path: str) -> Fault | None:
        """The fault that this request meets, if any; one of its ``times`` is used up."""
        if path.startswith("/_control"):
            return None
        name = PATHS.get(path, "other")
        key = name if name in self._faults else ANY
        fault = self._faults.get(key)
        if fault is not None and fault.times is not None:
            fault.times -= 1
            if fault.times == 0:
                del self._faults[key]
        return fault


class FaultyApplication:
    """WSGI middleware: counts the request, then lets its fault answer, or the application."""

    def __init__(self, application: WSGIApplication, faults: Faults) -> None:
        self._application = application
        self._faults = faults

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """The answer to one request (PEP 3333)."""
        path = environ.get("PATH_INFO", "")
        self._faults.count(path)
        fault = self._faults.take(path)
        if fault is not None and fault.mode == "slow":
            gevent.sleep(fault.seconds)
            fault = None
        if fault is None:
            return self._application(environ, start_response)
        if fault.mode == "down":
            environ[HANG_UP]()
            return []
        return _misbehave(fault.mode, PATHS.get(path, "other"), start_response)


def _misbehave(mode: str, endpoint: str, start_response: StartResponse) -> Iterable[bytes]:
    if mode == "redirect":
        start_response("302 Found", [("Location", TRAP), ("Content-Length", "0")])
        return []
    if mode == "error":
        start_response("500 Internal Server Error", [_HTML])
        return [b"<!doctype html><title>500</title><h1>Internal Server Error</h1>"]
    if mode == "rate_limited":
        limits = [("X-RateLimit-Limit", "10"), ("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "4102444800")]
        start_response("429 Too Many Requests", [_JSON, *limits])
        return [_RATE_LIMITED]
    start_response("200 OK", [_JSON])
    if mode == "drip":
        return _drip()
    if mode == "huge":
        return _huge()
    return [b"\xff\xfe<not json" if mode == "garbage" else _WRONG_SHAPES.get(endpoint, b"[]")]


def _drip() -> Iterator[bytes]:
    yield b"{"
    while True:
        gevent.sleep(DRIP_SECONDS)
        yield b" "


def _huge() -> Iterator[bytes]:
    # JSON all the way, so that only a limit on size can save its reader.
    chunk = b" " * 65_536
    for _ in range(HUGE_BYTES // len(chunk)):
        yield chunk
        gevent.sleep(0)  # others get their turn
    yield b"{}"

"""Rate limits, by Flask-Limiter: fixed windows that begin with their first request.

**Caller.** A request counts once: against the user if its token is valid, else against the client's network. An
invalid token counts against the network, whose users have limits of their own.

**Limit.** A view marked `@limited` has a limit of its own in place of the general one, which counts all other routes
together. Unknown paths and wrong methods count; pre-flights do not.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from http import HTTPMethod
from typing import Any, Literal, NoReturn

from flask import Flask, Response, g, request
from flask_limiter import Limit, Limiter, RequestLimit
from limits import RateLimitItem, RateLimitItemPerSecond, WindowStats, parse_many

from app.common.client_address import network_of
from app.errors import TooManyRequests
from app.settings import Settings
from app.web import rate_limit_storage  # noqa: F401 - registers the schemes of its storages
from app.web.access import View, current_view, mark

_OWN_LIMITS = ("public_search", "auth")
_LIMITS = (*_OWN_LIMITS, "anonymous", "authenticated")
HEADERS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
# Load balancers ask these often, and a refusal would take the service out. `/metrics` is limited: Prometheus asks a few
# times a minute.
EXEMPT_ENDPOINTS = frozenset({"health", "ready"})


def limited(by: Literal["public_search", "auth"]) -> Callable[[View], View]:
    """Give a view this limit of `RateLimits` for itself, in place of the general one."""
    return mark(rate_limit=by)


def init_app(app: Flask, settings: Settings) -> None:
    """Check the limits before each request, unless `RATE_LIMIT_ENABLED` is off. Connects to nothing yet."""
    if not settings.rate_limits.enabled:
        return
    limits = {name: _parse(getattr(settings.rate_limits, name)) for name in _LIMITS}
    limiter = Limiter(
        _caller,
        app=app,
        default_limits=[_CallerLimit(limits)],
        request_identifier=lambda: request.endpoint or "unmatched",  # a request without a name would be exempt
        on_breach=lambda breached: _refuse(breached, limits[g.rate_limit]),
        storage_uri=f"gearyard+{settings.redis_url or 'memory://'}",
    )
    limiter.request_filter(lambda: request.method == HTTPMethod.OPTIONS or request.endpoint in EXEMPT_ENDPOINTS)

    # Flask-Limiter's own headers tell about the first window, and add Retry-After to successful responses.
    @app.after_request
    def add_headers(response: Response) -> Response:
        counted = limiter.current_limit
        if counted is not None:
            window, stats = _tightest(counted, limits[g.rate_limit])
            values = (window.amount, stats.remaining, math.ceil(stats.reset_time))
            response.headers.extend(zip(HEADERS, map(str, values), strict=True))
        return response


class _CallerLimit(Limit):
    """The limit of the current request, whose name it leaves in `g.rate_limit`.

    The library parses the text of a limit for every request; this does it once.
    """

    def __init__(self, limits: Mapping[str, list[RateLimitItem]]) -> None:
        super().__init__("")
        self._windows = {
            name: list(
                Limit(
                    ";".join(map(str, windows)),
                    key_function=_caller,
                    scope=str if name in _OWN_LIMITS else "all",  # called with the endpoint
                    shared=True,
                )
            )
            for name, windows in limits.items()
        }

    def __iter__(self) -> Iterator[Any]:
        own_limit = getattr(current_view(), "rate_limit", None)
        g.rate_limit = own_limit or ("authenticated" if "identity" in g else "anonymous")
        return iter(self._windows[g.rate_limit])


def _parse(limit: str) -> list[RateLimitItem]:
    """Return the windows of a limit, the shortest first: if it is full, the longer ones do not count the request.

    All are in seconds, because Flask-Limiter sorts by the unit and not by the length.
    """
    found = {(window.get_expiry(), window.amount) for window in parse_many(limit)}
    return [RateLimitItemPerSecond(amount, seconds) for seconds, amount in sorted(found)]


def _caller() -> str:
    if "identity" in g:
        return f"user:{g.identity.user_id}"
    return f"address:{network_of(request.remote_addr or '')}"


def _tightest(counted: RequestLimit, windows: list[RateLimitItem]) -> tuple[RateLimitItem, WindowStats]:
    """Find the window with the fewest requests left; of several with none left, the one that ends last."""
    stats = [(window, counted.limiter.get_window_stats(window, *counted.request_args)) for window in windows]
    return min(stats, key=lambda found: (found[1].remaining, -found[1].reset_time))


def _refuse(breached: RequestLimit, windows: list[RateLimitItem]) -> NoReturn:
    for longer in windows[windows.index(breached.limit) + 1 :]:
        breached.limiter.hit(longer, *breached.request_args, cost=0)  # reads the count of all workers
    _, stats = _tightest(breached, windows)
    seconds_left = math.ceil(stats.reset_time - time.time())
    raise TooManyRequests("Too many requests; slow down.", retry_after_seconds=max(1, seconds_left))

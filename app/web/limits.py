"""How often one caller may ask. Flask-Limiter counts; who is counted, when, and what is answered is said here.

**Who.** A request counts once: against the user if its token was good, else against the client's network. A bad token
is judged before it is counted, and answered 429 in place of 401 once its network has used up what strangers may: so a
flood of guesses learns nothing, and costs no more than a signature each. It is not refused unseen, because a network
may be an office or a whole provider (NAT), and whoever is known there must not suffer for neighbours who are not.

**What.** A view marked `@limited` has a limit of its own in place of the general one. Pre-flights are not counted;
unknown paths and wrong methods are.

**How.** Fixed windows, each of which begins with the first request in it. One round trip to Redis for each window of
the limit that applies (`10/minute` has one, `10/minute;100/day` two), and no database connection is held meanwhile.
`limit_storage` tells what happens without Redis.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPMethod
from typing import Any, Literal, NoReturn, TypeVar

from flask import Flask, Response, current_app, g, request
from flask_limiter import Limiter, RequestLimit
from limits import parse_many

from app.client_address import network_of
from app.errors import TooManyRequests
from app.settings import RateLimits, Settings
from app.web import limit_storage

View = TypeVar("View", bound=Callable[..., Any])

HEADERS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
# Load balancers ask these, often and from one address; a refusal would take the service out. Not `/metrics`: Prometheus
# asks a few times a minute, and others that ask are to be limited.
EXEMPT_ENDPOINTS = frozenset({"health", "ready"})
# Who opens a socket is known when its handshake was judged, and not before: `app.messages.handshake` counts it.
SOCKETS = "socket"


def limited(by: Literal["public_search", "auth"]) -> Callable[[View], View]:
    """Mark a view as having this limit of `RateLimits` for itself, in place of the general one."""

    def mark(view: View) -> View:
        view.rate_limit = by  # type: ignore[attr-defined]
        return view

    return mark


def init_app(app: Flask, settings: Settings) -> None:
    """Make the app's counter; unless limits are off. Connects to nothing yet."""
    rates = settings.rate_limits
    if not rates.enabled:
        return
    limiter = Limiter(
        _counted_for,
        storage_uri="gearyard://",
        storage_options={"redis_url": settings.redis_url or ""},
        request_identifier=_subject,
        headers_enabled=False,  # its own tell of the shortest window, not the tightest, and put Retry-After on a 200
        on_breach=lambda _: _refuse(limiter, rates),
    )
    limiter.logger.setLevel(logging.WARNING)  # at INFO, every refusal: the request's own line says so already
    limiter.request_filter(_is_exempt)
    limiter.init_app(app)

    # Its own hook comes too early, before anybody knows who is calling. This counts whenever it is called.
    @limiter.shared_limit(lambda: _limit(rates), scope=_scope)
    def count() -> None:
        """Count the request being served."""

    app.extensions["count_request"] = count
    app.after_request(partial(_describe, limiter, rates))


@contextmanager
def counting() -> Iterator[None]:
    """Count the request when the block has found out who makes it (`g.identity`), or has failed to.

    Raises:
        TooManyRequests: in place of what the block raised, if it raised something.
    """
    try:
        yield
    except Exception:
        _count()
        raise
    _count()


def count_stranger() -> None:
    """Count a request that nobody is asked to put a name to. Raises TooManyRequests."""
    if request.blueprint != SOCKETS:
        _count()


def _count() -> None:
    count: Callable[[], None] | None = current_app.extensions.get("count_request")
    if count is not None:
        limit_storage.begin_counting()
        count()


def _subject() -> str:
    """What Flask-Limiter limits: by default an endpoint, so that requests without one go free; nothing, in its hook."""
    return "request" if limit_storage.is_counting() else ""


def _is_exempt() -> bool:
    return request.method == HTTPMethod.OPTIONS or request.endpoint in EXEMPT_ENDPOINTS


def _counted_for() -> str:
    identity = g.get("identity")
    return f"user:{identity.user_id}" if identity is not None else f"address:{network_of(request.remote_addr or '')}"


def _own_limit() -> str | None:
    view = current_app.view_functions.get(request.endpoint or "")
    return getattr(view, "rate_limit", None)


def _scope(endpoint: str) -> str:
    return endpoint if _own_limit() is not None else "all"


def _limit(rates: RateLimits) -> str:
    name = _own_limit() or ("authenticated" if g.get("identity") is not None else "anonymous")
    limit: str = getattr(rates, name)
    return limit


def _windows(limiter: Limiter, rates: RateLimits) -> list[RequestLimit]:
    """Every window of the limit that the request was counted by; none if it was not."""
    counted = limiter.current_limits
    if not counted or not counted[-1].breached:
        return counted
    # Flask-Limiter looks no further than the first that is full. A longer one may be, too, and end later.
    seen = [window.limit for window in counted]
    others = [limit for limit in parse_many(_limit(rates)) if limit not in seen]
    return [*counted, *(RequestLimit(limiter, limit, counted[-1].request_args, False, True) for limit in others)]


def _tightest(windows: list[RequestLimit]) -> RequestLimit:
    """The one that leaves the least; of several that leave nothing, the one that ends last."""
    return min(windows, key=lambda window: (window.remaining, -window.window.reset_time))


def _refuse(limiter: Limiter, rates: RateLimits) -> NoReturn:
    """Raise TooManyRequests, with the time after which the request would be let in."""
    tightest = _tightest(_windows(limiter, rates))
    seconds_left = math.ceil(tightest.window.reset_time - time.time())
    raise TooManyRequests("Too many requests; slow down.", retry_after_seconds=max(1, seconds_left))


def _describe(limiter: Limiter, rates: RateLimits, response: Response) -> Response:
    """Tell how many are left until when: seconds since the epoch, rounded up."""
    windows = _windows(limiter, rates)
    if windows:
        tightest = _tightest(windows)
        values = (tightest.limit.amount, tightest.remaining, math.ceil(tightest.window.reset_time))
        response.headers.update(zip(HEADERS, map(str, values), strict=True))
    return response

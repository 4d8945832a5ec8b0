"""How often one caller may ask. The `limits` library reads what the settings say; who is counted, when, and what is
answered is said here.

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

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPMethod
from typing import Any, Literal, TypeVar

from flask import Flask, Request, Response, current_app, g, request
from limits import RateLimitItem, parse_many

from app.client_address import network_of
from app.errors import TooManyRequests
from app.settings import RateLimits, Settings
from app.web.limit_storage import WindowStorage

View = TypeVar("View", bound=Callable[..., object])

HEADERS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
EXTENSION = "request_counter"
EVERYWHERE = "all"  # where the general limits count: over all routes together
_COUNTED = "gearyard.counted_by"
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
    if settings.rate_limits.enabled:
        app.extensions[EXTENSION] = _Counter(settings.rate_limits, WindowStorage(settings.redis_url))
        app.after_request(_describe)


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


@dataclass(frozen=True, slots=True)
class Counted:
    """A window that a request was counted in; it ends at `ends_at`, in seconds since the epoch."""

    amount: int
    requests: int
    ends_at: float

    @property
    def remaining(self) -> int:
        """How many more it lets in."""
        return max(0, self.amount - self.requests)


class _Counter:
    """Counts requests in the windows of the limits that apply to them."""

    def __init__(self, rates: RateLimits, storage: WindowStorage) -> None:
        # The shortest window first: one that is full keeps the request out of the longer ones.
        self._limits: dict[str, list[RateLimitItem]] = {
            name: sorted(set(parse_many(getattr(rates, name))))
            for name in ("public_search", "auth", "anonymous", "authenticated")
        }
        self._storage = storage

    def count(self, limit: str, *, of: str, where: str) -> list[Counted]:
        """Count one more request in each window of a limit, until one is full; then only look at those behind it."""
        counted: list[Counted] = []
        amount = 1
        for window in self._limits[limit]:
            found = self._storage.add(window.key_for(of, where), window.get_expiry(), amount)
            counted.append(Counted(window.amount, found.requests, time.time() + found.seconds_left))
            if amount and found.requests > window.amount:
                amount = 0
        return counted


def _network(address: str | None) -> str:
    return f"address:{network_of(address or '')}"


def _head(counted: list[Counted]) -> list[tuple[str, str]]:
    """The headers that tell how many are left until when: seconds since the epoch, rounded up."""
    if not counted:
        return []
    tightest = counted[0] if len(counted) == 1 else _tightest(counted)
    values = (tightest.amount, tightest.remaining, math.ceil(tightest.ends_at))
    return list(zip(HEADERS, map(str, values), strict=True))


def _count() -> None:
    """Count the request being served. Raises TooManyRequests."""
    counter: _Counter | None = current_app.extensions.get(EXTENSION)
    asked: Request = request._get_current_object()  # type: ignore[attr-defined]
    if counter is None or asked.method == HTTPMethod.OPTIONS or asked.endpoint in EXEMPT_ENDPOINTS:
        return
    own_limit = getattr(current_app.view_functions.get(asked.endpoint or ""), "rate_limit", None)
    identity = g.get("identity")
    if identity is None:
        limit, who = own_limit or "anonymous", _network(asked.remote_addr)
    else:
        limit, who = own_limit or "authenticated", f"user:{identity.user_id}"
    where = EVERYWHERE if own_limit is None else str(asked.endpoint)
    _note(asked.environ, counter.count(limit, of=who, where=where))


def _note(environ: dict[str, Any], counted: list[Counted]) -> None:
    """Remember what a request was counted by, for its answer; refuse it where it was one too many."""
    environ[_COUNTED] = counted
    if any(window.requests > window.amount for window in counted):
        seconds_left = math.ceil(_tightest(counted).ends_at - time.time())
        raise TooManyRequests("Too many requests; slow down.", retry_after_seconds=max(1, seconds_left))


def _tightest(counted: list[Counted]) -> Counted:
    """The one that leaves the least; of several that leave nothing, the one that ends last."""
    return min(counted, key=lambda window: (window.remaining, -window.ends_at))


def _describe(response: Response) -> Response:
    response.headers.extend(_head(request.environ.get(_COUNTED, [])))
    return response

"""Where Flask-Limiter counts: in Redis for all workers together; in this worker's memory without, or while it is away.

Flask-Limiter's own fallback is not used: of several requests that are under way when Redis goes, it lets the first one
fall back and answers 500 to the others.
"""

import time
from typing import Any

import redis
import structlog
from flask import g
from gevent import Timeout
from limits.storage import Storage

from app.web.limit_windows import LocalWindows, SharedWindows, Window

# How often a request tries whether Redis is back. Longer than a request's wait for it: whoever asked before it went has
# given up by then, and cannot take it for lost again.
RETRY_SECONDS = 3.0

log = structlog.get_logger(__name__)


class WindowStorage(Storage):
    """`SharedWindows` with a URL of Redis; `LocalWindows` without one, or while it does not answer.

    What a request has counted it reads again without another round trip. Does not fail with Redis, and waits for it
    no longer than `limit_windows.TIMEOUT_SECONDS`; while it is away, in one request of every `RETRY_SECONDS` only.
    """

    STORAGE_SCHEME = ["gearyard"]  # noqa: RUF012 - as the base has it

    def __init__(self, uri: str | None = None, *, redis_url: str = "", **options: Any) -> None:
        super().__init__(uri, **options)
        self._local = LocalWindows()
        self._shared = SharedWindows(redis_url) if redis_url else None
        self._try_again_at: float | None = None  # monotonic; None while Redis answers

    @property
    def base_exceptions(self) -> type[Exception]:
        """What may be raised: nothing in particular."""
        return redis.RedisError

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Count so many; how many there are now."""
        window = self._add(key, expiry, amount)
        _seen()[key] = window, time.time() + window.seconds_left
        return window.requests

    def get(self, key: str) -> int:
        """How many there were when this request last counted; if it did not, how many there are."""
        if key not in _seen():
            self.incr(key, 0, amount=0)
        return _seen()[key][0].requests

    def get_expiry(self, key: str) -> float:
        """When the window of `get` ends, in seconds since the epoch."""
        self.get(key)
        return _seen()[key][1]

    def check(self) -> bool:
        """Whether it can count: always."""
        return True

    def reset(self) -> int | None:
        """Forget this worker's counts; how many windows there were. Those in Redis end by themselves."""
        return self._local.clear()

    def clear(self, key: str) -> None:
        """Not offered: a window ends by itself."""
        raise NotImplementedError

    def _add(self, key: str, seconds: float, amount: int) -> Window:
        was_away = self._try_again_at is not None
        if self._shared is None or not self._is_worth_trying():
            return self._local.add(key, seconds, amount)
        try:
            window = self._shared.add(key, seconds, amount)
        # Whatever it is (no such host, an answer that makes no sense): no request fails for its counting.
        except (Exception, Timeout) as error:  # noqa: BLE001
            self._note_loss(error)
            return self._local.add(key, seconds, amount)
        if was_away:
            log.warning("rate_limits_redis_back")
            self._try_again_at = None
        return window

    def _is_worth_trying(self) -> bool:
        now = time.monotonic()
        if self._try_again_at is None:
            return True
        if now < self._try_again_at:
            return False
        self._try_again_at = now + RETRY_SECONDS  # this one tries; the others do not wait with it
        return True

    def _note_loss(self, error: BaseException) -> None:
        if self._try_again_at is None:
            log.warning("rate_limits_redis_away", reason=type(error).__name__)
            self._try_again_at = time.monotonic() + RETRY_SECONDS


def begin_counting() -> None:
    """Let this request count from now on, and remember what it does."""
    g.rate_limit_windows = {}


def is_counting() -> bool:
    """Whether this request counts already."""
    return "rate_limit_windows" in g


def _seen() -> dict[str, tuple[Window, float]]:
    """The windows that this request has counted in, with the time at which each ends."""
    seen: dict[str, tuple[Window, float]] = g.rate_limit_windows
    return seen

"""Storages of fixed windows for Flask-Limiter: in the worker's memory, or in Redis for all workers.

They replace the `limits` library's own. Its memory storage is unbounded and scans all windows every 10 ms (14 ms for
65,536 windows). Flask-Limiter's fall-back from Redis to it answers 500 to all but one of the requests that find Redis
away at the same time, and takes a Redis that refuses writes for one that has recovered.
"""

import time
from dataclasses import dataclass
from typing import Any

import redis
import structlog
from cachetools import TLRUCache
from gevent import Timeout
from limits.storage import Storage
from redis.backoff import NoBackoff
from redis.retry import Retry

MAX_WINDOWS = 20_000  # more would make the removal of ended windows a noticeable pause
# For the whole of one count: a free connection, name resolution, connect, response.
TIMEOUT_SECONDS = 1.0
# How often one request tries whether Redis is back. Longer than the timeout: requests that began before the failure
# have ended by the first retry, and cannot report the failure again.
RETRY_SECONDS = 3.0
MAX_CONNECTIONS = 20
KEY_PREFIX = "gearyard:limits:"

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Window:
    """The requests counted in a window, and its end by `time.monotonic`."""

    requests: int
    ends_at: float


class MemoryWindows(Storage):
    """Counts of one worker, in at most `max_windows` windows; the least recently used are dropped first."""

    STORAGE_SCHEME = ["gearyard+memory"]  # noqa: RUF012 - declared so by the base class
    base_exceptions = Exception

    def __init__(self, uri: str | None = None, *, max_windows: int = MAX_WINDOWS, **options: Any) -> None:
        super().__init__(uri, **options)
        self._windows: TLRUCache[str, Window] = TLRUCache(
            max_windows, ttu=lambda _key, window, _now: window.ends_at, timer=time.monotonic
        )

    def __len__(self) -> int:
        return len(self._windows)

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Add to the count of a window, which begins now if there is none, and return the count."""
        window = self._windows.get(key)
        if window is None:
            window = self._windows[key] = Window(0, time.monotonic() + expiry)
        window.requests += amount
        return window.requests

    def get(self, key: str) -> int:
        """Return the count of a window."""
        window = self._windows.get(key)
        return window.requests if window else 0

    def get_expiry(self, key: str) -> float:
        """Return the end of a window, in seconds since the epoch."""
        window = self._windows.get(key)
        return time.time() + (window.ends_at - time.monotonic() if window else 0)

    def check(self) -> bool:
        """Report the storage as healthy."""
        return True

    def reset(self) -> int:
        """Delete all windows; return how many there were."""
        found = len(self._windows)
        self._windows.clear()
        return found

    def clear(self, key: str) -> None:
        """Delete one window."""
        self._windows.pop(key, None)


class RedisWindows(MemoryWindows):
    """Counts of all workers, exact; while Redis fails, of one worker from the counts it has last seen.

    Takes one round trip a count: `get` and `get_expiry` return what the last `incr` has seen. Never raises, and waits
    for Redis at most `TIMEOUT_SECONDS`; while Redis fails, in one request of every `RETRY_SECONDS` only.
    """

    STORAGE_SCHEME = ["gearyard+redis", "gearyard+rediss"]  # noqa: RUF012 - declared so by the base class
    # The library's script leaves the end of the window to a second command, which rounds to the nearest second.
    _INCREMENT = """
        local count = redis.call('INCRBY', KEYS[1], ARGV[2])
        local left = redis.call('PTTL', KEYS[1])
        if left < 0 then
            left = ARGV[1] * 1000
            redis.call('PEXPIRE', KEYS[1], left)
        end
        return {count, left}
    """

    def __init__(self, uri: str, **options: Any) -> None:
        super().__init__(uri, **options)
        pool = redis.BlockingConnectionPool.from_url(
            uri.removeprefix("gearyard+"),
            max_connections=MAX_CONNECTIONS,
            timeout=TIMEOUT_SECONDS,
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),  # an increment that may have arrived must not be sent again
            client_name="gearyard-limits",
        )
        self._increment = redis.Redis(connection_pool=pool).register_script(self._INCREMENT)
        self._retry_at: float | None = None  # by time.monotonic; None while Redis answers

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """As `MemoryWindows.incr`, for all workers."""
        is_retry = self._retry_at is not None
        if self._retry_at is not None:
            if time.monotonic() < self._retry_at:
                return super().incr(key, expiry, amount)
            self._retry_at = time.monotonic() + RETRY_SECONDS  # the other requests do not wait with this one
        try:
            with Timeout(TIMEOUT_SECONDS):
                count, milliseconds = self._increment(keys=[KEY_PREFIX + key], args=[int(expiry), amount])
            self._windows[key] = Window(int(count), time.monotonic() + int(milliseconds) / 1000)
        # Any error, such as one in name resolution or a response of another type: no request fails for its count.
        except (Exception, Timeout) as error:  # noqa: BLE001
            if self._retry_at is None:
                log.warning("rate_limits_redis_away", reason=type(error).__name__)
                self._retry_at = time.monotonic() + RETRY_SECONDS
            return super().incr(key, expiry, amount)
        if is_retry:
            log.warning("rate_limits_redis_back")
            self._retry_at = None
        return int(count)

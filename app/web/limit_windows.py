"""Windows of time in which requests are counted: in this worker's memory, or in Redis for all workers."""

import time
from collections import OrderedDict
from typing import NamedTuple

import redis
from gevent import Timeout
from redis.backoff import NoBackoff
from redis.retry import Retry

# For all of it: a free connection, the name's resolution, the connect, the answer.
TIMEOUT_SECONDS = 1.0
MAX_CONNECTIONS = 20
MAX_LOCAL_WINDOWS = 100_000
PREFIX = "gearyard:limits:"


class Window(NamedTuple):
    """How many requests were counted since it began, and the seconds until it ends."""

    requests: int
    seconds_left: float


class LocalWindows:
    """Counts of this worker; at most `MAX_LOCAL_WINDOWS`, beyond which the oldest are forgotten.

    The library's own storage looks through all of them every 10 ms, which takes 14 ms when there are 65,536 of them.
    """

    def __init__(self, most: int = MAX_LOCAL_WINDOWS) -> None:
        self._most = most
        self._windows: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._windows)

    def add(self, key: str, seconds: float, amount: int) -> Window:
        """Count so many in the window of `key`, which ends so many seconds after it began; 0 only looks."""
        now = time.monotonic()
        count, ends_at = self._windows.get(key, (0, 0.0))
        if ends_at <= now:
            self._windows.pop(key, None)
            count, ends_at = 0, now + seconds
            self._make_room(now)
        if count + amount:
            self._windows[key] = count + amount, ends_at
        return Window(count + amount, ends_at - now)

    def _make_room(self, now: float) -> None:
        # For one window that begins, up to two that ended go: so they never pile up, and nobody waits for a sweep.
        for _ in range(2):
            _, ends_at = next(iter(self._windows.values()), (0, now + 1))
            if ends_at <= now or len(self._windows) >= self._most:
                self._windows.popitem(last=False)

    def clear(self) -> int:
        """Forget all; how many there were."""
        found = len(self._windows)
        self._windows.clear()
        return found


class SharedWindows:
    """Counts of all workers, in Redis. Exact: a script runs there as one step."""

    # One round trip, with milliseconds: the library's storage takes three, and rounds the seconds left to the nearest.
    _ADD = """
        local amount = tonumber(ARGV[1])
        if amount == 0 then
            return {tonumber(redis.call('GET', KEYS[1]) or 0), math.max(redis.call('PTTL', KEYS[1]), 0)}
        end
        local count = redis.call('INCRBY', KEYS[1], amount)
        local left = redis.call('PTTL', KEYS[1])
        if left < 0 then
            left = tonumber(ARGV[2])
            redis.call('PEXPIRE', KEYS[1], left)
        end
        return {count, left}
    """

    def __init__(self, url: str) -> None:
        pool = redis.BlockingConnectionPool.from_url(
            url,
            max_connections=MAX_CONNECTIONS,
            timeout=TIMEOUT_SECONDS,
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),  # an increment that may have arrived must not be sent again
            client_name="gearyard-limits",
        )
        self._add = redis.Redis(connection_pool=pool).register_script(self._ADD)

    def add(self, key: str, seconds: float, amount: int) -> Window:
        """As `LocalWindows.add`.

        Raises:
            redis.RedisError, gevent.Timeout: it did not work within `TIMEOUT_SECONDS`.
        """
        with Timeout(TIMEOUT_SECONDS):
            count, milliseconds = self._add(keys=[PREFIX + key], args=[amount, int(seconds * 1000)])
        return Window(int(count), int(milliseconds) / 1000)

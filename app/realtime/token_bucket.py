"""Rate limits of a socket: token buckets."""

import time
from collections.abc import Callable

from app.settings import SocketLimits

FRAME_BURST_SECONDS = 2


class TokenBucket:
    """Allows `burst` at once and `per_second` in the long run."""

    __slots__ = ("_burst", "_clock", "_per_second", "_tokens", "_updated_at")

    def __init__(self, per_second: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._tokens = float(burst)
        self._updated_at = clock()

    def take(self, tokens: float = 1) -> float:
        """Take `tokens` and return 0.0; with too few, take none and return the seconds until there are enough."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._updated_at) * self._per_second)
        self._updated_at = now
        if self._tokens >= tokens:
            self._tokens -= tokens
            return 0.0
        return (tokens - self._tokens) / self._per_second


class Allowance:
    """The buckets of messages and of frames of any type, at `times` the limits of one socket."""

    __slots__ = ("frames", "messages")

    def __init__(self, limits: SocketLimits, *, times: int = 1) -> None:
        self.messages = TokenBucket(limits.messages_per_second * times, limits.message_burst * times)
        frames_per_second = limits.frames_per_second * times
        self.frames = TokenBucket(frames_per_second, frames_per_second * FRAME_BURST_SECONDS)

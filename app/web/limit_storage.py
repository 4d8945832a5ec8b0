"""Where requests are counted: in Redis for all workers together; in this worker's memory without it, or while away."""

import time

import structlog
from gevent import Timeout

from app.web.limit_windows import LocalWindows, SharedWindows, Window

# How often a request tries whether Redis is back. Longer than a request's wait for it: whoever asked before it went has
# given up by then, and cannot take it for lost again.
RETRY_SECONDS = 3.0

log = structlog.get_logger(__name__)


class WindowStorage:
    """`SharedWindows` with a URL of Redis; `LocalWindows` without one, or while it does not answer.

    Does not fail with Redis, and waits for it no longer than `limit_windows.TIMEOUT_SECONDS`; while it is away, in one
    request of every `RETRY_SECONDS` only.
    """

    def __init__(self, redis_url: str | None = None) -> None:
        self._local = LocalWindows()
        self._shared = SharedWindows(redis_url) if redis_url else None
        self._try_again_at: float | None = None  # monotonic; None while Redis answers

    def add(self, key: str, seconds: float, amount: int) -> Window:
        """As `LocalWindows.add`."""
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

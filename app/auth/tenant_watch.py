"""Whether the tenant answers, for whoever must not wait to find out."""

import time
from collections.abc import Callable

import gevent

from app.errors import Unavailable

FRESH_SECONDS = 15


class TenantWatch:
    """Remembers whether the tenant answered when it was last asked, and asks again when that gets old.

    Nobody waits for it: whoever wants to know gets what is known. So the answer is the one of the question before,
    and nothing is asked of the tenant while nobody wants to know.
    """

    def __init__(self, ask: Callable[[], object]) -> None:
        self._ask_tenant = ask
        self._asked_at = float("-inf")
        self._is_away = False

    def is_away(self) -> bool:
        """Tell whether the tenant gave no proper answer; False until it was asked."""
        if time.monotonic() - self._asked_at >= FRESH_SECONDS:
            self._asked_at = time.monotonic()
            gevent.spawn(self._ask)
        return self._is_away

    def _ask(self) -> None:
        try:
            self._ask_tenant()
            self._is_away = False
        except Unavailable:  # the client has logged and counted it
            self._is_away = True

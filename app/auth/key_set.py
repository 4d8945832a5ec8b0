"""The identity provider's signing keys (RFC 7517), cached by `kid`. Knows neither Flask nor the database."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from threading import Lock
from typing import Any

import structlog
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from app.errors import InvalidToken, Unavailable
from app.observability import metrics

MIN_RSA_BITS = 2048
COOL_DOWN_SECONDS = 10
STALE_LIMIT_SECONDS = 86_400
FETCH_WAIT_SECONDS = 5  # longer than the deadline of one fetch

log = structlog.get_logger(__name__)


class KeySetCache:
    """The current RSA signing keys. Safe for concurrent greenlets and threads.

    - No fetch while the key is cached and younger than `ttl_seconds`. Concurrent callers share one fetch.
    - An unknown `kid` causes a fetch. A fetch that fails or lacks that `kid` starts a cool-down without fetches, so
      made-up `kid`s cause one fetch per `COOL_DOWN_SECONDS`.
    - While fetches fail, cached keys stay valid for `STALE_LIMIT_SECONDS` after the last successful fetch.
    - A key removed by the identity provider is refused after the next fetch, `ttl_seconds` later at the latest.
    """

    def __init__(
        self,
        fetch: Callable[[], Mapping[str, Any]],
        *,
        ttl_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`fetch` returns the key set as parsed JSON within a deadline, or raises Unavailable."""
        self._fetch = fetch
        self._ttl_seconds = ttl_seconds
        self._clock = clock
        self._keys: Mapping[str, RSAKey] = {}
        self._fetched_at = float("-inf")
        self._last_failed = False
        self._cool_down_until = float("-inf")
        self._lock = Lock()

    def key(self, kid: str) -> RSAKey:
        """Return the key with this `kid`: the same object until the key set is fetched again.

        Raises InvalidToken (there is no such key), Unavailable (no answer, and the key is unknown or stale).
        """
        if not self._is_fresh(kid):
            self._refresh_for(kid)
        if self._is_usable(kid):
            return self._keys[kid]
        raise _no_answer() if self._last_failed else InvalidToken("The token is signed by an unknown key.")

    def _age_seconds(self) -> float:
        return self._clock() - self._fetched_at

    def _is_fresh(self, kid: str) -> bool:
        return kid in self._keys and self._age_seconds() < self._ttl_seconds

    def _is_usable(self, kid: str) -> bool:
        return kid in self._keys and self._age_seconds() <= max(STALE_LIMIT_SECONDS, self._ttl_seconds)

    def _refresh_for(self, kid: str) -> None:
        # A caller with a usable key does not wait for a refresh under way.
        has_usable_key = self._is_usable(kid)
        if not self._lock.acquire(timeout=0 if has_usable_key else FETCH_WAIT_SECONDS):
            if has_usable_key:
                return
            raise _no_answer()
        try:
            # Checked again, because the previous holder of the lock has fetched for all.
            if not self._is_fresh(kid) and self._clock() >= self._cool_down_until:
                self._refresh(kid)
        finally:
            self._lock.release()

    def _refresh(self, kid: str) -> None:
        try:
            keys = _usable_keys(self._fetch())
        except Unavailable as error:
            self._last_failed = True
            log.warning("key_set_fetch_failed", reason=str(error), age_seconds=round(self._age_seconds(), 1))
        else:
            self._keys, self._fetched_at, self._last_failed = keys, self._clock(), False
        metrics.count_key_fetch(is_ok=not self._last_failed)
        if self._last_failed or kid not in self._keys:
            self._cool_down_until = self._clock() + COOL_DOWN_SECONDS


def _no_answer() -> Unavailable:
    return Unavailable("The identity provider does not answer.", retry_after_seconds=COOL_DOWN_SECONDS)


def _usable_keys(key_set: Mapping[str, Any]) -> Mapping[str, RSAKey]:
    """The RSA signing keys of a JWK Set. Other keys are ignored (RFC 7517 §5)."""
    entries = key_set.get("keys")
    entries = entries if isinstance(entries, list) else []
    keys = {entry["kid"]: key for entry in entries if (key := _signing_key(entry)) is not None}
    if not keys:
        raise Unavailable("The identity provider published no usable key.")
    return keys


def _signing_key(entry: Any) -> RSAKey | None:
    match entry:
        case {"kty": "RSA", "kid": str(), "n": str() as n, "e": str() as e}:
            if entry.get("use", "sig") == "sig" and entry.get("alg", "RS256") == "RS256":
                with suppress(JoseError, ValueError):
                    key = RSAKey.import_key({"kty": "RSA", "n": n, "e": e})
                    return key if key.public_key.key_size >= MIN_RSA_BITS else None
    return None

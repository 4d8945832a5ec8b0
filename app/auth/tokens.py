"""Access tokens: which of them hold. Knows neither Flask nor the database.

`KeySetCache` keeps the tenant's public keys (RFC 7517); `TokenVerifier` checks a token against them (RFC 7519,
RFC 8725), and remembers what it has checked. Both are safe to use from any number of greenlets at once.
"""

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock
from types import MappingProxyType
from typing import Any

import structlog
from joserfc import jws, jwt
from joserfc.errors import ExpiredTokenError, JoseError
from joserfc.jwk import RSAKey

from app.auth.digest_cache import DigestCache
from app.auth.strict_jose import MAX_NAME_LENGTH, parse_claims, parse_header
from app.email_address import email_claims
from app.errors import InvalidToken, TokenExpired, Unavailable
from app.observability import dependency_metrics

MAX_TOKEN_BYTES = 8 * 1024
LEEWAY_SECONDS = 60
# The longest lifetime an Auth0 tenant can give an access token; one that claims more was not made by its rules.
MAX_LIFETIME_SECONDS = 30 * 86_400
MIN_RSA_BITS = 2048
COOL_DOWN_SECONDS = 10
STALE_LIMIT_SECONDS = 86_400
FETCH_WAIT_SECONDS = 5  # longer than one fetch takes at the most
# Of so many users who are active at the same time, each token is checked once; at their usual size 11 MB of them.
MAX_REMEMBERED = 10_000
MAX_REMEMBERED_BYTES = 16 * 1024 * 1024

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifiedToken:
    """What a token that holds says. `email_verified` is true only where the claim is boolean true, with an e-mail.

    `expires_at` is its `exp`: seconds since the epoch.
    """

    issuer: str
    subject: str
    audience: frozenset[str]
    expires_at: float
    email: str | None
    email_verified: bool

    @property
    def size_bytes(self) -> int:
        """About what it weighs in memory."""
        parts = (self, self.issuer, self.subject, self.audience, *self.audience, self.email)
        return sum(map(sys.getsizeof, parts))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Verification:
    """What a whole verification found, and what it rests on: its key, and the times that the token names."""

    token: VerifiedToken
    kid: str
    key: RSAKey
    begins_at: float

    def is_timely(self, now: int) -> bool:
        """Whether the token's times would pass at that second, by the very comparisons of joserfc's registry."""
        return self.begins_at <= now + LEEWAY_SECONDS and self.token.expires_at > now - LEEWAY_SECONDS


class KeySetCache:
    """The tenant's signing keys, by `kid`; whole keys, so that nothing is fetched again for a part of one.

    - No fetch while a key is known and younger than `ttl_seconds`; one fetch for all who need one at once.
    - An unknown `kid` refreshes. A fetch that fails, or does not bring the key it was made for, starts a cool-down, so
      made-up `kid`s cause one fetch in `COOL_DOWN_SECONDS` at most. A fetch that does bring it is its own bound: the
      tenant publishes only so many keys.
    - Through an outage the old keys stay good for `STALE_LIMIT_SECONDS` since the last good fetch.
    - A key that the tenant removed is refused from the next refresh on, `ttl_seconds` later at the latest.
    """

    def __init__(
        self,
        fetch: Callable[[], Mapping[str, Any]],
        *,
        ttl_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`fetch` returns the key set as parsed JSON, in bounded time, or raises `Unavailable`."""
        self._fetch = fetch
        self._ttl_seconds = ttl_seconds
        self._clock = clock
        self._keys: Mapping[str, RSAKey] = MappingProxyType({})
        self._fetched_at = float("-inf")
        self._last_failed = False
        self._cool_until = float("-inf")
        self._lock = Lock()

    def key(self, kid: str) -> RSAKey:
        """Give the key of that identifier.

        Raises:
            InvalidToken: the tenant has no such key.
            Unavailable: the tenant does not answer, and the key is not known or known for too long.
        """
        if not self._is_fresh(kid):
            self._refresh_for(kid)
        if self._is_usable(kid):
            return self._keys[kid]
        if self._last_failed:
            raise _no_answer()
        raise InvalidToken("The token is signed by an unknown key.")

    def _age_seconds(self) -> float:
        return self._clock() - self._fetched_at

    def _is_fresh(self, kid: str) -> bool:
        return kid in self._keys and self._age_seconds() < self._ttl_seconds

    def _is_usable(self, kid: str) -> bool:
        return kid in self._keys and self._age_seconds() <= max(STALE_LIMIT_SECONDS, self._ttl_seconds)

    def _refresh_for(self, kid: str) -> None:
        # Who has an old key need not stand in line for a new one.
        has_old_key = self._is_usable(kid)
        if not self._lock.acquire(timeout=0 if has_old_key else FETCH_WAIT_SECONDS):
            if has_old_key:
                return
            raise _no_answer()
        try:
            # Asked again, because whoever was first in line has fetched for all.
            if not self._is_fresh(kid) and self._clock() >= self._cool_until:
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
        dependency_metrics.count_key_fetch(is_ok=not self._last_failed)
        if self._last_failed or kid not in self._keys:
            self._cool_until = self._clock() + COOL_DOWN_SECONDS


def _no_answer() -> Unavailable:
    return Unavailable("The identity provider does not answer.", retry_after_seconds=COOL_DOWN_SECONDS)


def _usable_keys(key_set: Mapping[str, Any]) -> Mapping[str, RSAKey]:
    """The RSA signing keys of a JWK Set; others are ignored, as RFC 7517 §5 asks."""
    entries = key_set.get("keys")
    entries = entries if isinstance(entries, list) else []
    keys = {entry["kid"]: key for entry in entries if (key := _signing_key(entry)) is not None}
    if not keys:
        raise Unavailable("The identity provider published no usable key.")
    return MappingProxyType(keys)


def _signing_key(entry: Any) -> RSAKey | None:
    match entry:
        case {"kty": "RSA", "kid": str(), "n": str(), "e": str()}:
            if entry.get("use", "sig") != "sig" or entry.get("alg", "RS256") != "RS256":
                return None
        case _:
            return None
    try:
        key = RSAKey.import_key({"kty": "RSA", "n": entry["n"], "e": entry["e"]})
    except (JoseError, ValueError):
        return None
    return key if key.public_key.key_size >= MIN_RSA_BITS else None


class TokenVerifier:
    """Decides whether a token was made by this issuer, for this audience, and holds now.

    A token that held is remembered, so that its signature is checked once and not at each request. Only what holds gets
    in: a flood of made-up tokens neither takes room nor pushes a good one out.
    """

    def __init__(
        self,
        key_of: Callable[[str], RSAKey],
        *,
        issuer: str,
        audience: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._key_of = key_of
        self._clock = clock
        self._verified: DigestCache[_Verification] = DigestCache(most=MAX_REMEMBERED, most_bytes=MAX_REMEMBERED_BYTES)
        self._registry = jwt.JWTClaimsRegistry(
            now=lambda: int(clock()),
            leeway=LEEWAY_SECONDS,
            iss={"essential": True, "value": issuer},
            aud={"essential": True, "value": audience},
            sub={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
        )

    def verify(self, token: str) -> VerifiedToken:
        """Check form, key, signature and claims, in that order; only RS256 counts (RFC 8725 §3.1).

        `iss`, `aud`, `exp`, `iat`, `sub` and the header's `kid` must be there; `nbf` counts where it is given (Auth0
        gives none).

        Raises:
            TokenExpired: it held once.
            InvalidToken: it does not hold, for any other reason.
            Unavailable: its key cannot be had now.
        """
        if len(token) > MAX_TOKEN_BYTES:
            raise InvalidToken("The token is too large.")
        return self._recall(token) or self._verify_all_of(token)

    def _recall(self, token: str) -> VerifiedToken | None:
        """What `verify` has found of this very token, if it would find the same now; None if it has to look again.

        What is the token's own does not change, so it is not looked at again. Whatever else an answer rests on is: the
        time; and that its key is still trusted, and is the very one that checked the signature.

        Raises:
            InvalidToken: the tenant has withdrawn its key. Unavailable: as `verify`.
        """
        before = self._verified.find(token)
        if before is None or not before.is_timely(int(self._clock())) or self._key_of(before.kid) is not before.key:
            return None
        return before.token

    def _verify_all_of(self, token: str) -> VerifiedToken:
        header = parse_header(token)
        key = self._key_of(header["kid"])
        try:
            jws.deserialize_compact(token, key, algorithms=["RS256"])
            claims = parse_claims(token)
            self._registry.validate(claims)
        except ExpiredTokenError as error:
            raise TokenExpired("The token has expired.") from error
        except (JoseError, ValueError) as error:
            raise InvalidToken("The token is not valid.") from error
        verified = _verified(claims)
        begins_at = max(claims["iat"], claims.get("nbf", 0))
        verification = _Verification(token=verified, kid=header["kid"], key=key, begins_at=begins_at)
        self._verified.keep(token, verification, size_bytes=verified.size_bytes)
        return verified


def _verified(claims: dict[str, Any]) -> VerifiedToken:
    subject = claims["sub"]
    if not 0 < len(subject) <= MAX_NAME_LENGTH or not subject.isprintable():
        raise InvalidToken("The token's subject is not valid.")
    if claims["exp"] - claims["iat"] > MAX_LIFETIME_SECONDS:
        raise InvalidToken("The token lives too long.")
    email, email_verified = email_claims(claims)
    audience = claims["aud"]
    return VerifiedToken(
        issuer=claims["iss"],
        subject=subject,
        audience=frozenset([audience] if isinstance(audience, str) else audience),
        expires_at=float(claims["exp"]),
        email=email,
        email_verified=email_verified,
    )

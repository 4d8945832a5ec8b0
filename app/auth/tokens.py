"""Verification of bearer tokens (RFC 7519, RFC 8725). Knows neither Flask nor the database.

joserfc does the cryptography and validates the claims. This module refuses what a lenient parser accepts: duplicate
members, NaN, deep nesting, lone surrogates, padding, and headers that choose a key or an extension.
"""

import base64
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from cachetools import LRUCache
from joserfc import jws, jwt
from joserfc.errors import ExpiredTokenError, JoseError
from joserfc.jwk import RSAKey

from app.auth.principal import SubjectClaims
from app.common import strict_json
from app.common.email import email_claims
from app.errors import InvalidToken, TokenExpired

MAX_TOKEN_BYTES = 8 * 1024
LEEWAY_SECONDS = 60
MAX_LIFETIME_SECONDS = 30 * 86_400  # the longest that an Auth0 tenant can give an access token
MAX_NAME_LENGTH = 255
MAX_NUMERIC_DATE = 2**53  # floats cannot tell larger numbers apart (RFC 7493 §2.2)
MAX_CACHED_TOKENS = 10_000  # about 11 MB
_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+", re.ASCII)
# `jwk`, `jku`, `x5u` and `x5c` would let the sender choose the key; `crit` and `b64` announce extensions.
_ACCEPTED_HEADERS = frozenset({"alg", "kid", "typ", "cty", "x5t", "x5t#S256"})
_ACCEPTED_TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt"})


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifiedToken(SubjectClaims):
    """The claims of a valid token. `expires_at` is `exp`, in seconds since the epoch."""

    audience: frozenset[str]
    expires_at: float


@dataclass(frozen=True, kw_only=True, slots=True)
class _Verification:
    """A valid token and what its validity depends on: the signing key and the times in its claims."""

    token: VerifiedToken
    kid: str
    key: RSAKey
    valid_from: float


class TokenVerifier:
    """Decides whether a token is from this issuer, for this audience, and valid now.

    Verifications of valid tokens are cached by the token's digest, so that a signature is checked once and no token is
    kept in clear text. Refused tokens are not cached, so a flood of forged tokens evicts nothing. A greenlet does not
    yield while it uses the cache, which therefore has no lock.
    """

    def __init__(
        self,
        key_of: Callable[[str], RSAKey],
        *,
        issuer: str,
        audience: str,
        clock: Callable[[], float] = time.time,
        max_cached: int = MAX_CACHED_TOKENS,
    ) -> None:
        self._key_of = key_of
        self._clock = clock
        self._cache: LRUCache[bytes, _Verification] = LRUCache(max_cached)
        self._claims = jwt.JWTClaimsRegistry(
            now=lambda: int(clock()),
            leeway=LEEWAY_SECONDS,
            iss={"essential": True, "value": issuer},
            aud={"essential": True, "value": audience},
            sub={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
        )

    def verify(self, token: str) -> VerifiedToken:
        """Check form, key, signature and claims, in that order. Only RS256 is accepted (RFC 8725 §3.1).

        `iss`, `aud`, `exp`, `iat`, `sub` and the header's `kid` are required. `nbf` is checked if present.
        Raises TokenExpired (the token was valid), InvalidToken, Unavailable (the key cannot be fetched now).
        """
        if len(token) > MAX_TOKEN_BYTES:
            raise InvalidToken("The token is too large.")
        digest = sha256(token.encode(errors="surrogatepass")).digest()
        cached = self._cache.get(digest)
        if cached is None or not self._is_valid(cached):
            cached = self._cache[digest] = self._verify(token)
        return cached.token

    def _is_valid(self, cached: _Verification) -> bool:
        now = int(self._clock())
        # The times are compared as joserfc's JWTClaimsRegistry does. The key is compared by identity: a key set that
        # was fetched again consists of new objects.
        is_timely = cached.valid_from <= now + LEEWAY_SECONDS and cached.token.expires_at > now - LEEWAY_SECONDS
        return is_timely and self._key_of(cached.kid) is cached.key

    def _verify(self, token: str) -> _Verification:
        match = _COMPACT.fullmatch(token)
        if match is None:
            raise InvalidToken("The token is not a signed JSON Web Token.")
        kid = _kid(_parse(match[1]))
        key = self._key_of(kid)
        try:
            jws.deserialize_compact(token, key, algorithms=["RS256"])
            claims = _parse(match[2])
            _check_dates(claims)
            self._claims.validate(claims)
        except ExpiredTokenError as error:
            raise TokenExpired("The token has expired.") from error
        except (JoseError, ValueError) as error:
            raise InvalidToken("The token is not valid.") from error
        valid_from = max(claims["iat"], claims.get("nbf", 0))
        return _Verification(token=_verified_token(claims), kid=kid, key=key, valid_from=valid_from)


def _parse(part: str) -> dict[str, Any]:
    try:
        value = strict_json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except ValueError as error:
        raise InvalidToken("The token cannot be read.") from error
    if not isinstance(value, dict):
        raise InvalidToken("The token cannot be read.")
    return value


def _kid(header: dict[str, Any]) -> str:
    """The key ID of an acceptable JOSE header."""
    kid, typ = header.get("kid"), header.get("typ", "JWT")
    if header.get("alg") != "RS256":
        raise InvalidToken("The token is not signed with RS256.")
    if not isinstance(kid, str) or not 0 < len(kid) <= MAX_NAME_LENGTH:
        raise InvalidToken("The token names no key.")
    if not isinstance(typ, str) or typ.lower() not in _ACCEPTED_TYPES or not header.keys() <= _ACCEPTED_HEADERS:
        raise InvalidToken("The token's header is not accepted.")
    return kid


def _check_dates(claims: dict[str, Any]) -> None:
    for name in ("exp", "iat", "nbf"):
        value = claims.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_NUMERIC_DATE:
            raise InvalidToken(f"The token's {name} is not a date.")


def _verified_token(claims: dict[str, Any]) -> VerifiedToken:
    subject, audience = claims["sub"], claims["aud"]
    if not 0 < len(subject) <= MAX_NAME_LENGTH or not subject.isprintable():
        raise InvalidToken("The token's subject is not valid.")
    if claims["exp"] - claims["iat"] > MAX_LIFETIME_SECONDS:
        raise InvalidToken("The token's lifetime is too long.")
    email, email_verified = email_claims(claims)
    return VerifiedToken(
        issuer=claims["iss"],
        subject=subject,
        audience=frozenset([audience] if isinstance(audience, str) else audience),
        expires_at=float(claims["exp"]),
        email=email,
        email_verified=email_verified,
    )

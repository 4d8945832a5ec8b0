"""Issuing and checking tokens. Claims are those of a tenant without Actions ("Access Token Profiles", "ID Tokens")."""

from __future__ import annotations

import hashlib
import time
from typing import Any
from urllib.parse import quote

from joserfc import jwt
from joserfc.errors import JoseError

from .config import Config
from .keys import KeyRing
from .store import User

ID_TOKEN_LIFETIME_SECONDS = 36_000  # Auth0's default ("Update ID Token Lifetime")
SCOPES = ("openid", "profile", "email", "offline_access")

Claims = dict[str, Any]


class InvalidToken(Exception):
    """The access token does not open ``/userinfo``."""


class TokenMaker:
    """Signs with the current key and verifies against the published ones."""

    def __init__(self, config: Config, keys: KeyRing) -> None:
        self._config = config
        self._keys = keys

    def access_token(self, user: User, scope: str, audience: str | None, gty: str | None = None) -> str:
        """A signed access token (RFC 9068 is not what Auth0 does by default: ``typ`` is ``JWT``).

        It has no ``nbf``, no e-mail and no role, exactly as with a real tenant that has no Action. Without an audience
        it opens ``/userinfo`` and nothing else; a real tenant's would be opaque, which an API refuses just the same.
        """
        claims: Claims = {"iss": self._config.issuer, "sub": user.sub, "aud": self._audiences(scope, audience)}
        claims |= self._times(self._config.token_lifetime_seconds)
        claims |= {"scope": scope} if scope else {}
        claims |= {"azp": self._config.client_id} | ({"gty": gty} if gty else {})
        return self._sign(claims)

    def id_token(self, user: User, scope: str, **session: str | int | None) -> str:
        """A signed ID token (OpenID Connect Core §2); ``session`` adds nonce, sid and auth_time where there is one."""
        claims = profile_claims(user, scope) | {"iss": self._config.issuer, "aud": self._config.client_id}
        claims |= self._times(ID_TOKEN_LIFETIME_SECONDS)
        return self._sign(claims | {name: value for name, value in session.items() if value is not None})

    def claims_for_userinfo(self, token: str) -> Claims:
        """The claims of an access token that may call ``/userinfo``. Raises InvalidToken for any other."""
        try:
            claims = jwt.decode(token, self._keys.published(), algorithms=["RS256"]).claims
        except (JoseError, ValueError, TypeError, RecursionError):
            raise InvalidToken from None
        audiences = claims.get("aud")
        expires = claims.get("exp")
        if claims.get("iss") != self._config.issuer or not isinstance(expires, int) or expires <= time.time():
            raise InvalidToken
        if self._config.userinfo_audience not in (audiences if isinstance(audiences, list) else [audiences]):
            raise InvalidToken
        return claims

    def _audiences(self, scope: str, audience: str | None) -> str | list[str]:
        if audience is None:
            return self._config.userinfo_audience
        return [audience, self._config.userinfo_audience] if "openid" in scope.split() else audience

    @staticmethod
    def _times(lifetime_seconds: int) -> Claims:
        now = int(time.time())
        return {"iat": now, "exp": now + lifetime_seconds}

    def _sign(self, claims: Claims) -> str:
        key = self._keys.current
        return jwt.encode({"alg": "RS256", "typ": "JWT", "kid": key.kid}, claims, key)


def granted_scope(requested: str) -> str:
    """The requested scopes that exist, in the order asked for; unknown ones are left out, as Auth0 does."""
    return " ".join(dict.fromkeys(name for name in requested.split() if name in SCOPES))


def profile_claims(user: User, scope: str) -> Claims:
    """``sub`` and what the scopes ``profile`` and ``email`` open (OpenID Connect Core §5.4)."""
    names = scope.split()
    claims: Claims = {"sub": user.sub}
    if "profile" in names:
        shown = {name: user.profile[name] for name in ("given_name", "family_name") if name in user.profile}
        claims |= shown | {
            "nickname": user.profile.get("nickname") or user.profile.get("username") or user.email.partition("@")[0],
            "name": user.profile.get("name") or user.email,
            "picture": user.profile.get("picture") or _gravatar(user.email),
            "updated_at": user.updated_at,
        }
    if "email" in names:
        claims |= {"email": user.email, "email_verified": user.email_verified}
    return claims


def _gravatar(email: str) -> str:
    # Auth0's default picture: the address' Gravatar, or else its initials.
    digest = hashlib.md5(email.encode(), usedforsecurity=False).hexdigest()
    initials = f"https://cdn.auth0.com/avatars/{email[:2]}.png"
    return f"https://s.gravatar.com/avatar/{digest}?s=480&r=pg&d={quote(initials, safe='')}"

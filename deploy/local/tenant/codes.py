"""Authorization codes: single-use, short-lived, bound to what they were asked for (RFC 6749 §4.1.2, RFC 7636 §4)."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass

CODE_LIFETIME_SECONDS = 60
CODES_HELD = 1_000  # the oldest unused code leaves first


@dataclass(frozen=True)
class Authorization:
    """What the user agreed to. ``code_challenge`` is the S256 one, or None for a client that must give its secret."""

    client_id: str
    redirect_uri: str
    scope: str
    audience: str | None
    nonce: str | None
    code_challenge: str | None
    user_id: str
    sid: str
    auth_time: int


class CodeBook:
    """The codes that are out. They live in memory: a restart within their minute makes the user log in again."""

    def __init__(self) -> None:
        self._codes: OrderedDict[str, tuple[float, Authorization]] = OrderedDict()

    def issue(self, authorization: Authorization) -> str:
        """A new code for this authorization."""
        code = secrets.token_urlsafe(32)
        self._codes[code] = (time.monotonic() + CODE_LIFETIME_SECONDS, authorization)
        if len(self._codes) > CODES_HELD:
            self._codes.popitem(last=False)
        return code

    def take(self, code: str) -> Authorization | None:
        """What the code stands for; from now on it stands for nothing. None if unknown, used or expired."""
        deadline, authorization = self._codes.pop(code, (0.0, None))
        return authorization if time.monotonic() < deadline else None


def challenge_of(verifier: str) -> str:
    """The S256 code challenge of a code verifier (RFC 7636 §4.2)."""
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

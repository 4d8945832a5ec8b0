"""Password hashing off the event loop, and the strength policy "Good" ("Password Strength in Auth0 Database…")."""

from __future__ import annotations

import os
import re
from functools import cache, partial

from gevent.threadpool import ThreadPool
from werkzeug.security import check_password_hash, generate_password_hash

# Werkzeug's default; tests choose a cheaper one.
METHOD = os.environ.get("TENANT_PASSWORD_METHOD", "scrypt")
HASHING_THREADS = 2  # each holds 32 MiB and one core for tens of milliseconds
MIN_LENGTH = 8
CLASSES_NEEDED = 3
_CLASSES = (
    ("lowerCase", "lower case letters (a-z)", r"[a-z]"),
    ("upperCase", "upper case letters (A-Z)", r"[A-Z]"),
    ("numbers", "numbers (i.e. 0-9)", r"[0-9]"),
    ("specialCharacters", "special characters (e.g. !@#$%^&*)", r"[^A-Za-z0-9]"),
)
POLICY = "\n".join(
    (
        f"* At least {MIN_LENGTH} characters in length",
        f"* Contain at least {CLASSES_NEEDED} of the following {len(_CLASSES)} types of characters:",
        *(f" * {text}" for _, text, _ in _CLASSES),
    )
)

_pool = ThreadPool(HASHING_THREADS)


def hash_password(password: str) -> str:
    """A salted hash by `METHOD`, made in a thread so that other requests are served meanwhile."""
    return str(_pool.apply(partial(generate_password_hash, password, METHOD)))


def password_matches(password_hash: str | None, password: str) -> bool:
    """True if the password belongs to the hash. ``None`` (no such account) takes as long, and is False."""
    return bool(_pool.apply(partial(_compare, password_hash, password)))


def is_strong(password: str) -> bool:
    """True if the password meets the policy."""
    return len(password) >= MIN_LENGTH and _classes_in(password) >= CLASSES_NEEDED


def weakness(password: str) -> dict[str, object]:
    """The ``description`` of Auth0's PasswordStrengthError: each rule and whether the password meets it."""
    classes = [
        {"code": code, "message": text, "format": [], "verified": bool(re.search(pattern, password))}
        for code, text, pattern in _CLASSES
    ]
    rules = [
        {
            "code": "lengthAtLeast",
            "message": "At least %d characters in length",
            "format": [MIN_LENGTH],
            "verified": len(password) >= MIN_LENGTH,
        },
        {
            "code": "containsAtLeast",
            "message": "Contain at least %d of the following %d types of characters:",
            "format": [CLASSES_NEEDED, len(_CLASSES)],
            "items": classes,
            "verified": _classes_in(password) >= CLASSES_NEEDED,
        },
    ]
    return {"rules": rules, "verified": False}


def _compare(password_hash: str | None, password: str) -> bool:
    # Somebody's hash is compared even for no account, so that the time taken does not tell which accounts exist.
    return check_password_hash(password_hash or _nobodys_hash(), password) and password_hash is not None


@cache
def _nobodys_hash() -> str:
    return generate_password_hash("nobody", METHOD)


def _classes_in(password: str) -> int:
    return sum(bool(re.search(pattern, password)) for _, _, pattern in _CLASSES)

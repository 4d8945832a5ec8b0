"""Users and refresh tokens in SQLite. Every write is one statement, so a killed process leaves no half of one."""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from .files import StateError

BUSY_TIMEOUT_SECONDS = 5.0  # how long a statement waits for another process (`--add-user`) that is writing
REFRESH_TOKENS_PER_USER = 200  # Auth0's limit per user and application; the oldest leaves first ("Refresh Tokens")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS users (
    id TEXT PRIMARY KEY, email TEXT NOT NULL UNIQUE, password_hash TEXT NOT NULL,
    email_verified INTEGER NOT NULL, blocked INTEGER NOT NULL, profile TEXT NOT NULL, updated_at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS refresh_tokens (
    digest TEXT PRIMARY KEY, user_id TEXT NOT NULL REFERENCES users(id), scope TEXT NOT NULL,
    audience TEXT, public INTEGER NOT NULL, sequence INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS refresh_tokens_of_user ON refresh_tokens(user_id, sequence);
"""
_USER = "SELECT id, email, password_hash, email_verified, blocked, profile, updated_at FROM users WHERE "


class EmailTaken(Exception):
    """Another account has this e-mail address."""


@dataclass(frozen=True)
class User:
    """An account. ``id`` is 24 hexadecimal digits; the ``sub`` of its tokens puts ``auth0|`` before it."""

    id: str
    email: str
    password_hash: str = field(repr=False)
    email_verified: bool
    blocked: bool
    profile: dict[str, object]
    updated_at: str

    @property
    def sub(self) -> str:
        """The subject of this user's tokens."""
        return f"auth0|{self.id}"


@dataclass(frozen=True)
class Grant:
    """What a refresh token stands for. ``public``: issued to a client that proved itself by PKCE, not by a secret."""

    user_id: str
    scope: str
    audience: str | None
    public: bool


class Store:
    """One connection, used from the event loop's thread only: statements are short and never yield."""

    def __init__(self, path: Path) -> None:
        """Open or create the database. Raises StateError if the file is no database of ours."""
        try:
            self._db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise StateError(f"cannot use {path}: {error}") from None

    def close(self) -> None:
        """Release the file. The store cannot be used afterwards."""
        self._db.close()

    def add_user(self, email: str, password_hash: str, profile: dict[str, object]) -> User:
        """A new, unverified account. Raises EmailTaken, also for two at once: the unique constraint decides."""
        user = User(secrets.token_hex(12), normalised(email), password_hash, False, False, profile, _now())
        row = (user.id, user.email, user.password_hash, json.dumps(profile), user.updated_at)
        try:
            self._db.execute("INSERT INTO users VALUES (?, ?, ?, 0, 0, ?, ?)", row)
        except sqlite3.IntegrityError:
            raise EmailTaken from None
        return user

    def put_verified_user(self, email: str, password_hash: str) -> None:
        """Create the account, or give the existing one this password; verified and not blocked either way."""
        self._db.execute(
            "INSERT INTO users VALUES (?, ?, ?, 1, 0, '{}', ?) ON CONFLICT (email) DO UPDATE SET "
            "password_hash = excluded.password_hash, email_verified = 1, blocked = 0, updated_at = excluded.updated_at",
            (secrets.token_hex(12), normalised(email), password_hash, _now()),
        )

    def find_user(self, email: str) -> User | None:
        """The account of this e-mail address, in any case, or None."""
        return _user(self._db.execute(_USER + "email = ?", (normalised(email),)).fetchone())

    def find_user_by_id(self, user_id: str) -> User | None:
        """The account of this id (without ``auth0|``), or None."""
        return _user(self._db.execute(_USER + "id = ?", (user_id,)).fetchone())

    def change_user(self, user: User, *, email_verified: bool, blocked: bool) -> None:
        """Set both flags of the account."""
        self._db.execute(
            "UPDATE users SET email_verified = ?, blocked = ?, updated_at = ? WHERE id = ?",
            (email_verified, blocked, _now(), user.id),
        )

    def add_refresh_token(self, grant: Grant) -> str:
        """A new refresh token. Only its digest is stored, so the file alone lets nobody in."""
        token = secrets.token_urlsafe(48)
        self._db.execute(
            "INSERT INTO refresh_tokens VALUES (?, ?, ?, ?, ?, "
            "(SELECT coalesce(max(sequence), 0) + 1 FROM refresh_tokens WHERE user_id = ?))",
            (_digest(token), grant.user_id, grant.scope, grant.audience, grant.public, grant.user_id),
        )
        self._db.execute(
            "DELETE FROM refresh_tokens WHERE user_id = ? "
            "AND sequence <= (SELECT max(sequence) - ? FROM refresh_tokens WHERE user_id = ?)",
            (grant.user_id, REFRESH_TOKENS_PER_USER, grant.user_id),
        )
        return token

    def find_grant(self, refresh_token: str) -> Grant | None:
        """What the refresh token stands for, or None if it was never issued or has left."""
        query = "SELECT user_id, scope, audience, public FROM refresh_tokens WHERE digest = ?"
        row = self._db.execute(query, (_digest(refresh_token),)).fetchone()
        return Grant(row[0], row[1], row[2], bool(row[3])) if row else None


def normalised(email: str) -> str:
    """E-mail addresses are compared and stored in lower case, as Auth0 does."""
    return email.strip().lower()


def _user(row: tuple[str, str, str, int, int, str, str] | None) -> User | None:
    if row is None:
        return None
    user_id, email, password_hash, verified, blocked, profile, updated_at = row
    return User(user_id, email, password_hash, bool(verified), bool(blocked), json.loads(profile), updated_at)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

"""The Idempotency-Key header (draft-ietf-httpapi-idempotency-key-header-07): a POST that is repeated has one effect.

A repeated request to a view marked `@idempotent` gets the stored response (status, body, ETag, Location) with
`Idempotent-Replayed: true`, for 24 hours. A key belongs to one user and one request: its method, path and query, and
its body, compared as JSON. Authentication, rate limits and `admins_only` apply to a repeated request; the view's own
checks do not. Errors are not stored: the key stays unused.

The claim of the key, the effect and the stored response share one transaction, so that all of them remain or none. The
claim is an advisory lock, and no request waits for it. The user's row is locked before the rows of the effect, in the
order that a deletion locks them. Keys and requests are stored as digests. Expired rows count as absent.
"""

import hashlib
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import wraps
from typing import Any, cast
from uuid import UUID

import orjson
from flask import Response, g, make_response, request
from sqlalchemy import BigInteger, Uuid, bindparam, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.common import strict_json
from app.db.session import unit_of_work
from app.errors import Conflict, IdempotencyKeyReused, MalformedRequest, NotFound, TooManyRequests
from app.models import IdempotencyKey
from app.web.access import View, mark
from app.web.json import read_body

HEADER, REPLAYED = "Idempotency-Key", "Idempotent-Replayed"
STORED_HEADERS = ("Content-Type", "ETag", "Location")
LIFETIME = timedelta(hours=24)
MAX_KEYS = 10_000  # unexpired keys of one user
MAX_KEY_CHARACTERS = 255
IN_FLIGHT_RETRY_SECONDS = 1
TOO_MANY_KEYS_RETRY_SECONDS = 3_600
# The draft sends a string of RFC 8941 §3.3.3, in quotes; most clients send its content. A comma needs quotes, as it
# also joins repeated headers.
_BARE = re.compile(rf"[!#-+\--~]{{1,{MAX_KEY_CHARACTERS}}}")
_QUOTED = re.compile(rf'"((?:[!#-\[\]-~]|\\["\\]){{1,{MAX_KEY_CHARACTERS}}})"')
_ESCAPED = re.compile(r"\\(.)")
_CLAIM = text("""
SELECT pg_try_advisory_xact_lock(:lock) AS is_claimed, (
    SELECT count(*) FROM (
        SELECT FROM idempotency_keys WHERE user_id = users.id AND expires_at > now() LIMIT :max_keys
    ) AS unexpired
) AS key_count
FROM users WHERE id = :user_id FOR KEY SHARE
""").bindparams(bindparam("lock", type_=BigInteger), bindparam("user_id", type_=Uuid), bindparam("max_keys", MAX_KEYS))


def idempotent(view: View) -> View:
    """Let a view that creates a resource take an Idempotency-Key. Goes next to the route.

    The view waits for nothing but the database, and passes its side effects to `on_commit`.

    Raises MalformedRequest (not a key), Conflict (the same request is in progress), IdempotencyKeyReused (it came with
    another request), TooManyRequests (the user has `MAX_KEYS`), NotFound (the user was deleted).
    """

    @mark(is_idempotent=True)
    @wraps(view)
    def respond_once(*args: Any, **kwargs: Any) -> Any:
        key = _key()
        if key is None:
            return view(*args, **kwargs)
        keyed = _KeyedRequest(g.identity.user_id, hashlib.sha256(key.encode()).digest(), _fingerprint())
        with unit_of_work() as session:
            keys = _claim(session, keyed)
            response = _find(session, keyed)
            if response is None:
                _refuse_too_many(keys)
                response = make_response(view(*args, **kwargs))
                _store(session, keyed, response)
        return response

    return cast(View, respond_once)


@dataclass(frozen=True)
class _KeyedRequest:
    user_id: UUID
    key_digest: bytes
    fingerprint: bytes

    @property
    def lock(self) -> int:
        """The advisory lock of the key. Two keys with the same 64 bits only refuse each other while in progress."""
        digest = hashlib.sha256(b"idempotency key" + self.user_id.bytes + self.key_digest).digest()
        return int.from_bytes(digest[:8], signed=True)


def _key() -> str | None:
    """The key of the current request, without its quotes. Raises MalformedRequest."""
    raw = request.headers.get(HEADER)
    if raw is None or _BARE.fullmatch(raw):
        return raw
    quoted = _QUOTED.fullmatch(raw)
    if quoted is None:
        raise MalformedRequest(f"{HEADER} takes one key of 1 to {MAX_KEY_CHARACTERS} visible ASCII characters.")
    return _ESCAPED.sub(r"\1", quoted[1])


def _fingerprint() -> bytes:
    """A digest of method, path, query and body. Reads the body from the network, so it runs outside the transaction."""
    body = read_body(request)
    with suppress(ValueError, TypeError):  # not JSON, which the view refuses, or numbers beyond 64 bits
        body = orjson.dumps(strict_json.loads(body), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(b"\0".join((request.method.encode(), request.full_path.encode(), body))).digest()


def _claim(session: Session, keyed: _KeyedRequest) -> int:
    """Claim the key. Returns the number of the user's unexpired keys, at most `MAX_KEYS`."""
    claim = session.execute(_CLAIM, {"lock": keyed.lock, "user_id": keyed.user_id}).one_or_none()
    if claim is None:
        raise NotFound("There is no such user.")
    if not claim.is_claimed:
        message = "A request with this Idempotency-Key is in progress. Repeat it in a moment."
        raise Conflict(message, retry_after_seconds=IN_FLIGHT_RETRY_SECONDS)
    return int(claim.key_count)


def _find(session: Session, keyed: _KeyedRequest) -> Response | None:
    """The stored response, by a second statement: the claim's snapshot may be older than a response just committed."""
    of_key = IdempotencyKey.user_id == keyed.user_id, IdempotencyKey.key_digest == keyed.key_digest
    columns = IdempotencyKey.fingerprint, IdempotencyKey.status, IdempotencyKey.headers, IdempotencyKey.body
    row = session.execute(select(*columns).where(*of_key, IdempotencyKey.expires_at > func.now())).one_or_none()
    if row is None:
        return None
    if row.fingerprint != keyed.fingerprint:
        raise IdempotencyKeyReused("This Idempotency-Key belongs to another request. Take a new key for each request.")
    return Response(row.body, status=row.status, headers={**row.headers, REPLAYED: "true"})


def _refuse_too_many(keys: int) -> None:
    if keys == MAX_KEYS:
        message = f"You have used {MAX_KEYS} Idempotency-Keys within {LIFETIME // timedelta(hours=1)} hours."
        raise TooManyRequests(message, retry_after_seconds=TOO_MANY_KEYS_RETRY_SECONDS)


def _store(session: Session, keyed: _KeyedRequest, response: Response) -> None:
    """Store a response, in place of an expired one."""
    values = {
        "fingerprint": keyed.fingerprint,
        "status": response.status_code,
        "headers": {name: response.headers[name] for name in STORED_HEADERS if name in response.headers},
        "body": response.get_data(),
        "created_at": func.now(),
        "expires_at": func.now() + LIFETIME,
    }
    statement = insert(IdempotencyKey).values(user_id=keyed.user_id, key_digest=keyed.key_digest, **values)
    session.execute(statement.on_conflict_do_update(constraint="pk_idempotency_keys", set_=values))

"""One effect for a request that is sent more than once, and the same answer each time. Knows no HTTP.

A user's key is claimed, what was asked for is done, and the answer is kept, all in one transaction. So nothing is ever
done and not known to be done, and no key stays claimed by a process that died: whatever ends the transaction before its
COMMIT, the death of the process or of the database included, leaves nothing; whatever comes after it, a lost answer
included, finds the kept one. The claim is an advisory lock that ends with the transaction. Nobody waits for it.

What raises is not kept: nothing was done, and the key is as good as new. Kept are digests of the key and the request,
never either of them. A user may have `MAX_KEYS` at a time, and the schemas bound what an answer weighs; `flask
maintenance` removes what has expired, which counts as absent before that.

The user is held before anything that the effect holds, as whoever deletes a user does.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import BigInteger, Uuid, bindparam, delete, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.db.session import delete_in_batches, unit_of_work
from app.errors import Conflict, IdempotencyKeyReused, NotFound, TooManyRequests
from app.models import IdempotencyKey

LIFETIME = timedelta(hours=24)
MAX_KEYS = 10_000  # of one user, that have not expired
IN_FLIGHT_RETRY_SECONDS = 1
FULL_RETRY_SECONDS = 3_600
REMOVED_AT_ONCE = 1_000

_CLAIM = text("SELECT pg_try_advisory_xact_lock(:lock) FROM users WHERE id = :user_id FOR KEY SHARE").bindparams(
    bindparam("lock", type_=BigInteger), bindparam("user_id", type_=Uuid)
)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a request is answered with, as far as it is the same when it is repeated."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Request:
    """A user's request: its key, and a digest of all that makes it this request and no other."""

    user_id: UUID
    key: str
    fingerprint: bytes

    @property
    def key_digest(self) -> bytes:
        """What the key is stored by."""
        return hashlib.sha256(self.key.encode()).digest()

    @property
    def lock(self) -> int:
        """The number of the claim. Two of 2**64 that are the same only make one wait for the other."""
        digest = hashlib.sha256(b"idempotency key" + self.user_id.bytes + self.key_digest).digest()
        return int.from_bytes(digest[:8], signed=True)


def answer_once(request: Request, act: Callable[[], Answer]) -> tuple[Answer, bool]:
    """The answer to a request, and whether it is the one of an earlier time.

    `act` does what is asked for, by the services' transactions, which become parts of one; it waits for nothing but
    the database.

    Raises:
        Conflict: the same request is being answered. IdempotencyKeyReused: the key came with another request.
        TooManyRequests: the user has `MAX_KEYS`. NotFound: the user is gone. Whatever `act` raises.
    """
    with unit_of_work() as session:
        _claim(session, request)
        kept = _find(session, request)
        if kept is None:
            _refuse_too_many(session, request.user_id)
            answer = act()
            _keep(session, request, answer)
    return (answer, False) if kept is None else (kept, True)


def remove_expired() -> int:
    """Remove all that expired, in short transactions; how many rows it was."""
    return delete_in_batches(_remove_expired, batch_size=REMOVED_AT_ONCE)


def _claim(session: Session, request: Request) -> None:
    is_claimed = session.scalar(_CLAIM, {"lock": request.lock, "user_id": request.user_id})
    if is_claimed is None:
        raise NotFound("There is no such user.")
    if not is_claimed:
        message = "A request with this Idempotency-Key is being answered; ask again in a moment."
        raise Conflict(message, retry_after_seconds=IN_FLIGHT_RETRY_SECONDS)


def _find(session: Session, request: Request) -> Answer | None:
    """The kept answer. A statement of its own: that of the claim would not see what was committed just before it."""
    mine = IdempotencyKey.user_id == request.user_id, IdempotencyKey.key_digest == request.key_digest
    columns = IdempotencyKey.fingerprint, IdempotencyKey.status, IdempotencyKey.headers, IdempotencyKey.body
    row = session.execute(select(*columns).where(*mine, IdempotencyKey.expires_at > func.now())).one_or_none()
    if row is None:
        return None
    if row.fingerprint != request.fingerprint:
        raise IdempotencyKeyReused("This Idempotency-Key came with another request; take a new one for each.")
    return Answer(status=row.status, headers=row.headers, body=row.body)


def _refuse_too_many(session: Session, user_id: UUID) -> None:
    live = select(IdempotencyKey.key_digest).where(
        IdempotencyKey.user_id == user_id, IdempotencyKey.expires_at > func.now()
    )
    if session.scalar(select(func.count()).select_from(live.limit(MAX_KEYS).subquery())) == MAX_KEYS:
        message = f"You have used {MAX_KEYS} Idempotency-Keys within {LIFETIME // timedelta(hours=1)} hours."
        raise TooManyRequests(message, retry_after_seconds=FULL_RETRY_SECONDS)


def _keep(session: Session, request: Request, answer: Answer) -> None:
    """Keep an answer in place of what expired. Who has the claim finds nobody else at the row but who removes it."""
    values = {
        "fingerprint": request.fingerprint,
        "status": answer.status,
        "headers": dict(answer.headers),
        "body": answer.body,
        "created_at": func.now(),
        "expires_at": func.now() + LIFETIME,
    }
    statement = insert(IdempotencyKey).values(user_id=request.user_id, key_digest=request.key_digest, **values)
    session.execute(statement.on_conflict_do_update(constraint="pk_idempotency_keys", set_=values))


def _remove_expired(session: Session, most: int) -> int:
    expired = (
        select(IdempotencyKey.user_id, IdempotencyKey.key_digest)
        .where(IdempotencyKey.expires_at <= func.now())
        .order_by(IdempotencyKey.expires_at)
        .limit(most)
        .with_for_update(skip_locked=True)
        .cte("expired")
    )
    same = IdempotencyKey.user_id == expired.c.user_id, IdempotencyKey.key_digest == expired.c.key_digest
    return len(session.execute(delete(IdempotencyKey).where(*same).returning(IdempotencyKey.status)).all())

"""The open sockets of a worker, and those of each user.

Nothing here waits, so greenlets need no lock.
"""

from collections.abc import Iterable, Iterator
from random import uniform
from typing import Generic, Protocol, TypeVar
from uuid import UUID

from app.observability import metrics
from app.realtime.close_codes import CloseCode
from app.realtime.connection import Connection, encode
from app.realtime.token_bucket import Allowance
from app.settings import SocketLimits

RECONNECT_SPREAD_SECONDS = 3.0  # clients of a stopping worker reconnect at a random time within this
UNAUTHENTICATED_PART = 4  # at most a quarter of a worker's sockets may be unauthenticated
SOCKETS_WORTH_A_USER = 3  # a user's sockets together have three times the rate limits of one socket


class Subscriber(Protocol):
    """A socket. `version` of the protocol is 1 or 2."""

    connection: Connection
    version: int

    @property
    def user_id(self) -> UUID:
        """The user, once the socket has joined."""


Sub = TypeVar("Sub", bound=Subscriber)


class Hub(Generic[Sub]):
    """The sockets of one worker."""

    def __init__(self, limits: SocketLimits) -> None:
        self._limits = limits
        self._open: set[Sub] = set()
        self._by_user: dict[UUID, set[Sub]] = {}
        self._allowances: dict[UUID, Allowance] = {}
        self.is_draining = False
        metrics.SOCKET_LIMIT.set(limits.max_sockets_per_worker)

    def __len__(self) -> int:
        """The number of open sockets, with or without an identity."""
        return len(self._open)

    @property
    def is_full(self) -> bool:
        """Whether the worker has its maximum of sockets."""
        return len(self._open) >= self._limits.max_sockets_per_worker

    @property
    def unauthenticated_limit_reached(self) -> bool:
        """Whether sockets without an identity have reached their part."""
        unauthenticated = len(self._open) - sum(map(len, self._by_user.values()))
        return unauthenticated >= max(1, self._limits.max_sockets_per_worker // UNAUTHENTICATED_PART)

    def is_full_for(self, user_id: UUID) -> bool:
        """Whether this user has the maximum of sockets here."""
        return len(self._by_user.get(user_id, ())) >= self._limits.max_sockets_per_user

    def open(self, subscriber: Sub) -> None:
        """Add a socket, after its handshake."""
        self._open.add(subscriber)
        metrics.OPEN_SOCKETS.set(len(self))
        if self.is_draining:
            self._dismiss(subscriber)

    def join(self, subscriber: Sub) -> Allowance:
        """Add a socket to its user's. Returns the allowance that all of the user's sockets share."""
        self._by_user.setdefault(subscriber.user_id, set()).add(subscriber)
        return self._allowances.setdefault(subscriber.user_id, Allowance(self._limits, times=SOCKETS_WORTH_A_USER))

    def forget(self, subscriber: Sub, user_id: UUID | None) -> None:
        """Remove a socket that has ended; `user_id` if it had joined."""
        self._open.remove(subscriber)
        metrics.OPEN_SOCKETS.set(len(self))
        if user_id is not None:
            self._by_user[user_id].remove(subscriber)
            if not self._by_user[user_id]:
                del self._by_user[user_id], self._allowances[user_id]

    def users(self) -> list[UUID]:
        """The users with a socket here."""
        return list(self._by_user)

    def subscribers_of(self, user_ids: Iterable[UUID]) -> Iterator[Sub]:
        """The sockets of these users at this moment, without those that are closing."""
        for user_id in user_ids:
            yield from [found for found in self._by_user.get(user_id, ()) if not found.connection.is_closing]

    def drain(self) -> None:
        """Tell every socket to reconnect, and close it with 1012; sockets that open later, too."""
        self.is_draining = True
        for subscriber in list(self._open):
            self._dismiss(subscriber)

    def _dismiss(self, subscriber: Sub) -> None:
        if subscriber.version > 1:
            seconds = round(uniform(0, RECONNECT_SPREAD_SECONDS), 1)  # noqa: S311 - spreads load, guards nothing
            subscriber.connection.send(encode("draining", {"reconnect_in": seconds}))
        subscriber.connection.close(CloseCode.RESTART, "the service restarts")

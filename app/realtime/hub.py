"""Who listens on this worker: every open socket, and by user those that may be sent to.

Greenlets of one worker take turns only where they wait, and nothing here waits: so there is no lock, a broadcast is a
walk over a dictionary, and each socket's own outbox takes what is for it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from random import uniform
from typing import Generic, Protocol, TypeVar
from uuid import UUID

from app.observability import metrics
from app.realtime.close_codes import CloseCode
from app.realtime.connection import Connection, encode
from app.realtime.token_bucket import Allowance
from app.settings import SocketLimits

# Clients of a worker that goes come back over so many seconds, not all at once.
RECONNECT_SPREAD_SECONDS = 3.0
STRANGERS_PART = 4
# So many sockets' worth all of a user's together may send here: enough for some devices, not for a flood from each.
SOCKETS_WORTH_A_USER = 3


class Subscriber(Protocol):
    """A socket that knows whose it is."""

    @property
    def connection(self) -> Connection:
        """Where to send."""

    @property
    def user_id(self) -> UUID:
        """Whose it is."""

    @property
    def version(self) -> int:
        """Which frames it understands: 1 or 2."""


Sub = TypeVar("Sub", bound=Subscriber)


class Hub(Generic[Sub]):
    """The sockets of one worker."""

    def __init__(self, limits: SocketLimits) -> None:
        self._limits = limits
        self._open: dict[Connection, Sub] = {}
        self._by_user: dict[UUID, dict[Connection, Sub]] = {}
        self._places: Counter[UUID] = Counter()
        self._allowances: dict[UUID, Allowance] = {}
        self.is_draining = False
        metrics.SOCKET_LIMIT.set(limits.max_sockets_per_worker)

    def __len__(self) -> int:
        """How many sockets are open, those included that have not said whose they are."""
        return len(self._open)

    @property
    def is_full(self) -> bool:
        """Whether another socket would take what plain HTTP needs."""
        return len(self._open) >= self._limits.max_sockets_per_worker

    @property
    def is_full_of_strangers(self) -> bool:
        """Whether sockets that have not said whose they are take up all that they may: nobody else's places."""
        strangers = len(self._open) - self._places.total()
        return strangers >= max(1, self._limits.max_sockets_per_worker // STRANGERS_PART)

    def is_full_for(self, user_id: UUID) -> bool:
        """Whether this user has as many sockets here as one may have; those count until they have ended."""
        return self._places[user_id] >= self._limits.max_sockets_per_user

    def open(self, subscriber: Sub) -> None:
        """Count a socket, from its handshake on."""
        self._open[subscriber.connection] = subscriber
        metrics.OPEN_SOCKETS.set(len(self))
        if self.is_draining:
            self._dismiss(subscriber)

    def join(self, subscriber: Sub) -> Allowance:
        """Let a socket be found by its user, and count it as that user's; what all of the user's may send together."""
        self._places[subscriber.user_id] += 1
        self._by_user.setdefault(subscriber.user_id, {})[subscriber.connection] = subscriber
        if subscriber.user_id not in self._allowances:
            self._allowances[subscriber.user_id] = Allowance(self._limits, times=SOCKETS_WORTH_A_USER)
        return self._allowances[subscriber.user_id]

    def leave(self, subscriber: Sub) -> None:
        """Let a socket that had joined be found no more; it keeps its place until `forget`."""
        of_user = self._by_user[subscriber.user_id]
        del of_user[subscriber.connection]
        if not of_user:
            del self._by_user[subscriber.user_id]

    def forget(self, subscriber: Sub, user_id: UUID | None) -> None:
        """Give back the place of a socket that has ended, and, if it had joined, this user's."""
        self._open.pop(subscriber.connection, None)
        metrics.OPEN_SOCKETS.set(len(self))
        if user_id is not None:
            self._places[user_id] -= 1
            if not self._places[user_id]:
                del self._places[user_id], self._allowances[user_id]

    def users(self) -> list[UUID]:
        """Everybody who has a socket here."""
        return list(self._by_user)

    def subscribers_of(self, user_ids: Iterable[UUID]) -> Iterator[Sub]:
        """The sockets of these users, as they are at this moment."""
        for user_id in user_ids:
            yield from list(self._by_user.get(user_id, {}).values())

    def drain(self) -> None:
        """Tell every socket to reconnect elsewhere, and end it with 1012; the same for each that comes from now on."""
        self.is_draining = True
        for subscriber in list(self._open.values()):
            self._dismiss(subscriber)

    def _dismiss(self, subscriber: Sub) -> None:
        if subscriber.version > 1:
            seconds = round(uniform(0, RECONNECT_SPREAD_SECONDS), 1)  # noqa: S311 - spreads load, guards nothing
            subscriber.connection.send(encode({"type": "draining", "payload": {"reconnect_in": seconds}}))
        subscriber.connection.close(CloseCode.RESTART, "the service restarts")

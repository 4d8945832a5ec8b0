"""Wake-ups between workers: PostgreSQL's LISTEN/NOTIFY, or Redis' pub/sub with `REDIS_URL`.

An event says "read the log again" and carries no message. Both kinds lose what is sent while a listener is away, so a
listener reads the log after every connection, and every few seconds. `typing` and `read` are in no log and may be lost.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import uniform
from typing import Any
from uuid import UUID

import gevent
import orjson
import structlog

from app.observability import metrics
from app.observability.failures import report_unexpected

CHANNEL = "gearyard_realtime"
FIRST_RETRY_SECONDS = 0.05
MAX_RETRY_SECONDS = 2.0
# A listener checks that its connection is alive after this silence.
SILENCE_SECONDS = 5.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Event:
    """An event of a conversation, for the users `to`; `data` depends on `kind`."""

    kind: str
    conversation_id: UUID
    to: Sequence[UUID]
    data: dict[str, Any]

    @property
    def seq(self) -> int:
        """The number of the message. Raises ValueError if the event has none."""
        seq = self.data.get("seq")
        if not isinstance(seq, int):
            raise ValueError("an event of a message without its number")
        return seq

    def encode(self) -> str:
        """Serialise for the bus."""
        return orjson.dumps(self).decode()

    @classmethod
    def decode(cls, payload: str | bytes) -> "Event":
        """Parse what `encode` made. Raises ValueError for anything else."""
        match orjson.loads(payload):
            case {"kind": str(kind), "conversation_id": str(conversation_id), "to": list(to), "data": dict(data)}:
                user_ids = tuple(UUID(user_id) for user_id in map(str, to))
                return cls(kind=kind, conversation_id=UUID(conversation_id), to=user_ids, data=data)
        raise ValueError("not an event")


class Bus:
    """Carries events to every worker, this one included."""

    # The channel that the statement of the change notifies itself; None if `publish` carries the event.
    channel: str | None = None

    def publish(self, event: Event) -> None:
        """Send the event now, after the transaction. Never waits, never fails."""

    def listen(self, deliver: Callable[[Event], None], reread: Callable[[], None]) -> None:
        """Deliver events for ever, over one connection after another, with growing pauses between failed attempts.

        Calls `reread` after every connection, as events may have been lost before it.
        """
        pause = FIRST_RETRY_SECONDS
        metrics.set_bus_connected(False)
        while True:
            try:
                for payload in self._receive():
                    if payload is not None:
                        deliver_payload(payload, deliver)
                        continue
                    pause = FIRST_RETRY_SECONDS
                    metrics.set_bus_connected(True)
                    log.info("bus_connected")
                    reread()
            except Exception as error:  # noqa: BLE001 - the next connection may work
                log.warning("bus_lost", reason=type(error).__name__, retry_in=round(pause, 2))
            metrics.set_bus_connected(False)
            gevent.sleep(uniform(pause / 2, pause))  # noqa: S311 - jitter
            pause = min(2 * pause, MAX_RETRY_SECONDS)

    def _receive(self) -> Iterator[str | bytes | None]:
        """Connect, and yield None, then the payload of each event, until the connection fails."""
        raise NotImplementedError


def deliver_payload(payload: str | bytes, deliver: Callable[[Event], None]) -> None:
    """Decode and deliver an event. Log what cannot be decoded or delivered: the listener goes on."""
    try:
        deliver(Event.decode(payload))
    except ValueError as error:
        log.warning("bus_payload_unknown", size=len(payload), reason=type(error).__name__)
    except Exception as error:  # noqa: BLE001
        report_unexpected(error)

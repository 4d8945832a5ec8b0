"""Wake-ups between workers: PostgreSQL's LISTEN/NOTIFY, or Redis' pub/sub where `REDIS_URL` is set.

A bus carries "look again", never the thing itself: both kinds lose what is sent while nobody is connected, so whoever
listens reads the log again after every (re)connection, and from time to time. What is not in the log (who is typing)
may be lost.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import uniform
from typing import Any, Protocol
from uuid import UUID

import gevent
import orjson
import structlog
from sqlalchemy.orm import Session

from app.observability import metrics
from app.observability.failures import report_unexpected

CHANNEL = "gearyard_realtime"
FIRST_RETRY_SECONDS = 0.05
LONGEST_RETRY_SECONDS = 2.0
# A connection that has been silent for so long is asked whether it is still one.
SILENCE_SECONDS = 5.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened in a conversation, for the sockets of `to`; `data` by `kind`."""

    kind: str
    conversation_id: UUID
    to: tuple[UUID, ...]
    data: dict[str, Any]

    @property
    def seq(self) -> int:
        """What number a conversation has come to, of an event of a message. Raises ValueError where there is none."""
        seq = self.data.get("seq")
        if not isinstance(seq, int):
            raise ValueError("an event of a message without its number")
        return seq

    def encode(self) -> str:
        """As it goes over the bus."""
        return orjson.dumps(
            {"kind": self.kind, "conversation_id": self.conversation_id, "to": self.to, "data": self.data}
        ).decode()

    @classmethod
    def decode(cls, payload: str | bytes) -> "Event":
        """Read one back. Raises ValueError for what is none."""
        match orjson.loads(payload):
            case {"kind": str(kind), "conversation_id": str(conversation_id), "to": list(to), "data": dict(data)}:
                user_ids = tuple(UUID(user_id) for user_id in map(str, to))
                return cls(kind=kind, conversation_id=UUID(conversation_id), to=user_ids, data=data)
        raise ValueError("not an event")


Deliver = Callable[[Event], None]
Reread = Callable[[], None]


class Bus(Protocol):
    """Carries events to every worker, this one included."""

    @property
    def channel(self) -> str | None:
        """What a statement of the transaction is to NOTIFY; None where `publish` after it does all."""

    def announce(self, session: Session, event: Event) -> None:
        """Let the event go out with this transaction, if the bus can: at its COMMIT, and not without it."""

    def publish(self, event: Event) -> None:
        """Let it go out now, after the transaction, if `announce` did not. Never waits, never fails."""

    def listen(self, deliver: Deliver, reread: Reread) -> None:
        """Hear for good: `deliver` each event, and `reread` whenever something may have been missed."""


def keep_listening(listen_once: Callable[[Callable[[], None]], None]) -> None:
    """Call `listen_once` again and again, with growing pauses while it fails before it has called what it is given."""
    pause = FIRST_RETRY_SECONDS

    def connected() -> None:
        nonlocal pause
        pause = FIRST_RETRY_SECONDS
        metrics.set_bus_connected(True)
        log.info("bus_connected")

    metrics.set_bus_connected(False)
    while True:
        try:
            listen_once(connected)
        except Exception as error:  # noqa: BLE001 - whatever it was, the next connection may do
            log.warning("bus_lost", reason=type(error).__name__, retry_in=round(pause, 2))
        metrics.set_bus_connected(False)
        gevent.sleep(uniform(pause / 2, pause))  # noqa: S311 - spreads load, guards nothing
        pause = min(2 * pause, LONGEST_RETRY_SECONDS)


def deliver_payload(payload: str | bytes, deliver: Deliver) -> None:
    """Decode and deliver. What is no event is noted and passed over: whoever listens must not end by it."""
    try:
        deliver(Event.decode(payload))
    except ValueError as error:
        log.warning("bus_payload_unknown", size=len(payload), reason=type(error).__name__)
    except Exception as error:  # noqa: BLE001
        report_unexpected(error)

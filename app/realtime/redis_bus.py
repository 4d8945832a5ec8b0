"""The bus over Redis' pub/sub: the way to several hosts, and past the one lock that every NOTIFY's COMMIT takes."""

from collections.abc import Callable
from contextlib import closing

import gevent
import redis
import structlog
from gevent.queue import Full, Queue
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy.orm import Session

from app.realtime.bus import CHANNEL, SILENCE_SECONDS, Deliver, Event, Reread, deliver_payload, keep_listening

TIMEOUT_SECONDS = 2.0
# What waits to be published while Redis does not answer; beyond, the workers' own re-reading has to find it.
MAX_UNPUBLISHED = 1000

log = structlog.get_logger(__name__)


class RedisBus:
    """See `bus.Bus`."""

    channel = None

    def __init__(self, url: str) -> None:
        # No retries inside the client: what is lost meanwhile must be known, to be read again.
        self._client = redis.Redis.from_url(
            url,
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
            client_name="gearyard",
        )
        self._unpublished: Queue[Event] = Queue(MAX_UNPUBLISHED)
        self._publisher: gevent.Greenlet | None = None

    def announce(self, session: Session, event: Event) -> None:
        """Nothing: Redis knows no transaction of PostgreSQL's."""

    def publish(self, event: Event) -> None:
        """Hand it to the one greenlet that publishes, in order: whoever sent a message waits for no bus."""
        if self._publisher is None:
            self._publisher = gevent.spawn(self._publish)
        try:
            self._unpublished.put_nowait(event)
        except Full:
            log.warning("bus_event_dropped", kind=event.kind)

    def listen(self, deliver: Deliver, reread: Reread) -> None:
        """Hear for good, over one connection after the other."""
        keep_listening(lambda connected: self._listen_once(deliver, reread, connected))

    def _publish(self) -> None:
        while True:
            event = self._unpublished.get()
            try:
                self._client.publish(CHANNEL, event.encode())
            except Exception as error:  # noqa: BLE001 - this greenlet must not end
                # The listeners read the log again when they are back; what is not in the log is lost.
                log.warning("bus_event_lost", kind=event.kind, reason=type(error).__name__)

    def _listen_once(self, deliver: Deliver, reread: Reread, connected: Callable[[], None]) -> None:
        with closing(self._client.pubsub()) as subscription:  # type: ignore[no-untyped-call]
            subscription.subscribe(CHANNEL)
            is_asked = False
            while True:
                message = subscription.get_message(timeout=SILENCE_SECONDS)
                if message is None and is_asked:
                    raise redis.ConnectionError("no sign of life")
                if message is None:
                    subscription.ping()
                    is_asked = True
                    continue
                is_asked = False
                if message["type"] == "subscribe":
                    connected()
                    reread()
                elif message["type"] == "message":
                    deliver_payload(message["data"], deliver)

"""The bus over Redis' pub/sub: the way to several hosts, and past the one lock that every NOTIFY's COMMIT takes."""

from collections.abc import Iterator
from contextlib import closing

import gevent
import redis
import structlog
from gevent.queue import Full, Queue
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.realtime.bus import CHANNEL, SILENCE_SECONDS, Bus, Event

TIMEOUT_SECONDS = 2.0
# The queue while Redis does not answer. Events beyond it are dropped; the workers find messages by re-reading the log.
MAX_UNPUBLISHED = 1000

log = structlog.get_logger(__name__)


class RedisBus(Bus):
    """Publishes after COMMIT: Redis takes no part in PostgreSQL's transaction."""

    def __init__(self, url: str) -> None:
        # Without retries in the client: a lost connection must be noticed, as the log is read again after it.
        self._client = redis.Redis.from_url(
            url,
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
            client_name="gearyard",
        )
        self._unpublished: Queue[Event] = Queue(MAX_UNPUBLISHED)
        self._publisher: gevent.Greenlet | None = None

    def publish(self, event: Event) -> None:
        """Queue the event for the one greenlet that publishes, in order."""
        if self._publisher is None:
            self._publisher = gevent.spawn(self._publish)
        try:
            self._unpublished.put_nowait(event)
        except Full:
            log.warning("bus_event_dropped", kind=event.kind)

    def _publish(self) -> None:
        while True:
            event = self._unpublished.get()
            try:
                self._client.publish(CHANNEL, event.encode())
            except Exception as error:  # noqa: BLE001 - this greenlet must not end
                # The listeners read the log after they reconnect; typing and read events are lost.
                log.warning("bus_event_lost", kind=event.kind, reason=type(error).__name__)

    def _receive(self) -> Iterator[bytes | None]:
        with closing(self._client.pubsub()) as subscription:  # type: ignore[no-untyped-call]
            subscription.subscribe(CHANNEL)
            is_asked = False
            while True:
                message = subscription.get_message(timeout=SILENCE_SECONDS)
                if message is None:
                    if is_asked:
                        raise redis.ConnectionError("no sign of life")
                    subscription.ping()
                elif message["type"] == "subscribe":
                    yield None
                elif message["type"] == "message":
                    yield message["data"]
                is_asked = message is None

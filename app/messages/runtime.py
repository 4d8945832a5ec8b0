"""The chat of one worker: its hub, bus and delivery, and their start and end."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import gevent
import structlog
from flask import Flask, current_app

from app.messages.delivery import Delivery, Reader
from app.realtime.bus import Bus
from app.realtime.hub import Hub
from app.realtime.postgres_bus import PostgresBus
from app.realtime.redis_bus import RedisBus
from app.settings import Settings

STOP_CHECK_SECONDS = 0.1  # the interval at which a worker checks whether it is stopping
COMMIT_ALLOWANCE = timedelta(seconds=20)

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class ChatRuntime:
    """The hub, the bus and the delivery of one worker. Nothing runs before `start`."""

    hub: Hub[Reader]
    bus: Bus
    delivery: Delivery

    def start(self, is_stopping: Callable[[], bool]) -> None:
        """Listen and deliver, and drain once `is_stopping`. Called in the worker, after the fork."""
        gevent.spawn(self.bus.listen, self.delivery.on_event, self.delivery.reconcile_now)
        gevent.spawn(self.delivery.deliver_forever)
        gevent.spawn(self.delivery.reconcile_forever)
        gevent.spawn(self._drain_when, is_stopping)

    def _drain_when(self, is_stopping: Callable[[], bool]) -> None:
        while not is_stopping():
            gevent.sleep(STOP_CHECK_SECONDS)
        log.info("draining", sockets=len(self.hub))
        self.hub.drain()


def init_app(app: Flask, settings: Settings) -> None:
    """Create the worker's runtime; `ChatRuntime.start` starts it."""
    hub: Hub[Reader] = Hub(settings.sockets)
    bus: Bus = PostgresBus(settings) if settings.redis_url is None else RedisBus(settings.redis_url)
    # The longest transaction that stores a message: one statement, and a slow COMMIT.
    longest = timedelta(milliseconds=settings.db_statement_timeout_ms) + COMMIT_ALLOWANCE
    app.extensions["chat"] = ChatRuntime(hub=hub, bus=bus, delivery=Delivery(hub, longest_transaction=longest))


def current() -> ChatRuntime:
    """The runtime of the current app."""
    found: ChatRuntime = current_app.extensions["chat"]
    return found

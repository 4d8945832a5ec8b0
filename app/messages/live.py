"""The realtime side of one worker: its hub, its bus, its delivery, and when they start and stop."""

from collections.abc import Callable
from dataclasses import dataclass, field
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

# How often a worker looks whether it was told to stop: its sockets are told within 2 s.
STOP_CHECK_SECONDS = 0.1
COMMIT_ALLOWANCE = timedelta(seconds=20)

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Live:
    """One for each app. Nothing runs before `start`."""

    hub: Hub[Reader]
    bus: Bus
    delivery: Delivery
    _greenlets: list[gevent.Greenlet] = field(default_factory=list)

    def start(self, is_stopping: Callable[[], bool]) -> None:
        """Listen and deliver from now on; drain as soon as `is_stopping`. Called in the worker, after the fork."""
        self._greenlets.extend(
            [
                gevent.spawn(self.bus.listen, self.delivery.hear, self.delivery.reread),
                gevent.spawn(self.delivery.deliver_forever),
                gevent.spawn(self.delivery.reconcile_forever),
                gevent.spawn(self._drain_when, is_stopping),
            ]
        )

    def _drain_when(self, is_stopping: Callable[[], bool]) -> None:
        while not is_stopping():
            gevent.sleep(STOP_CHECK_SECONDS)
        log.info("draining", sockets=len(self.hub))
        self.hub.drain()


def init_app(app: Flask, settings: Settings) -> None:
    """Make the worker's hub and bus; `Live.start` sets them going."""
    hub: Hub[Reader] = Hub(settings.sockets)
    bus: Bus = PostgresBus(settings) if settings.redis_url is None else RedisBus(settings.redis_url)
    # The one statement that sends, and a COMMIT that takes its time.
    longest = timedelta(milliseconds=settings.db_statement_timeout_ms) + COMMIT_ALLOWANCE
    app.extensions["live"] = Live(hub=hub, bus=bus, delivery=Delivery(hub, longest_transaction=longest))


def current() -> Live:
    """The realtime side of the current app."""
    found: Live = current_app.extensions["live"]
    return found


def bus() -> Bus:
    """The bus of the current app."""
    return current().bus


def hub() -> Hub[Reader]:
    """The hub of the current app."""
    return current().hub

"""The bus over PostgreSQL: NOTIFY in the transaction, delivered at its COMMIT; LISTEN on one connection a worker."""

from collections.abc import Callable
from contextlib import closing
from typing import Any

from gevent.socket import wait_read
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.db.engine import connect_listener
from app.realtime.bus import CHANNEL, SILENCE_SECONDS, Deliver, Event, Reread, deliver_payload, keep_listening
from app.settings import Settings


class PostgresBus:
    """See `bus.Bus`. Does not work through a pooler that pools transactions: LISTEN needs a connection of its own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.channel = CHANNEL

    def announce(self, session: Session, event: Event) -> None:
        """Send it at COMMIT."""
        session.execute(select(func.pg_notify(CHANNEL, event.encode())))

    def publish(self, event: Event) -> None:
        """Nothing: it went out at COMMIT."""

    def listen(self, deliver: Deliver, reread: Reread) -> None:
        """Hear for good, over one connection after the other."""
        keep_listening(lambda connected: self._listen_once(deliver, reread, connected))

    def _listen_once(self, deliver: Deliver, reread: Reread, connected: Callable[[], None]) -> None:
        with closing(connect_listener(self._settings)) as connection:
            _execute(connection, f"LISTEN {CHANNEL}")
            connected()
            reread()
            while True:
                _wait(connection)
                heard, connection.notifies[:] = list(connection.notifies), []
                for notification in heard:
                    deliver_payload(notification.payload, deliver)


def _wait(connection: Any) -> None:
    """Wait until something came, at most for a while, and then ask for a sign of life."""
    if connection.notifies:
        return
    try:
        wait_read(connection.fileno(), SILENCE_SECONDS)
        connection.poll()
    except TimeoutError:
        _execute(connection, "SELECT 1")


def _execute(connection: Any, statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)

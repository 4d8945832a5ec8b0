"""The bus over PostgreSQL: NOTIFY in the transaction, delivered at its COMMIT; LISTEN on one connection a worker."""

from contextlib import closing
from typing import Any

from gevent.socket import wait_read

from app.db.engine import connect_listener
from app.realtime.bus import CHANNEL, SILENCE_SECONDS, Bus, Deliver, OnConnected, deliver_payload
from app.settings import Settings


class PostgresBus(Bus):
    """LISTEN needs a connection of its own: it does not work through a transaction pooler."""

    channel = CHANNEL

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def _listen_once(self, deliver: Deliver, on_connected: OnConnected) -> None:
        with closing(connect_listener(self._settings)) as connection:
            connection.cursor().execute(f"LISTEN {CHANNEL}")
            on_connected()
            while True:
                _wait(connection)
                notifications, connection.notifies[:] = list(connection.notifies), []
                for notification in notifications:
                    deliver_payload(notification.payload, deliver)


def _wait(connection: Any) -> None:
    """Wait for notifications; after a silence, check that the connection is alive."""
    if connection.notifies:
        return
    try:
        wait_read(connection.fileno(), SILENCE_SECONDS)
        connection.poll()
    except TimeoutError:
        connection.cursor().execute("SELECT 1")

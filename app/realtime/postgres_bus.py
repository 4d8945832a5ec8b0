"""The bus over PostgreSQL: NOTIFY in the transaction, delivered at its COMMIT; LISTEN on one connection a worker."""

from collections.abc import Iterator
from contextlib import closing

from gevent.socket import wait_read

from app.db.engine import connect_listener
from app.realtime.bus import CHANNEL, SILENCE_SECONDS, Bus
from app.settings import Settings


class PostgresBus(Bus):
    """LISTEN needs a connection of its own: it does not work through a transaction pooler."""

    channel = CHANNEL

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def _receive(self) -> Iterator[str | None]:
        with closing(connect_listener(self._settings)) as connection:
            connection.cursor().execute(f"LISTEN {CHANNEL}")
            yield None
            while True:
                notifications, connection.notifies[:] = list(connection.notifies), []
                yield from (notification.payload for notification in notifications)
                try:
                    wait_read(connection.fileno(), SILENCE_SECONDS)
                    connection.poll()
                except TimeoutError:
                    connection.cursor().execute("SELECT 1")  # fails if the connection is dead

"""Alembic's entry: migrates the database that `DATABASE_URL` names, while the service works on it.

Each revision is one transaction, so that its locks end with it. One that waits for a lock makes everybody queue behind
it who wants the table, so none waits for longer than `LOCK_TIMEOUT_MS`: it gives up, and nothing of it stays.
"""

import logging
import time
from typing import Any

from alembic import context
from geoalchemy2 import alembic_helpers
from psycopg2.errors import LockNotAvailable
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from app.models import Base
from app.settings import database_url

LOCK_TIMEOUT_MS = 2_000  # below the service's own (`app.db.engine.LOCK_TIMEOUT_MS`): nobody else's wait ends by ours
# Two hosts that are deployed at once migrate one after the other. The number means nothing.
ADVISORY_LOCK = 7_305_402
PATIENCE_SECONDS = 300
POLL_SECONDS = 0.2
GAVE_UP = (
    "Waited for a lock, and gave up: another transaction holds it (see pg_stat_activity). What the revision under way"
    " had done is undone. End that transaction, or wait for it, and migrate again."
)


def run() -> None:
    """Run the migrations that the command asks for, or, with `--sql`, print what they would do.

    Raises:
        SystemExit: somebody holds a lock that is needed, or migrates for too long.
    """
    logging.basicConfig(format="%(message)s")
    logging.getLogger("alembic.runtime.migration").setLevel(logging.INFO)  # which revisions it runs
    if context.is_offline_mode():
        _run_in(dialect_name="postgresql")
        return
    with create_engine(database_url(), poolclass=NullPool).connect() as connection:
        try:
            _wait_for_others(connection)
            _run_in(connection=connection)
        except OperationalError as error:
            if isinstance(error.orig, LockNotAvailable):
                raise SystemExit(GAVE_UP) from None
            raise


def _wait_for_others(connection: Connection) -> None:
    # Not `pg_advisory_lock`: its wait is a transaction, and an index that is built concurrently waits for all of those.
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not connection.scalar(text(f"SELECT pg_try_advisory_lock({ADVISORY_LOCK})")):
        connection.rollback()
        if time.monotonic() > deadline:
            raise SystemExit("Another migration of this database does not come to its end; see pg_stat_activity.")
        time.sleep(POLL_SECONDS)
    connection.execute(text(f"SET lock_timeout = {LOCK_TIMEOUT_MS}"))
    connection.commit()


def _run_in(**where: Any) -> None:
    # The helpers know PostGIS's own tables; without them autogenerate proposes to drop spatial_ref_sys.
    context.configure(
        **where,
        transaction_per_migration=True,
        target_metadata=Base.metadata,
        include_object=alembic_helpers.include_object,
        process_revision_directives=alembic_helpers.writer,
        render_item=alembic_helpers.render_item,
    )
    with context.begin_transaction():
        context.run_migrations()


run()

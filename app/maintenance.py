"""`flask maintenance`, which a timer runs every hour. Without it the service works on larger tables."""

import click
from flask.cli import with_appcontext
from sqlalchemy.exc import SQLAlchemyError

from app.db.expiry import ExpiringTable, delete_all_expired
from app.models import IdempotencyKey, LoginAttempts
from app.observability.failures import report_unexpected

TABLES: dict[str, ExpiringTable] = {"login attempts": LoginAttempts, "idempotency keys": IdempotencyKey}


@click.command("maintenance")
@with_appcontext
def maintenance() -> None:
    """Delete expired rows. Safe at any time, also concurrently; a table that fails does not stop the others."""
    failed = []
    for name, table in TABLES.items():
        try:
            removed = delete_all_expired(table)
        except SQLAlchemyError as error:
            report_unexpected(error)
            failed.append(name)
        else:
            click.echo(f"{name}: {removed} expired rows removed")
    if failed:
        raise click.ClickException(f"failed: {', '.join(failed)}")

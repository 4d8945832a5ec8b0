"""`flask maintenance`, which a timer runs every hour. Without it the service works on larger tables."""

from collections.abc import Callable

import click
from flask.cli import with_appcontext
from sqlalchemy.exc import SQLAlchemyError

from app.auth import login_throttle
from app.observability.failures import report_unexpected
from app.web import idempotency

# Each task deletes expired rows in short transactions, and returns their number.
TASKS: dict[str, Callable[[], int]] = {
    "login attempts": login_throttle.remove_expired,
    "idempotency keys": idempotency.remove_expired,
}


@click.command("maintenance")
@with_appcontext
def maintenance() -> None:
    """Delete expired rows. Safe at any time, also concurrently; a failed task does not stop the others."""
    failed = []
    for name, task in TASKS.items():
        try:
            removed = task()
        except SQLAlchemyError as error:
            report_unexpected(error)
            failed.append(name)
        else:
            click.echo(f"{name}: {removed} expired rows removed")
    if failed:
        raise click.ClickException(f"failed: {', '.join(failed)}")

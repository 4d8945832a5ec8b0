"""`flask maintenance`: what a timer runs every hour. The service works on without it, on larger tables."""

from collections.abc import Callable

import click
from flask.cli import with_appcontext
from sqlalchemy.exc import SQLAlchemyError

from app.auth import login_throttle
from app.observability.failures import report_unexpected
from app.web import idempotency

# Each removes what has expired, by itself in short transactions, and tells how many rows that was.
TASKS: dict[str, Callable[[], int]] = {
    "login attempts": login_throttle.remove_expired,
    "idempotency keys": idempotency.remove_expired,
}


@click.command("maintenance")
@with_appcontext
def maintenance() -> None:
    """Remove rows that have expired. Safe at any time, and beside another one; what fails does not stop the rest."""
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

"""`flask users …`: what an operator does to users from a shell."""

import click
from flask.cli import AppGroup

from app.errors import Conflict, NotFound
from app.models import Role
from app.users import service

users = AppGroup("users", help="Manage users.")


@users.command("promote")
@click.argument("email")
@click.argument("role", type=click.Choice([role.value for role in Role]))
def promote(email: str, role: str) -> None:
    """Give the user with this verified EMAIL the ROLE, at once. The last admin stays one."""
    try:
        user = service.promote(email, Role(role))
    except NotFound as error:
        raise click.ClickException(f"{error.message} The user must have logged in once, with it verified.") from error
    except Conflict as error:
        raise click.ClickException(error.message) from error
    click.echo(f"{email} ({user.username}) is now {user.role.value}.")

"""`flask seed`."""

import click
import psycopg2
from flask import current_app
from flask.cli import with_appcontext
from sqlalchemy.exc import SQLAlchemyError

from app.demo import loader
from app.demo.conversation import add_conversation
from app.demo.loader import ListingsAdded, PeopleAdded
from app.errors import Conflict
from app.settings import AppEnv

DEFAULT_LISTINGS = 2_000
MOST_LISTINGS = 5_000_000
DEFAULT_OWNERS = 40
MOST_OWNERS = 10_000


@click.command("seed")
@click.option(
    "--listings",
    default=DEFAULT_LISTINGS,
    show_default=True,
    type=click.IntRange(0, MOST_LISTINGS),
    help="In all, with those that are there.",
)
@click.option(
    "--owners",
    default=DEFAULT_OWNERS,
    show_default=True,
    type=click.IntRange(1, MOST_OWNERS),
    help="Who share the listings.",
)
@click.option("--if-empty", is_flag=True, help="Do nothing when there is any user already.")
@with_appcontext
def seed(listings: int, owners: int, if_empty: bool) -> None:
    """Load demo data: accounts, owners, listings with photos, and a conversation.

    The same numbers give the same data everywhere. A second time it adds only what is missing. All or nothing: an
    interrupted seed leaves no trace.
    """
    if current_app.extensions["settings"].app_env is AppEnv.PRODUCTION:
        raise click.ClickException("Demo data does not belong in production (APP_ENV).")
    try:
        message = _seed(listings, owners, if_empty)
    except Conflict as error:
        raise click.ClickException(f"{error.message} Nothing was changed.") from error
    except (SQLAlchemyError, psycopg2.Error) as error:
        raise click.ClickException(f"Nothing was changed: {_first_line(error)}") from error
    click.echo(message)


def _seed(listings: int, owners: int, if_empty: bool) -> str:
    """Do it, and return what there is to say of it."""
    with loader.one_seed_at_a_time(on_wait=lambda: click.echo("Another seed is at work: waiting for it.")) as session:
        if if_empty and loader.has_users(session):
            return "There are users already: no demo data added."
        people = loader.add_people(session, owners=owners)
        with click.progressbar(length=listings, label="Listings", update_min_steps=500) as bar:
            added = loader.add_listings(session, listings=listings, owners=owners, advance=bar.update)
        has_new_conversation = add_conversation(session)
    if people.users or added.listings:
        loader.settle()
    for email in people.emails_taken:
        click.echo(f"{email} is somebody's already: the demo user goes without an e-mail.")
    if not people.users and not added.listings and not has_new_conversation:
        return f"Nothing to add: {listings:,} demo listings of {owners:,} owners are there."
    return _summary(people, added, has_new_conversation)


def _summary(people: PeopleAdded, added: ListingsAdded, has_new_conversation: bool) -> str:
    others = f"{people.users:,} users" + (" and a conversation" if has_new_conversation else "")
    return f"Added {added.listings:,} listings with {added.photos:,} photos, and {others}."


def _first_line(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    return str(cause).strip().partition("\n")[0]

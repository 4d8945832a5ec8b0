"""`flask chat`: a conversation at a terminal, through the running service's front door."""

import os
import signal
import sys
from contextlib import nullcontext
from typing import TextIO
from uuid import UUID

import click
import gevent

from app.messages.client import words
from app.messages.client.account import Account, Failure
from app.messages.client.conversation import Conversation
from app.messages.client.screen import Pipes, Terminal, is_terminal
from app.messages.client.session import Session

PASSWORD_VARIABLE = "GEARYARD_PASSWORD"  # noqa: S105 - where it is, not what it is
MOST_LISTED = 20


def default_url() -> str:
    """The service on this machine, where `PORT` says."""
    return f"http://127.0.0.1:{os.environ.get('PORT') or 8080}"


@click.command("chat")
@click.option("--as", "email", required=True, metavar="EMAIL", help="Whose conversations.")
@click.option(
    "--url",
    default=default_url,
    help="The service; by default http://127.0.0.1:PORT, with PORT from the environment, or 8080.",
)
@click.option(
    "--password-file",
    type=click.File(),
    help=f"Its first line is the password. Otherwise {PASSWORD_VARIABLE} is, or it is asked for.",
)
@click.argument("conversation", type=click.UUID, required=False)
def chat(email: str, url: str, password_file: TextIO | None, conversation: UUID | None) -> None:
    """Chat live in a CONVERSATION; without one, list those there are.

    CONVERSATION is its id, or a listing's: then the conversation with the listing's owner, begun if need be.

    Enter sends the line. /quit, Ctrl-D and Ctrl-C end it. Where standard input is no terminal, its lines are sent and
    the command ends when the service has them all; the exit code says whether it does.
    """
    account = Account(url, email, _password(password_file))
    try:
        account.sign_in()
        if conversation is None:
            _list(account, email)
            return
        not_stored = _chat(account, conversation)
    except Failure as failure:
        raise click.ClickException(str(failure)) from failure
    if not_stored:
        raise click.ClickException(f"{words.counted(not_stored, 'line')} not sent.")


def _password(file: TextIO | None) -> str:
    """The password, from where `ps` does not show it."""
    if file is not None:
        return file.readline().rstrip("\r\n")
    if password := os.environ.get(PASSWORD_VARIABLE):
        return password
    if not sys.stdin.isatty():
        raise click.UsageError(f"No terminal to ask for the password: set {PASSWORD_VARIABLE}, or --password-file.")
    answer: str = click.prompt("Password", hide_input=True, err=True)
    return answer


def _list(account: Account, email: str) -> None:
    own_id = account.me()["id"]
    found = account.conversations(MOST_LISTED)
    titles = {one["equipment_id"]: account.title(one["equipment_id"]) for one in found}
    for one in found:
        click.echo(words.listed(one, titles[one["equipment_id"]], own_id) + "\n")
    if found:
        click.echo(f"Open one with: flask chat --as {email} ID", err=True)
    else:
        click.echo("No conversations yet. Begin one with a listing's id in the place of CONVERSATION.", err=True)


def _chat(account: Account, some_id: UUID) -> int:
    """Chat to the end; how many lines were not stored. Raises Failure."""
    found = account.open(some_id)
    own_id = account.me()["id"]
    with Terminal() if is_terminal() else nullcontext(Pipes()) as screen:
        conversation = Conversation(account, screen, found, own_id)
        conversation.show_latest()
        session = Session(account, screen, conversation)
        for number in (signal.SIGINT, signal.SIGTERM):
            gevent.signal_handler(number, session.end)
        if isinstance(screen, Terminal):
            gevent.signal_handler(signal.SIGCONT, screen.resume)
        return session.run()

"""Where lines come from and what is shown: a terminal, where nothing tears the line being typed; or pipes."""

import codecs
import os
import shutil
import stat
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import click
from gevent.socket import wait_read

from app.messages.client.editor import LineEditor, cells

READ_BYTES = 4096
PROMPT = "> "
LEAST_COLUMNS = 20
_ERASE_LINE = "\r\x1b[K"
_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"


class Screen(Protocol):
    """What a session needs of one."""

    is_interactive: bool

    def lines(self, on_change: Callable[[str], None]) -> Iterator[str]:
        """The lines that are entered, as they are; ends where the input does. Lets others run meanwhile.

        `on_change` hears the unfinished line whenever a key was pressed.
        """

    def show(self, text: str) -> None:
        """Show something that was said."""

    def note(self, text: str) -> None:
        """Show something about the conversation itself, discreetly."""

    def status(self, text: str) -> None:
        """Show what is so at the moment, instead of what was so before."""


class Pipes:
    """What was said goes to standard output, notes to standard error, each line at once."""

    is_interactive = False

    def lines(self, on_change: Callable[[str], None]) -> Iterator[str]:  # noqa: ARG002 - there are no keys
        """See `Screen.lines`. The last one counts without its line end, too."""
        rest = ""
        for text in _read(sys.stdin.fileno()):
            *whole, rest = (rest + text).split("\n")
            yield from whole
        if rest:
            yield rest

    def show(self, text: str) -> None:
        """See `Screen.show`."""
        click.echo(text)

    def note(self, text: str) -> None:
        """See `Screen.note`."""
        click.echo(text, err=True)

    def status(self, text: str) -> None:
        """Nothing: what is so for a moment has no place in a file."""


class Terminal:
    """`with Terminal() as screen:` reads keys itself, to show the line again below whatever comes in."""

    is_interactive = True

    def __init__(self) -> None:
        self._editor = LineEditor()
        self._status = ""
        self._is_reading = False
        self._before: list[Any] = []

    def __enter__(self) -> "Terminal":
        self._before = termios.tcgetattr(sys.stdin)
        self.resume()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_reading = False
        sys.stdout.write(_ERASE_LINE)
        sys.stdout.flush()
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)

    def resume(self) -> None:
        """Take the keys one by one; again, after the shell had the terminal (Ctrl-Z, fg)."""
        tty.setcbreak(sys.stdin, termios.TCSADRAIN)
        self._draw()

    def lines(self, on_change: Callable[[str], None]) -> Iterator[str]:
        """See `Screen.lines`."""
        self._is_reading = True
        self._draw()
        for typed in _read(sys.stdin.fileno()):
            yield from self._editor.feed(typed)
            if self._editor.is_over:
                return
            self._draw()
            on_change(self._editor.text)

    def show(self, text: str) -> None:
        """See `Screen.show`."""
        self._draw(f"{text}\n")

    def note(self, text: str) -> None:
        """See `Screen.note`."""
        self._draw(f"{_DIM}{text}{_PLAIN}\n")

    def status(self, text: str) -> None:
        """See `Screen.status`: it stands behind the line."""
        if text != self._status:
            self._status = text
            self._draw()

    def _draw(self, above: str = "") -> None:
        """Write what is new in the place of the line, and the line below it, all at once."""
        sys.stdout.write(_ERASE_LINE + above + (self._line() if self._is_reading else ""))
        sys.stdout.flush()

    def _line(self) -> str:
        columns = max(LEAST_COLUMNS, shutil.get_terminal_size().columns)
        text, column = self._editor.fit(columns - len(PROMPT))
        status = f"   {self._status}" if self._status else ""
        room = columns - 1 - len(PROMPT) - cells(text)
        shown = status if cells(status) <= room else ""
        return f"{PROMPT}{text}{_DIM}{shown}{_PLAIN}\r\x1b[{len(PROMPT) + column}C"


def is_terminal() -> bool:
    """Whether a person sits there, before a terminal that can erase a line."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def _read(descriptor: int) -> Iterator[str]:
    """The text of a file, as it comes, to its end; other greenlets run meanwhile."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)  # always readable, and epoll takes none
    while True:
        if not is_file:
            wait_read(descriptor)
        try:
            data = os.read(descriptor, READ_BYTES)
        except OSError:
            return  # the terminal is gone
        if not data:
            return
        yield decoder.decode(data)

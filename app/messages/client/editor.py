"""The line somebody types: what each key does to it, and as much of it as fits on the terminal. No I/O."""

import re
import unicodedata

_KEYS = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1bO.|\x1b[^\[O]|[^\x1b]", re.DOTALL)
_LEFT, _RIGHT = {"\x1b[D", "\x1bOD", "\x02"}, {"\x1b[C", "\x1bOC", "\x06"}
_HOME, _END = {"\x1b[H", "\x1bOH", "\x1b[1~", "\x01"}, {"\x1b[F", "\x1bOF", "\x1b[4~", "\x05"}
_ENTER, _BACKSPACE, _DELETE = {"\n", "\r"}, {"\x7f", "\x08"}, {"\x1b[3~"}
_TO_START, _TO_END, _WORD_BACK, _END_OF_INPUT = "\x15", "\x0b", "\x17", "\x04"


class LineEditor:
    """A line and the place in it where the next character goes."""

    def __init__(self) -> None:
        self._before = ""
        self._after = ""
        self._unread = ""
        self.is_over = False

    @property
    def text(self) -> str:
        """The line so far."""
        return self._before + self._after

    def feed(self, typed: str) -> list[str]:
        """Take what was typed; the lines that this finished. The end of input (Ctrl-D) sets `is_over`."""
        finished: list[str] = []
        self._unread += typed
        end = 0
        for match in _KEYS.finditer(self._unread):
            end = match.end()
            if match[0] in _ENTER:
                finished.append(self.text)
                self._before = self._after = ""
            else:
                self._press(match[0])
        self._unread = self._unread[end:]  # the beginning of a key that sends several characters
        return finished

    def fit(self, columns: int) -> tuple[str, int]:
        """The part around the cursor that fits into so many columns, and the cursor's column in it."""
        before, after = self._before, self._after
        while cells(before) >= columns:
            before = before[1:]
        while cells(before) + cells(after) >= columns:
            after = after[:-1]
        return before + after, cells(before)

    def _press(self, key: str) -> None:
        before, after = self._before, self._after
        if key in _BACKSPACE:
            self._before = before[:-1]
        elif key in _LEFT and before:
            self._before, self._after = before[:-1], before[-1] + after
        elif key in _RIGHT and after:
            self._before, self._after = before + after[0], after[1:]
        elif key in _HOME:
            self._before, self._after = "", before + after
        elif key in _END:
            self._before, self._after = before + after, ""
        elif key in _DELETE or (key == _END_OF_INPUT and self.text):
            self._after = after[1:]
        else:
            self._press_other(key)

    def _press_other(self, key: str) -> None:
        if key == _TO_START:
            self._before = ""
        elif key == _TO_END:
            self._after = ""
        elif key == _WORD_BACK:
            self._before = re.sub(r"\S*\s*\Z", "", self._before)
        elif key == _END_OF_INPUT:
            self.is_over = True
        elif len(key) == 1 and (key.isprintable() or key == "\N{ZERO WIDTH JOINER}"):
            self._before += key


def cells(text: str) -> int:
    """How many columns of a terminal a text takes up."""
    return sum(_cells(character) for character in text)


def _cells(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1

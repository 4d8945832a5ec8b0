"""The last line of defence of the log: what looks like a secret is taken out, wherever it came from.

Nothing should need it. Whoever logs is to leave secrets out; these are structlog processors for when somebody did not.
Linear in the length of a text, as parts of it come from clients.
"""

import re
import sys
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from structlog.typing import EventDict

REDACTED = "[redacted]"
WITHHELD = "?[withheld]"
SHORTEST_SECRET = 10  # characters; anything shorter may be a word that a sentence needs
_INVALID_REQUEST = re.compile(r"Invalid request from ip=(\S*): ")
_QUERY = re.compile(r"\?\S+")
_KEY = re.compile(r"authorization|passw|secret|token|cookie|credential|api_?key|dsn", re.IGNORECASE)
# What each needs to match at all comes first: most texts hold none of it, and to look for it costs next to nothing.
_PATTERNS: tuple[tuple[Callable[[str], bool], re.Pattern[str], str], ...] = (
    (lambda text: "eyJ" in text, re.compile(r"(?<![\w-])eyJ[\w-]{6,}\.[\w.-]+"), REDACTED),  # a JWT, or its rest
    (
        lambda text: len(text.split(maxsplit=1)) > 1,
        re.compile(r"\b(bearer|basic)\s+[^\s\"',;]+", re.IGNORECASE),
        rf"\1 {REDACTED}",
    ),
    (lambda text: "://" in text, re.compile(r"(?<=://)[^/\s@:]*:[^/\s@]*@"), f"{REDACTED}@"),  # user and password
    (
        lambda text: "=" in text,
        re.compile(r"\b(\w*(?:token|password|passwd|secret))=[^&\s\"']+", re.IGNORECASE),
        rf"\1={REDACTED}",
    ),
)
_kept_secret: set[str] = set()


def keep_secret(*values: str | None) -> None:
    """Let none of these appear in the log, in whatever sentence: secrets of the settings, as such or in a URL."""
    for value in values:
        if value is not None and len(value) >= SHORTEST_SECRET:
            _kept_secret.update((value, quote(value, safe="")))


def redact(text: str) -> str:
    """The text without what looks like a secret."""
    for secret in _kept_secret:
        text = text.replace(secret, REDACTED)
    for may_match, pattern, replacement in _PATTERNS:
        if may_match(text):
            text = pattern.sub(replacement, text)
    return text


def redact_event(_logger: Any, _name: str, event: EventDict) -> EventDict:
    """A structlog processor: `redact` for every text of an event, however deep, and for what its key gives away."""
    return {key: _redacted(key, value) for key, value in event.items()}


def _redacted(key: Any, value: Any) -> Any:
    if isinstance(key, str) and _KEY.search(key) and value is not None:
        return REDACTED
    match value:
        case bool() | int() | float() | None:
            return value
        case str():
            return redact(value)
        case Mapping():
            return {redact(str(name)): _redacted(name, inner) for name, inner in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_redacted(None, inner) for inner in value]
    return redact(str(value))


def withhold_requests(_logger: Any, _name: str, event: EventDict) -> EventDict:
    """A structlog processor for other people's loggers: what a client sent stays out of their sentences.

    gunicorn repeats the request line or header that it cannot read; others name URLs with their query.
    """
    text = str(event.get("event", ""))
    invalid = _INVALID_REQUEST.match(text)
    if invalid is None:
        return {**event, "event": _QUERY.sub(WITHHELD, text)}
    kind = sys.exc_info()[0]  # gunicorn says so while it handles the error
    return {
        **event,
        "event": "Invalid request",
        "client_address": invalid[1],
        "reason": kind.__name__ if kind is not None else None,
    }


def escape(_logger: Any, _name: str, event: EventDict) -> EventDict:
    """A structlog processor: line breaks and terminal sequences become visible, so a record is one line of plain text.

    A traceback keeps its lines: each is indented, so that none passes for a record.
    """
    return {
        key: escaped(value, keep="\n" if key == "exception" else "") if isinstance(value, str) else value
        for key, value in event.items()
    }


def escaped(text: str, *, keep: str = "") -> str:
    """The text with everything escaped that is not printable (line separators, bidirectional marks), but for `keep`."""
    if text.isprintable():
        return text
    return "".join(
        character
        if character.isprintable() or character in keep
        else character.encode("unicode_escape", "surrogatepass").decode()
        for character in text
    )

"""Redaction: structlog processors that remove secrets from log records.

A second defence: code that logs leaves secrets out. Linear in the length of a text, parts of which come from clients.
"""

import re
import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from structlog.typing import EventDict

REDACTED = "[redacted]"
WITHHELD = "?[withheld]"
SHORTEST_SECRET = 10  # characters; anything shorter may be a word that a sentence needs
_INVALID_REQUEST = re.compile(r"Invalid request from ip=(\S*): ")
_QUERY = re.compile(r"\?\S+")
_SECRET_KEY = re.compile(r"authorization|passw|secret|token|cookie|credential|api_?key|dsn", re.IGNORECASE)
# Every record has the same few keys, and the cache answers in a tenth of the time.
_names_secret = lru_cache(maxsize=1024)(_SECRET_KEY.search)
_PATTERNS = (
    (re.compile(r"(?<![\w-])eyJ[\w-]{6,}\.[\w.-]+"), REDACTED),  # a JWT, or its rest
    (re.compile(r"\b(bearer|basic)\s+[^\s\"',;]+", re.IGNORECASE), rf"\1 {REDACTED}"),
    (re.compile(r"(?<=://)[^/\s@:]*:[^/\s@]*@"), f"{REDACTED}@"),  # user and password of a URL
    (re.compile(r"\b(\w*(?:token|password|passwd|secret))=[^&\s\"']+", re.IGNORECASE), rf"\1={REDACTED}"),
)
# Every match of a pattern holds one of these, and few values do.
_MARK = re.compile(r"[=\s]|://|eyJ")
_kept_secret: set[str] = set()


def keep_secret(*values: str | None) -> None:
    """Redact these values, secrets of the settings, wherever they appear, as such or quoted in a URL."""
    for value in values:
        if value is not None and len(value) >= SHORTEST_SECRET:
            _kept_secret.update((value, quote(value, safe="")))


def redact(text: str) -> str:
    """Replace secrets of the settings, JWTs, credentials of URLs and values of parameters that name a secret."""
    for secret in _kept_secret:
        text = text.replace(secret, REDACTED)
    if _MARK.search(text):
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
    return text


def redact_event(_logger: Any, _name: str, event: EventDict) -> EventDict:
    """A structlog processor: `redact` every text of an event, nested ones too, and values whose key names a secret."""
    return {key: _redacted(key, value) for key, value in event.items()}


def _redacted(key: Any, value: Any) -> Any:
    if value is not None and isinstance(key, str) and _names_secret(key):
        return REDACTED
    match value:
        case str():
            return redact(value)
        case bool() | int() | float() | None:
            return value
        case Mapping():
            return {redact(str(name)): _redacted(name, inner) for name, inner in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_redacted(None, inner) for inner in value]
    return redact(str(value))


def withhold_requests(_logger: Any, _name: str, event: EventDict) -> EventDict:
    """A structlog processor for records of libraries: remove what a client sent.

    gunicorn repeats a request line or header that it cannot read; others log URLs with their query.
    """
    text = str(event.get("event", ""))
    invalid = _INVALID_REQUEST.match(text)
    if invalid is None:
        return {**event, "event": _QUERY.sub(WITHHELD, text)}
    kind = sys.exc_info()[0]  # gunicorn logs it while it handles the error
    return {**event, "event": "Invalid request", "client_address": invalid[1], "reason": kind and kind.__name__}


def escape(_logger: Any, _name: str, event: EventDict) -> EventDict:
    """A structlog processor: escape line breaks and terminal sequences, so that a record is one line of plain text.

    A traceback keeps its line breaks; its lines are indented, unlike records.
    """
    texts = {key: escaped(value) for key, value in event.items() if isinstance(value, str)}
    if "exception" in texts:
        texts["exception"] = "\n".join(map(escaped, event["exception"].split("\n")))
    return {**event, **texts}


def escaped(text: str) -> str:
    """Escape unprintable characters, such as line separators and bidirectional marks."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)

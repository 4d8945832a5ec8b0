"""Which of several forms a client takes (RFC 9110 §12.5.1)."""

from collections.abc import Sequence
from functools import lru_cache

from flask import request
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

JSON = "application/json"
PROBLEM_JSON = "application/problem+json"
GEO_JSON = "application/geo+json"
MAX_REMEMBERED = 256
MAX_REMEMBERED_CHARACTERS = 500


def best_of(offered: Sequence[str]) -> str | None:
    """The media type that the request's Accept prefers, the first of equally preferred ones; None if it takes none.

    What is no list of media ranges asks for nothing, and parameters (`charset=utf-8`) are not looked at: nothing here
    is given with any. Of two ranges the more specific one holds: `application/json;q=0, */*` takes no JSON.
    """
    accept = request.environ.get("HTTP_ACCEPT", "")
    if not accept:
        return offered[0]
    choose = _remembered_best if len(accept) <= MAX_REMEMBERED_CHARACTERS else _best
    return choose(accept, tuple(offered))


def is_named(media_type: str) -> bool:
    """Tell whether the client takes this media type by its name, and not only as one of all."""
    ranges = _ranges(request.environ.get("HTTP_ACCEPT", ""))
    return any(media_range == media_type and quality > 0 for media_range, quality in ranges)


def _best(accept: str, offered: tuple[str, ...]) -> str | None:
    ranges = _ranges(accept)
    if not ranges:
        return offered[0]
    best = max(offered, key=ranges.quality)
    return best if ranges.quality(best) > 0 else None


_remembered_best = lru_cache(maxsize=MAX_REMEMBERED)(_best)


def _ranges(accept: str) -> MIMEAccept:
    parsed = parse_accept_header(accept, MIMEAccept)
    asked = [(value.partition(";")[0].strip().lower(), quality) for value, quality in parsed]
    return MIMEAccept([(media_range, quality) for media_range, quality in asked if "/" in media_range])

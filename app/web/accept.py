"""Which of several forms a client takes (RFC 9110 §12.5.1)."""

from collections.abc import Sequence

from flask import request
from werkzeug.datastructures import MIMEAccept

JSON = "application/json"
PROBLEM_JSON = "application/problem+json"
GEO_JSON = "application/geo+json"


def best_of(offered: Sequence[str]) -> str | None:
    """The media type that the client likes best, the first of those it likes equally; None if it takes none of them.

    What is no list of media ranges asks for nothing, and parameters (`charset=utf-8`) are not looked at: nothing here
    is given with any. Of two ranges the more specific one holds: `application/json;q=0, */*` takes no JSON.
    """
    ranges = _ranges()
    if not ranges:
        return offered[0]
    best = max(offered, key=ranges.quality)
    return best if ranges.quality(best) > 0 else None


def is_named(media_type: str) -> bool:
    """Tell whether the client takes this media type by its name, and not only as one of all."""
    return any(media_range == media_type and quality > 0 for media_range, quality in _ranges())


def _ranges() -> MIMEAccept:
    asked = [(value.partition(";")[0].strip().lower(), quality) for value, quality in request.accept_mimetypes]
    return MIMEAccept([(media_range, quality) for media_range, quality in asked if "/" in media_range])

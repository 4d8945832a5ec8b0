"""The media type of a response (RFC 9110 §12.5.1): JSON, or another one that the view produces."""

from collections.abc import Callable, Sequence
from functools import lru_cache

from flask import Response, request
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from app.errors import NotAcceptable
from app.web.access import View, current_view, mark

JSON = "application/json"
PROBLEM_JSON = "application/problem+json"
GEO_JSON = "application/geo+json"
# Of Accept, whose values are few and short, unless a client means harm.
CACHED_HEADERS, CACHED_LENGTH = 256, 256


def produces(*media_types: str) -> Callable[[View], View]:
    """Mark a view that produces these media types besides JSON."""
    return mark(produces=media_types)


def response_media_type() -> str:
    """The media type for the current request: JSON, or another one that its view `@produces`."""
    return best_match(_produced()) or JSON


def best_match(offered: Sequence[str]) -> str | None:
    """The media type that Accept prefers, the first of equals; None if Accept excludes all of them.

    The most specific range applies: `application/json;q=0, */*` excludes JSON. An Accept without a media range excludes
    nothing.
    """
    ranges = _media_ranges()
    best = max(offered, key=ranges.quality)
    return best if not ranges or ranges.quality(best) > 0 else None


def refuse_unacceptable() -> None:
    """Raise NotAcceptable if Accept excludes all that the view produces.

    Accept may name `application/problem+json` alone: such a client expects no content besides errors.
    """
    offered = _produced()
    if request.method == "OPTIONS" or best_match(offered) is not None:
        return
    if not any(media_range == PROBLEM_JSON and quality > 0 for media_range, quality in _media_ranges()):
        raise NotAcceptable(f"This resource is available as {' or '.join(offered)}, which Accept excludes.")


def vary_by_accept(response: Response) -> Response:
    """Tell caches that the response depends on Accept."""
    response.headers["Vary"] = "Accept"
    return response


def _produced() -> tuple[str, ...]:
    return (JSON, *getattr(current_view(), "produces", ()))


def _media_ranges() -> MIMEAccept:
    header = request.headers.get("Accept", "")
    return _parse_accept(header) if len(header) <= CACHED_LENGTH else _parse_accept.__wrapped__(header)


@lru_cache(maxsize=CACHED_HEADERS)
def _parse_accept(header: str) -> MIMEAccept:
    """Accept's ranges without their parameters (`charset=utf-8`), as no response here has any."""
    sent = parse_accept_header(header, MIMEAccept)
    ranges = ((value.partition(";")[0].strip().lower(), quality) for value, quality in sent)
    return MIMEAccept([(media_range, quality) for media_range, quality in ranges if "/" in media_range])

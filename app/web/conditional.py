"""Conditional requests (RFC 9110 §13): nothing is sent twice to who has it, and no stale write wins.

A route answers with `single` or `page`, and both know how to say 304 before anything is serialised. A route that writes
is marked `@guarded` and hands `precondition()` to its service, which compares inside the transaction of the write. What
neither is done for is covered, too: other JSON is tagged by its bytes, and a condition on any other PUT or DELETE is
refused as one that cannot be shown to hold.

An ETag here is a thing's token, a dot, and the shape that this release gives things in (`"7.1f09a3"`). Strong ones are
of single things: equal tags, equal bytes. nginx weakens the tag of what it compresses, so `W/"7.1f09a3"` comes back
from a client that was answered by way of it. RFC 9110 §13.1.1 compares strongly, because a weak tag may hide a
difference; ours never does, weakened or not: it names a state in the database. So a weakened tag is taken for what it
was made of, and an editor behind compression is not refused for ever.

There is no Last-Modified, so conditions by date are ignored (§13.1.3, §13.1.4). A condition is looked at after the
token, the role and the body (§13.2.1).
"""

import re
from collections.abc import Callable
from hashlib import blake2b
from http import HTTPStatus
from typing import Any, TypeVar

import orjson
from flask import Flask, Response, current_app, request
from werkzeug.datastructures import ETags
from werkzeug.http import parse_etags, quote_etag

from app.auth.identity import is_public
from app.errors import MalformedRequest, PreconditionFailed
from app.paging import Page
from app.precondition import UNCONDITIONAL, Precondition, Tokens, digest
from app.web.accept import JSON
from app.web.negotiation import chosen
from app.web.pagination import link_header

MATCH, NONE_MATCH = "If-Match", "If-None-Match"
PUBLIC, PRIVATE = "public, no-cache", "private, no-cache"
SHAPE_BYTES = 3
READS = frozenset({"GET", "HEAD"})
GUARDED_METHODS = frozenset({"PUT", "PATCH", "DELETE"})
EXTENSION = "api_spec"
IF_MATCH = {
    "in": "header",
    "name": MATCH,
    "schema": {"type": "string"},
    "example": '"7.1f09a3"',
    "description": "The ETag of what is to be changed: if it has changed since, nothing is done (412). Without it the "
    "last write wins.",
}
IF_NONE_MATCH = {
    "in": "header",
    "name": NONE_MATCH,
    "schema": {"type": "string"},
    "example": '"7.1f09a3"',
    "description": "The ETag of what the client has: if it is still so, the answer is 304, with no body.",
}
_TAG = r'(?:W/)?"[!#-~\x80-\xff]*"'
_TAGS = re.compile(rf"\s*(?:\*|{_TAG}(?:[ \t]*,[ \t]*{_TAG})*)\s*")

View = TypeVar("View", bound=Callable[..., Any])
Thing = TypeVar("Thing")
PageOfThings = TypeVar("PageOfThings", bound=Page[Any])


def init_app(app: Flask) -> None:
    """Tag what no view has tagged, and refuse conditions that no view looks at."""
    app.before_request(_refuse_unguarded)
    app.after_request(_tag_by_content)


def guarded(view: View) -> View:
    """Mark a view as one that hands `precondition()` to what it calls."""
    view.is_guarded = True  # type: ignore[attr-defined]
    return view


def is_guarded(view: Callable[..., Any]) -> bool:
    """Tell whether a view was marked `@guarded` (the mark survives `functools.wraps`)."""
    return getattr(view, "is_guarded", False)


def precondition() -> Precondition:
    """What the client made a condition of the current request. Raises MalformedRequest for what is no list of tags."""
    if MATCH not in request.headers and NONE_MATCH not in request.headers:
        return UNCONDITIONAL
    return Precondition(match=_tokens(MATCH, request.if_match), none_match=_tokens(NONE_MATCH, request.if_none_match))


def single(
    read: Callable[[], Thing],
    *,
    token: Callable[[Thing], object],
    peek: Callable[[], object] | None = None,
    body: Callable[[Thing], bytes] | None = None,
) -> Any:
    """The answer to GET: the thing for its schema, with a strong ETag; or 304, before the thing is even read.

    `peek` is a cheap way to its token, taken only where a client has something to compare it with. What is JSON already
    is given by `body`, and goes out as it is.
    """
    if peek is not None and _has_condition():
        known = _answer_to(quote_etag(_tag(peek())))
        if known is not None:
            return known
    thing = read()
    etag = quote_etag(_tag(token(thing)))
    return _answer_to(etag) or _given(thing, body, {"ETag": etag, **_caching()})


def page(found: PageOfThings, *, token: Callable[[PageOfThings], str], body: Callable[[PageOfThings], bytes]) -> Any:
    """The answer to GET: the page, with a weak ETag and its links; or 304.

    The token is of all that the page shows, in whatever form; `body` is the page in the form that was `chosen`.
    """
    tag = token(found) if chosen() == JSON else digest(chosen(), token(found))
    etag = quote_etag(_tag(tag), weak=True)
    return _answer_to(etag) or _given(found, body, {"ETag": etag, **link_header(found, request), **_caching()})


def listing(found: list[Thing], *, token: Callable[[Thing], object]) -> Any:
    """The answer to GET: a list that is given whole, for its schema, with a weak ETag; or 304.

    The tag is of all that the list shows: each item by its token, in their order.
    """
    etag = quote_etag(_tag(digest(*map(token, found))), weak=True)
    return _answer_to(etag) or (found, {"ETag": etag, **_caching()})


def tagged(
    thing: Thing,
    token: object,
    *,
    body: Callable[[Thing], bytes] | None = None,
    status: HTTPStatus = HTTPStatus.OK,
    **headers: str,
) -> Any:
    """The answer to a write: the thing as it is now, with the tag to make the next one on.

    The status is for what is given by `body`; a schema's answer has that of its route. RFC 9110 §9.3.4 keeps the tag
    from those who might take what they sent for what is stored. Here a body is a part of a thing, the answer all of it.
    """
    return _given(thing, body, {"ETag": quote_etag(_tag(token)), **headers}, status)


def _given(
    thing: Thing, body: Callable[[Thing], bytes] | None, headers: dict[str, str], status: HTTPStatus = HTTPStatus.OK
) -> Any:
    """What flask-smorest dumps by the route's schema, or a response, which it passes on."""
    if body is None:
        return thing, headers
    return Response(body(thing), status=status, headers=headers, content_type=chosen())


def _tag(token: object) -> str:
    """The entity tag of a thing with this token, without its quotes."""
    return f"{token}.{_shape()}"


def _shape() -> str:
    """Stands for what this release makes of things, by their description: another one's tags are of other bytes."""
    shape = current_app.extensions.get("shape")
    if shape is None:
        description = orjson.dumps(current_app.extensions[EXTENSION].to_dict(), option=orjson.OPT_SORT_KEYS)
        shape = blake2b(description, digest_size=SHAPE_BYTES).hexdigest()
        current_app.extensions["shape"] = shape
    return str(shape)


def _tokens(header: str, tags: ETags) -> Tokens | None:
    """The tokens of a header's tags. A tag's shape is not compared: a change is judged by what is stored."""
    raw = request.headers.get(header)
    if raw is None:
        return None
    # Werkzeug takes what it cannot read for no condition at all, or for another one.
    if _TAGS.fullmatch(raw) is None:
        raise MalformedRequest(f'{header} takes entity tags, as they were given: "…", or *.')
    # Werkzeug gives None for the empty tag, which the grammar allows.
    tokens = ((tag or "").rpartition(".")[0] for tag in tags.as_set(include_weak=True))
    return Tokens(frozenset(tokens), any_there_is=tags.star_tag)


def _has_condition() -> bool:
    return MATCH in request.headers or NONE_MATCH in request.headers


def _answer_to(etag: str) -> Response | None:
    """Compare with what the client has: 304 if it has this already, None if it has not.

    Raises:
        PreconditionFailed: it asked for another one, and no other.
    """
    if MATCH in request.headers:
        Precondition(match=_tokens(MATCH, request.if_match)).check(_opaque(etag).rpartition(".")[0])
    if not _is_among(etag, request.headers.get(NONE_MATCH)):
        return None
    return Response(status=HTTPStatus.NOT_MODIFIED, headers={"ETag": etag, **_caching()})


def _is_among(etag: str, known: str | None) -> bool:
    """Tell whether the client has this already, compared weakly (§13.1.2) with its If-None-Match."""
    return known is not None and parse_etags(known).contains_weak(_opaque(etag))


def _opaque(etag: str) -> str:
    return etag.removeprefix("W/").strip('"')


def _caching() -> dict[str, str]:
    """Whose cache may keep it. Nobody's uses it without asking: an editor sees what was saved a moment ago.

    What a user was answered stays with that user: it says how often that user may still ask.
    """
    view = current_app.view_functions[request.endpoint or ""]
    if not is_public(view):
        return {"Cache-Control": "no-store"}
    return {"Cache-Control": PRIVATE if "Authorization" in request.headers else PUBLIC}


def _refuse_unguarded() -> None:
    if request.method not in GUARDED_METHODS:
        return
    view = current_app.view_functions.get(request.endpoint or "")
    if view is not None and not is_guarded(view) and _has_condition():
        raise PreconditionFailed("This is not changed on a condition; ask without If-Match and If-None-Match.")


def _tag_by_content(response: Response) -> Response:
    """A tag for what has no cheaper one. It saves the way, not the work."""
    if response.status_code != HTTPStatus.OK or "ETag" in response.headers or not response.is_json:
        return response
    if request.method not in READS or request.blueprint is None:
        return response
    body = response.get_data()
    etag = quote_etag(_tag(digest(body)), weak=body.startswith(b"["))
    response.headers.update({"ETag": etag, **_caching()})
    if _is_among(etag, request.headers.get(NONE_MATCH)):
        response.status_code = HTTPStatus.NOT_MODIFIED
        response.set_data(b"")
    return response

"""Conditional requests (RFC 9110 §13): 304 for what the client already has, 412 for a stale write.

A read returns `resource_response`, `list_response` or `page_response`, which compare the ETag before anything is
serialised. A write is marked `@conditional` and passes `precondition()` to its service, which compares it inside the
transaction. Any other JSON is tagged by its bytes. A condition on any other PUT, PATCH or DELETE is refused.

An ETag is the resource's version, a dot, and a digest of the API's description (`"7.1f09a3"`): a release that changes
the representations changes every tag. Tags of single resources are strong. nginx weakens the tag of a response that it
compresses, and RFC 9110 §13.1.1 has If-Match compare strongly, because a weak tag may hide a difference. Ours never do,
so If-Match takes a weakened tag as well, and a client behind compression can write.

There is no Last-Modified: conditions by date are ignored (§13.1.3, §13.1.4). Authentication, access and the body's
schema come before a condition (§13.2.1).
"""

import re
from collections.abc import Callable
from http import HTTPStatus
from operator import attrgetter
from typing import Any, TypeVar

from flask import Flask, Response, current_app, request
from werkzeug.http import parse_etags, quote_etag

from app.common.precondition import EntityTags, Precondition, digest
from app.errors import MalformedRequest, PreconditionFailed
from app.web.access import current_view, is_public, mark
from app.web.negotiation import JSON, response_media_type
from app.web.pagination import link_header

MATCH, NONE_MATCH = "If-Match", "If-None-Match"
PUBLIC, PRIVATE, NO_STORE = "public, no-cache", "private, no-cache", "no-store"
READS = frozenset({"GET", "HEAD"})
CONDITIONAL_METHODS = frozenset({"PUT", "PATCH", "DELETE"})
API_SPEC = "api_spec"  # the extension that holds the API's description
_TAG = r'(?:W/)?"[!#-~\x80-\xff]*"'
_TAGS = re.compile(rf"\s*(?:\*|{_TAG}(?:[ \t]*,[ \t]*{_TAG})*)\s*")

conditional = mark(is_conditional=True)  # passes `precondition()` to its service

_VERSION, _BODY = attrgetter("version"), attrgetter("body")
Resource = TypeVar("Resource")


def init_app(app: Flask) -> None:
    """Tag the JSON that no view tags, and refuse a condition on a write that does not evaluate it."""
    app.before_request(_refuse_unevaluated)
    app.after_request(_tag_by_content)


def precondition() -> Precondition:
    """The condition of the current request. Raises MalformedRequest for a header that is no list of entity tags."""
    return Precondition(match=_entity_tags(MATCH), none_match=_entity_tags(NONE_MATCH))


def resource_response(
    read: Callable[[], Resource],
    *,
    version: Callable[[Resource], object] = _VERSION,
    peek: Callable[[], object] | None = None,
) -> Any:
    """The response to GET of one resource, with a strong ETag, or 304.

    `peek` reads the version alone; it is called only for a conditional request.
    """
    if peek is not None and _has_condition():
        unchanged = _not_modified(_etag(peek()))
        if unchanged is not None:
            return unchanged
    resource = read()
    etag = _etag(version(resource))
    return _not_modified(etag) or _respond(resource, {"ETag": etag, **_caching()})


def list_response(items: list[Any]) -> Any:
    """The response to GET of a complete list, with a weak ETag made of the items' versions, or 304."""
    etag = _etag(digest(*map(_VERSION, items)), weak=True)
    return _not_modified(etag) or (items, {"ETag": etag, **_caching()})


def page_response(page: Any, *, body: Callable[[Any], bytes] = _BODY) -> Any:
    """The response to GET of a page, with a weak ETag and its links, or 304.

    The version is the same for every media type; `body` gives the page in the one that was negotiated.
    """
    media_type = response_media_type()
    etag = _etag(page.version if media_type == JSON else digest(media_type, page.version), weak=True)
    return _not_modified(etag) or _json(body(page), {"ETag": etag, **link_header(page), **_caching()})


def write_response(
    resource: Resource,
    *,
    version: Callable[[Resource], object] = _VERSION,
    status: HTTPStatus = HTTPStatus.OK,
    **headers: str,
) -> Any:
    """The response to a write: the resource as stored, with the ETag for the next write.

    `status` is that of a resource with a `body`; a schema's response has the status of its route. RFC 9110 §9.3.4
    forbids an ETag if the client could take what it sent for what is stored; here the response holds all of it.
    """
    return _respond(resource, {"ETag": _etag(version(resource)), **headers}, status)


def _respond(resource: Any, headers: dict[str, str], status: HTTPStatus = HTTPStatus.OK) -> Any:
    """The JSON of a resource that has a `body`, which flask-smorest does not dump; else a value for the schema."""
    return _json(resource.body, headers, status) if hasattr(resource, "body") else (resource, headers)


def _json(body: bytes, headers: dict[str, str], status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(body, status=status, headers=headers, content_type=response_media_type())


def _etag(version: object, *, weak: bool = False) -> str:
    return quote_etag(f"{version}.{current_app.extensions[API_SPEC].fingerprint}", weak=weak)


def _version_of(etag: str | None) -> str:
    """The version in an unquoted tag: of any release, as a write is judged by what is stored."""
    return (etag or "").rpartition(".")[0]  # Werkzeug gives None for the empty tag, which the grammar allows


def _entity_tags(header: str) -> EntityTags | None:
    raw = request.headers.get(header)
    if raw is None:
        return None
    # Werkzeug ignores what it cannot read, or reads another condition.
    if _TAGS.fullmatch(raw) is None:
        raise MalformedRequest(f'{header} takes entity tags, as they were given: "…", or *.')
    tags = parse_etags(raw)
    return EntityTags(frozenset(map(_version_of, tags.as_set(include_weak=True))), wildcard=tags.star_tag)


def _has_condition() -> bool:
    return MATCH in request.headers or NONE_MATCH in request.headers


def _not_modified(etag: str) -> Response | None:
    """304 if If-None-Match names this tag. Raises PreconditionFailed if If-Match names only others."""
    Precondition(match=_entity_tags(MATCH)).check(_version_of(_opaque(etag)))
    if not _is_named(etag):
        return None
    return Response(status=HTTPStatus.NOT_MODIFIED, headers={"ETag": etag, **_caching()})


def _is_named(etag: str) -> bool:
    """Tell whether If-None-Match names this tag, compared weakly (§13.1.2)."""
    return request.if_none_match.contains_weak(_opaque(etag))


def _opaque(etag: str) -> str:
    return etag.removeprefix("W/").strip('"')


def _caching() -> dict[str, str]:
    """Caches may store a public response, and revalidate it every time. Any other holds a user's rate limit."""
    if not is_public(current_view()):
        return {"Cache-Control": NO_STORE}
    return {"Cache-Control": PRIVATE if "Authorization" in request.headers else PUBLIC}


def _refuse_unevaluated() -> None:
    if request.method not in CONDITIONAL_METHODS:
        return
    view = current_view()
    if view is not None and not hasattr(view, "is_conditional") and _has_condition():
        raise PreconditionFailed("This request takes no condition. Repeat it without If-Match and If-None-Match.")


def _tag_by_content(response: Response) -> Response:
    """Tag JSON that has no ETag by its bytes. This saves the transfer, not the query."""
    if response.status_code != HTTPStatus.OK or "ETag" in response.headers or not response.is_json:
        return response
    if request.method not in READS or request.blueprint is None:
        return response
    body = response.get_data()
    etag = _etag(digest(body), weak=body.startswith(b"["))
    response.headers.update({"ETag": etag, **_caching()})
    if _is_named(etag):
        response.status_code = HTTPStatus.NOT_MODIFIED
        response.set_data(b"")
    return response

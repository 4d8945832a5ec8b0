"""The one way past Flask: to public things and lists, for a request that has nothing out of the ordinary.

Such a request is most of what comes. It is answered from one statement, in less time than Flask takes to make its
contexts and go through its hooks. What it is answered is the same either way, header by header
(tests/api/test_shortcut.py asks both): it is read, counted, tagged, observed and given its headers by the same code.

Whatever else there is to a request, credentials, an origin, another condition, a body, it goes Flask's way; and so does
what goes wrong here, because errors leave by one table only.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPMethod
from typing import Any, Generic, Literal, TypeVar
from uuid import UUID

import marshmallow as ma
from flask import Flask, Request, request
from werkzeug.http import quote_etag

from app.observability import exchange
from app.paging import Page
from app.web import conditional, limits
from app.web.accept import JSON, best_for
from app.web.json import BodyParser
from app.web.pagination import link_header

Thing = TypeVar("Thing")
Listed = TypeVar("Listed", bound=Page[Any])

Environ = dict[str, Any]
Headers = list[tuple[str, str]]

_KNOWN = "HTTP_IF_NONE_MATCH"
_MET = "gearyard.met_on_the_shortcut"
_PLACEHOLDER = re.compile(r"<uuid:\w+>")
_UUID = "([0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12})"
_OUT_OF_THE_ORDINARY = frozenset(
    {
        *("HTTP_AUTHORIZATION", "HTTP_ORIGIN", "HTTP_UPGRADE"),
        *("HTTP_IF_MATCH", "HTTP_TRANSFER_ENCODING", "CONTENT_LENGTH", "CONTENT_TYPE"),
    }
)
_VARY = ("Vary", "Accept, Origin")
_parser = BodyParser()


@dataclass(frozen=True)
class Answer:
    """A state by its tag, and what it takes to give it: more headers, and the body in JSON; no body where the client
    has been found to have it.
    """

    etag: str
    headers: Headers
    body: Callable[[], bytes] | None


@dataclass(frozen=True, kw_only=True)
class Shortcut(ABC):
    """A way to what a rule of the URL map leads to. Of requests it knows their WSGI environment."""

    rule: str
    limit: Literal["anonymous", "public_search"] = "anonymous"
    counted_at: str = limits.EVERYWHERE
    forms: tuple[str, ...] = (JSON,)

    @abstractmethod
    def find(self, app: Flask, environ: Environ, match: re.Match[str]) -> Answer:
        """What there is. Raises what its view raises."""


@dataclass(frozen=True, kw_only=True)
class PublicThing(Shortcut, Generic[Thing]):
    """A thing that anybody may see, by its id, under a rule with one `<uuid:…>`.

    `peek` gives the token of what `read` gives, without reading all of it; both raise NotFound.
    """

    read: Callable[[UUID], Thing]
    peek: Callable[[UUID], object]
    token: Callable[[Thing], object]
    body: Callable[[Thing], bytes]

    def answer(self, thing_id: UUID) -> Any:
        """The answer of its view, which is Flask's way to it."""
        return conditional.single(
            lambda: self.read(thing_id), peek=lambda: self.peek(thing_id), token=self.token, body=self.body
        )

    def find(self, app: Flask, environ: Environ, match: re.Match[str]) -> Answer:
        """The thing; no more than its tag, where the client has something to compare it with and it is the same."""
        thing_id = UUID(match[1])
        if _KNOWN in environ:
            etag = quote_etag(conditional.tag_of(app, self.peek(thing_id)))
            if conditional.is_among(etag, environ[_KNOWN]):
                return Answer(etag, [], None)
        thing = self.read(thing_id)
        return Answer(quote_etag(conditional.tag_of(app, self.token(thing))), [], lambda: self.body(thing))


@dataclass(frozen=True, kw_only=True)
class PublicList(Shortcut, Generic[Listed]):
    """A list that anybody may search, by a query that its schema loads as a value."""

    query: ma.Schema
    read: Callable[[Any], Listed]
    token: Callable[[Listed], str]
    body: Callable[[Listed], bytes]

    def find(self, app: Flask, environ: Environ, match: re.Match[str]) -> Answer:  # noqa: ARG002 - the rule is the path
        """The page that is asked for."""
        asked = Request(environ)
        page = self.read(_parser.parse(self.query, asked, location="query"))
        etag = quote_etag(conditional.tag_of(app, self.token(page)), weak=True)
        return Answer(etag, list(link_header(page, asked).items()), lambda: self.body(page))


def init_app(app: Flask, *shortcuts: Shortcut) -> None:
    """Open these ways. Comes before what is to see all requests is wrapped around the application."""
    application = app.wsgi_app
    ways = [(re.compile(_PLACEHOLDER.sub(_UUID, way.rule)), way) for way in shortcuts]

    def shortcut(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        for path, way in ways:
            match = path.fullmatch(environ["PATH_INFO"])
            if match is None:
                continue
            if not _is_plain(environ, way.forms):
                break
            try:
                status, headers, body = _answer(app, environ, way, match)
            except Exception as error:  # noqa: BLE001 - it is raised again, where it is handled
                environ[_MET] = error
                break
            start_response(status, headers)
            return body
        return application(environ, start_response)

    app.wsgi_app = shortcut  # type: ignore[method-assign]
    app.before_request(_raise_what_was_met)


def _raise_what_was_met() -> None:
    error: Exception | None = request.environ.get(_MET)
    if error is not None:
        raise error


def _is_plain(environ: Environ, forms: tuple[str, ...]) -> bool:
    return (
        environ["REQUEST_METHOD"] == HTTPMethod.GET
        and _OUT_OF_THE_ORDINARY.isdisjoint(environ)
        and best_for(environ.get("HTTP_ACCEPT", ""), forms) == JSON
    )


def _answer(
    app: Flask, environ: Environ, way: Shortcut, match: re.Match[str]
) -> tuple[str, Headers, tuple[bytes, ...]]:
    exchange.note_route(environ, way.rule)
    counted = limits.count_address(app, environ, limit=way.limit, where=way.counted_at)
    found = way.find(app, environ, match)
    headers = [*limits.head(counted), ("Cache-Control", conditional.PUBLIC), _VARY, ("ETag", found.etag)]
    if found.body is None or conditional.is_among(found.etag, environ.get(_KNOWN)):
        return "304 NOT MODIFIED", headers, ()
    body = found.body()
    headers += [*found.headers, ("Content-Type", JSON), ("Content-Length", str(len(body)))]
    return "200 OK", headers, (body,)

"""The Flask application, without what this service has none of: coroutines, cookies, names of its own.

Flask looks for these on every request, anew for every function that it calls.
"""

from collections.abc import Callable
from typing import Any

from flask import Flask, Request
from flask.ctx import RequestContext
from flask.sessions import SessionInterface
from werkzeug.routing import MapAdapter

from app.observability import exchange
from app.web.response import Response


class _NoSessions(SessionInterface):
    """There are no cookies: who is calling is said by a token."""

    def open_session(self, _app: Flask, _request: Request) -> None:
        """Open none; Flask goes on with one that refuses to be used."""

    def is_null_session(self, _session: object) -> bool:
        """No session is ever to be saved."""
        return True


class _Context(RequestContext):
    def match_request(self) -> None:
        super().match_request()
        if self.request.url_rule is not None:
            exchange.note_route(self.request.environ, self.request.url_rule.rule)


class Application(Flask):
    """Flask, for views and hooks that are plain functions, served under whatever name a client has used."""

    response_class = Response
    session_interface = _NoSessions()

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """The function as it is: none is a coroutine, as greenlets do the waiting."""
        return func

    def request_context(self, environ: dict[str, Any]) -> RequestContext:
        """As Flask's; who observes the exchange is told the route."""
        return _Context(self, environ)

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """What finds the route of a request: by its path alone, whatever its Host says.

        A request for a WebSocket is Flask's to bind, which knows how one is recognised.
        """
        if request is None or "HTTP_UPGRADE" in request.environ:
            return super().create_url_adapter(request)
        environ = request.environ
        return MapAdapter(
            self.url_map,
            server_name="",
            script_name=request.root_path + "/",
            subdomain="",
            url_scheme=environ["wsgi.url_scheme"],
            path_info=exchange.path_of(environ),
            default_method=request.method,
            query_args=environ.get("QUERY_STRING", ""),
        )

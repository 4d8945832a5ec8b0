"""Every request, from its first moment to the head of its answer: named, timed, counted, and written down.

Around the application and not in its hooks, so that nothing leaves without it; and because what is done for every
request is done the shortest way.
"""

import re
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from flask import Flask, request
from structlog.contextvars import bind_contextvars, clear_contextvars

from app.observability import counters, query_counts, request_log
from app.observability.query_counts import QueryCount
from app.settings import Settings

HEADER = "X-Request-Id"
UNMATCHED = "unmatched"
_KEY = "gearyard.exchange"
_ACCEPTED = re.compile(r"[A-Za-z0-9._-]{8,128}", re.ASCII)


@dataclass(slots=True)
class Exchange:
    """A request and what becomes of it. `began_at` is `time.perf_counter`'s.

    The life of a WebSocket is no request's duration: it is counted and written down by who serves it.
    """

    request_id: str
    began_at: float
    queries: QueryCount
    route: str | None = None  # the rule of the URL map that was matched: paths are for anybody to make up
    is_socket: bool = False


def init_app(app: Flask, settings: Settings) -> None:
    """Observe all that the app answers. What wraps it later comes before this, and goes unobserved."""
    application = app.wsgi_app

    def observed(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        exchange = environ[_KEY] = _begin(environ)

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            headers.append((HEADER, exchange.request_id))
            if not exchange.is_socket:
                _conclude(exchange, environ, int(status[:3]), as_json=settings.log_json)
            return start_response(status, headers, exc_info)

        return application(environ, start)

    app.wsgi_app = observed  # type: ignore[method-assign]
    app.before_request(_note_route)


def _note_route() -> None:
    if request.url_rule is not None:
        exchange_of(request.environ).route = request.url_rule.rule


def _path_of(environ: dict[str, Any]) -> str:
    """The path of a request as text; the environment has its bytes as Latin-1 (PEP 3333)."""
    path: str = environ["PATH_INFO"].encode("latin-1").decode(errors="replace")
    return path


def exchange_of(environ: dict[str, Any]) -> Exchange:
    """The exchange of a request that is being served."""
    exchange: Exchange = environ[_KEY]
    return exchange


def current_request_id() -> str:
    """The identifier of the request being served."""
    return exchange_of(request.environ).request_id


def _begin(environ: dict[str, Any]) -> Exchange:
    """Take the client's identifier where it is a safe one, else make one; start the clock and the count of queries."""
    sent = environ.get("HTTP_X_REQUEST_ID", "")
    request_id = sent if _ACCEPTED.fullmatch(sent) else secrets.token_hex(16)
    clear_contextvars()
    bind_contextvars(request_id=request_id)
    return Exchange(request_id, time.perf_counter(), query_counts.start())


def _conclude(exchange: Exchange, environ: dict[str, Any], status: int, *, as_json: bool) -> None:
    duration_seconds = time.perf_counter() - exchange.began_at
    method = environ["REQUEST_METHOD"]
    counters.count_request(method, exchange.route or UNMATCHED, status, duration_seconds)
    request_log.write(
        {
            "method": method,
            "path": _path_of(environ),
            "route": exchange.route,
            "status": status,
            "duration_ms": round(duration_seconds * 1000, 1),
            "queries": exchange.queries.statements,
            "query_ms": round(exchange.queries.seconds * 1000, 1),
            "client_address": environ.get("REMOTE_ADDR"),
        },
        as_json=as_json,
    )

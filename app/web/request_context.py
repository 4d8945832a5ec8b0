"""The request context: each request gets an id, a clock and its client's address, each response a log line.

This is WSGI middleware, not Flask hooks: Flask skips the remaining `after_request` hooks when one fails.
"""

import re
import secrets
import time
from collections.abc import Callable, Iterable
from typing import Any, cast

import structlog
from flask import Flask, request
from structlog.contextvars import bind_contextvars, clear_contextvars
from werkzeug.middleware.proxy_fix import ProxyFix

from app.common.client_address import bare_address
from app.common.request_id import current_request_id
from app.observability import query_counts
from app.observability.query_counts import QueryCount
from app.settings import Settings
from app.web.headers import add_missing

HEADER = "X-Request-Id"
LOGGER = "app.request"
_ACCEPTED_ID = re.compile(r"[A-Za-z0-9._-]{8,128}", re.ASCII)

log = structlog.get_logger(LOGGER)


def init_app(app: Flask, settings: Settings) -> None:
    """Wrap the application.

    `request.remote_addr` is the client's bare address, empty if unknown, and `request.scheme` its scheme, from exactly
    as many proxies as TRUSTED_PROXY_COUNT says.
    """
    application, proxies = app.wsgi_app, settings.trusted_proxy_count

    def with_context(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ["REMOTE_ADDR"] = bare_address(environ.get("REMOTE_ADDR", ""))
        sent = environ.get("HTTP_X_REQUEST_ID", "")
        chosen = sent if _ACCEPTED_ID.fullmatch(sent) else secrets.token_hex(16)
        current_request_id.set(chosen)
        clear_contextvars()
        bind_contextvars(request_id=chosen)
        began_at, queries = time.perf_counter(), query_counts.start()

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            headers.append((HEADER, chosen))
            add_missing(headers, environ["wsgi.url_scheme"])
            _log_request(environ, int(status[:3]), time.perf_counter() - began_at, queries)
            return start_response(status, headers, exc_info)

        return application(environ, start)

    # Without a trusted proxy, forwarded headers are the client's own claims.
    wrapped = ProxyFix(with_context, x_for=proxies, x_proto=proxies) if proxies else with_context
    app.wsgi_app = wrapped  # type: ignore[method-assign]


def request_id() -> str:
    """The id of the current request: the client's X-Request-Id if it has the accepted form, else a random one."""
    return cast(str, current_request_id.get())


def _log_request(environ: dict[str, Any], status: int, duration_seconds: float, queries: QueryCount) -> None:
    """Log the matched URL rule, and the path without its query, which may hold a secret."""
    rule = request.url_rule if request else None
    log.info(
        "request",
        method=environ["REQUEST_METHOD"],
        path=environ["PATH_INFO"].encode("latin-1").decode(errors="replace"),  # PEP 3333
        route=rule.rule if rule else None,
        status=status,
        duration_ms=round(duration_seconds * 1000, 1),
        queries=queries.statements,
        query_ms=round(queries.seconds * 1000, 1),
        client_address=environ["REMOTE_ADDR"],
    )

"""Security headers, added to every response whatever its status. They restrict what browsers do with the response."""

from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask

HEADERS = {
    # The last three do not follow from the first (CSP Level 3 §6.1, "fallback").
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-site",
}
# RFC 6797 §7.2: never sent over plain HTTP.
HSTS = ("Strict-Transport-Security", "max-age=63072000; includeSubDomains")
# A response that does not permit caching is private.
_DEFAULTS = [(name.lower(), (name, value)) for name, value in {**HEADERS, "Cache-Control": "no-store"}.items()]


def init_app(app: Flask) -> None:
    """Add the headers that a view has not set. Middleware that sets the scheme must wrap this one."""
    application = app.wsgi_app

    def with_headers(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            present = {name.lower() for name, _ in headers}
            headers.extend(header for name, header in _DEFAULTS if name not in present)
            if environ["wsgi.url_scheme"] == "https":
                headers.append(HSTS)
            return start_response(status, headers, exc_info)

        return application(environ, start)

    app.wsgi_app = with_headers  # type: ignore[method-assign]

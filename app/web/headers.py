"""Security headers, on every response whatever its status. They tell browsers what this API is not for."""

from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask

HEADERS = {
    "Strict-Transport-Security": "max-age=63072000; includeSubDomains",
    # The last three do not follow from the first (CSP Level 3 §6.1, "fallback").
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-site",
}
# What does not say that it may be cached is personal.
_DEFAULTS = [(name.lower(), (name, value)) for name, value in {**HEADERS, "Cache-Control": "no-store"}.items()]


def init_app(app: Flask) -> None:
    """Add what a view has not set itself, to whatever leaves the application."""
    application = app.wsgi_app

    def with_headers(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            present = {name.lower() for name, _ in headers}
            headers.extend(header for name, header in _DEFAULTS if name not in present)
            return start_response(status, headers, exc_info) if exc_info else start_response(status, headers)

        return application(environ, start)

    app.wsgi_app = with_headers  # type: ignore[method-assign]

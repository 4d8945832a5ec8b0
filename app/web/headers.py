"""Security headers, on every response whatever its status. They tell browsers what this API is not for."""

from flask import Flask, Response

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


def init_app(app: Flask) -> None:
    """Add what a view has not set itself. What does not say that it may be cached is personal: `no-store`."""

    @app.after_request
    def add(response: Response) -> Response:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        response.headers.setdefault("Cache-Control", "no-store")
        return response

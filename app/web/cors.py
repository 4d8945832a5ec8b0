"""Cross-origin requests: from an exact list of origins, and no other (Fetch, "CORS protocol")."""

import re

from flask import Flask, Response
from flask_cors import CORS

from app.settings import Settings
from app.web import rate_limits

MAX_AGE_SECONDS = 3600
READABLE_HEADERS = "X-Request-Id", "ETag", "Idempotent-Replayed", "Link", "Location", "Retry-After", "WWW-Authenticate"
SENDABLE_HEADERS = ("Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match", "X-Request-Id")


def init_app(app: Flask, settings: Settings) -> None:
    """Allow the configured origins, without cookies: a token is sent by its own header."""
    if settings.cors_allowed_origins:
        CORS(
            app,
            # Anchored patterns, because Flask-CORS takes some of the characters of an origin for those of a pattern.
            origins=[re.compile(re.escape(origin) + r"\Z") for origin in settings.cors_allowed_origins],
            methods=["GET", "HEAD", "POST", "PUT", "DELETE"],
            allow_headers=SENDABLE_HEADERS,
            expose_headers=[*READABLE_HEADERS, *rate_limits.HEADERS],
            max_age=MAX_AGE_SECONDS,
            send_wildcard=False,
            always_send=False,
        )

    @app.after_request
    def vary_by_origin(response: Response) -> Response:
        # Flask-CORS leaves this out where one origin is allowed; a shared cache would then answer all alike.
        present = response.headers.get("Vary")
        response.headers["Vary"] = f"{present}, Origin" if present else "Origin"
        return response

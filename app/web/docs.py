"""`/docs`: the API's description to read and to try, from packaged assets, with nothing fetched from elsewhere."""

from pathlib import Path

import flask_swagger_ui
from flask import Flask, Response, send_from_directory

from app.auth.identity import public

ASSETS = Path(flask_swagger_ui.__file__).parent / "dist"
CACHE_SECONDS = 86_400
# Swagger UI sets style attributes as it goes and draws its icons from data URLs; scripts come from here alone.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PAGE = """<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>Gearyard API</title>
    <link rel="stylesheet" href="/docs/swagger-ui.css">
    <link rel="icon" href="/docs/favicon-32x32.png">
  </head>
  <body>
    <div id="swagger-ui"></div>
    <script src="/docs/swagger-ui-bundle.js"></script>
    <script src="/docs/start.js"></script>
  </body>
</html>
"""
START = """SwaggerUIBundle({
  url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null, tryItOutEnabled: true
});
"""


def init_app(app: Flask) -> None:
    """Serve the page and its assets."""

    @app.get("/docs")
    @public
    def docs() -> Response:
        """Show the API's description."""
        headers = {"Content-Security-Policy": CONTENT_SECURITY_POLICY}
        return Response(PAGE, content_type="text/html; charset=utf-8", headers=headers)

    @app.get("/docs/start.js")
    @public
    def docs_start() -> Response:
        """Start the viewer: a file of its own, since the page's policy allows no inline script."""
        return Response(START, content_type="text/javascript; charset=utf-8")

    @app.get("/docs/<path:name>")
    @public
    def docs_asset(name: str) -> Response:
        """Serve a packaged asset; they change with the package only."""
        return send_from_directory(ASSETS, name, max_age=CACHE_SECONDS)

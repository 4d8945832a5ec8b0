"""The first page, and the pages that describe the API and try it out, over HTTP and over a socket.

All files come from this origin: Swagger UI from its package, the rest from `assets`. The pages log in through
`POST /api/v1/auth/auth0/login`, in development also as one of `DEMO_ACCOUNTS`, and keep the token in memory only.
"""

from pathlib import Path
from typing import Any

import flask_swagger_ui
from flask import Blueprint, Flask, Response, jsonify, make_response, render_template, request, send_from_directory
from werkzeug.exceptions import NotFound

from app.settings import AppEnv
from app.web.access import public
from app.web.api import settings
from app.web.negotiation import JSON, best_match, vary_by_accept

OWN_ASSETS = Path(__file__).parent / "assets"
PACKAGED_ASSETS = Path(flask_swagger_ui.__file__).parent / "dist"
PROTOCOL = Path(__file__).parents[2] / "messages" / "PROTOCOL.md"
PACKAGED_CACHE_SECONDS = 86_400  # they change with their package only
ENTRANCES = {"name": "Gearyard", "docs": "/docs", "openapi": "/openapi.json", "health": "/health"}
# No script and no style but from here: what Swagger UI sets on elements goes through the CSSOM, which is no inline
# style (CSP Level 3 §6.1.15). Its icons are data URLs. 'self' holds for sockets to this origin, too (§6.7.2.8).
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
ACCOUNT_DESCRIPTIONS = {
    "renter": "Finds gear, and writes to its owner.",
    "owner": "Lists gear with photos, and answers renters.",
    "admin": "Moderates users, listings and categories; reads the audit log.",
}

blueprint = Blueprint("docs", __name__, template_folder="templates")


def init_app(app: Flask) -> None:
    """Serve the pages and their assets."""
    app.register_blueprint(blueprint)


# Serves an empty path, too, for which Werkzeug would redirect to the host that the client names.
@blueprint.get("/", strict_slashes=False)
@public
def first_page() -> Response:
    """List the entry points: an HTML page for browsers in development, else JSON."""
    if settings().app_env is not AppEnv.DEVELOPMENT:
        return jsonify(ENTRANCES)
    if best_match(("text/html", JSON)) == JSON:
        return vary_by_accept(jsonify(ENTRANCES))
    # The listener's own port, not one that the client names.
    return vary_by_accept(_page("first.html", port=request.environ["SERVER_PORT"]))


@blueprint.get("/docs")
@public
def rest() -> Response:
    """The API's description in Swagger UI."""
    return _page("rest.html")


@blueprint.get("/docs/socket")
@public
def socket() -> Response:
    """The socket's protocol, with a client for its frames."""
    return _page("socket.html")


@blueprint.get("/docs/protocol.md")
@public
def protocol() -> Response:
    """The socket's protocol in Markdown (RFC 7763)."""
    return send_from_directory(PROTOCOL.parent, PROTOCOL.name, mimetype="text/markdown")


@blueprint.get("/docs/<path:name>")
@public
def asset(name: str) -> Response:
    """A file of the pages: one of our own, which browsers revalidate, or a packaged one."""
    try:
        return send_from_directory(OWN_ASSETS, name)
    except NotFound:
        return send_from_directory(PACKAGED_ASSETS, name, max_age=PACKAGED_CACHE_SECONDS)


def _page(template: str, **values: Any) -> Response:
    accounts = [(account, ACCOUNT_DESCRIPTIONS.get(account.name, "")) for account in settings().demo_accounts]
    page = make_response(render_template(template, accounts=accounts, **values))
    page.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    return page

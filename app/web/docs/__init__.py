"""A developer's way in: the first page, and the API's description to read and to try, over HTTP and over a socket.

Everything comes from this origin: Swagger UI from its package, the rest from `assets`. The pages are clients of the
API like any other. They log in through `POST /api/v1/auth/auth0/login` and keep the token in memory, so that it ends
with the page.

Development's pages also offer the accounts of `DEMO_ACCOUNTS`, password included. `make run` knows those accounts and
says them through that setting: no password stands in this package, none is guessed from data, and no endpoint hands
any out. The settings refuse them outside development, so that production's pages have nothing to show.
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
WHAT_THEY_CAN_DO = {
    "renter": "Finds gear, and writes to its owner.",
    "owner": "Lists gear with photos, and answers renters.",
    "admin": "Moderates users, listings and categories; reads the audit log.",
}

blueprint = Blueprint("docs", __name__, template_folder="templates")


def init_app(app: Flask) -> None:
    """Serve the pages and their assets."""
    app.register_blueprint(blueprint)


# An empty path is this one, too: else it is answered with a redirect to whatever host the client says this is.
@blueprint.get("/", strict_slashes=False)
@public
def first_page() -> Response:
    """Say what this is and where everything else is: to people in development, in JSON to all others."""
    if settings().app_env is not AppEnv.DEVELOPMENT:
        return jsonify(ENTRANCES)
    if best_match(("text/html", JSON)) == JSON:
        return vary_by_accept(jsonify(ENTRANCES))
    # The port is the listener's own; what the client calls this host is not repeated.
    return vary_by_accept(_page("first.html", port=request.environ["SERVER_PORT"]))


@blueprint.get("/docs")
@public
def rest() -> Response:
    """Show the API's description, each call to be tried."""
    return _page("rest.html")


@blueprint.get("/docs/socket")
@public
def socket() -> Response:
    """Show the socket's protocol, each frame to be tried."""
    return _page("socket.html")


@blueprint.get("/docs/protocol.md")
@public
def protocol() -> Response:
    """Tell the socket's protocol, in Markdown (RFC 7763)."""
    return send_from_directory(PROTOCOL.parent, PROTOCOL.name, mimetype="text/markdown")


@blueprint.get("/docs/<path:name>")
@public
def asset(name: str) -> Response:
    """Serve a file of the pages: one of our own, which is asked for anew each time, or a packaged one."""
    try:
        return send_from_directory(OWN_ASSETS, name)
    except NotFound:
        return send_from_directory(PACKAGED_ASSETS, name, max_age=PACKAGED_CACHE_SECONDS)


def _page(template: str, **values: Any) -> Response:
    accounts = [(account, WHAT_THEY_CAN_DO.get(account.name, "")) for account in settings().demo_accounts]
    page = make_response(render_template(template, accounts=accounts, **values))
    page.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    return page

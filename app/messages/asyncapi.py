"""The chat's protocol as an AsyncAPI 3.0 document, at `/asyncapi.json`. Its description is PROTOCOL.md."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from flask import Flask, Response

from app.web.access import public
from app.web.json import json_response


def init_app(app: Flask) -> None:
    """Serve the document."""

    @app.get("/asyncapi.json")
    @public
    def asyncapi() -> Response:
        """Show the description of the socket."""
        return json_response(document())


@cache
def document() -> dict[str, Any]:
    """The document. Every call returns the same object: do not change it."""
    directory = Path(__file__).parent
    found: dict[str, Any] = json.loads((directory / "asyncapi.json").read_text(encoding="utf-8"))
    found["info"]["description"] = (directory / "PROTOCOL.md").read_text(encoding="utf-8")
    return found

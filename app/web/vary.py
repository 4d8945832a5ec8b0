"""The Vary header (RFC 9110 §12.5.5): what a cache must compare before it answers with what it has kept."""

from flask import Response


def vary_by(response: Response, header: str) -> None:
    """Say that another value of this request header may be answered otherwise."""
    said = response.headers.get("Vary")
    if said is None:
        response.headers["Vary"] = header
    elif header.lower() not in said.lower().replace(" ", "").split(","):
        response.headers["Vary"] = f"{said}, {header}"

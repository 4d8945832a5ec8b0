"""The service with views that fail when asked to, for what has to hold while things go wrong."""

import dataclasses
from typing import Any

import psycopg2
from flask import Flask
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import PreconditionFailed

from app import create_app
from app.errors import Conflict, Forbidden, InvalidToken, TooManyRequests
from app.settings import Settings
from app.web.access import public

FAILURES: dict[str, Exception] = {
    "bug": ZeroDivisionError("secret detail"),
    "away": OperationalError("SELECT secret", {}, psycopg2.OperationalError("connection refused")),
    "pool": PoolTimeout("QueuePool limit reached"),
    "conflict": Conflict("It is there already."),
    "token": InvalidToken('It is “not” a "token"\\…'),
    "precondition": PreconditionFailed(),
    "forbidden": Forbidden("It is of another user."),
    "busy": TooManyRequests("Slow down.", retry_after_seconds=3),
}


def make_failing_app(settings: Settings, **changes: Any) -> Flask:
    """An app with `/fail/<kind>` for each of `FAILURES`, and with `/folder/`, to which `/folder` is redirected."""
    app = create_app(dataclasses.replace(settings, **changes))

    @public
    def fail(kind: str) -> str:
        raise FAILURES[kind]

    @public
    def folder() -> str:
        return "folder"

    app.add_url_rule("/fail/<kind>", view_func=fail)
    app.add_url_rule("/folder/", view_func=folder)
    return app

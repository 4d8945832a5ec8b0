"""Is it alive, is it ready: for load balancers and operators."""

from collections.abc import Callable
from pathlib import Path
from threading import Lock

import structlog
from alembic.script import ScriptDirectory
from flask import Flask, Response
from gevent import Timeout
from sqlalchemy import Engine, text
from sqlalchemy.exc import ProgrammingError, SQLAlchemyError

from app.auth.identity import public
from app.database import PROBE_TIMEOUT_SECONDS, make_probe_engine
from app.errors import Unavailable
from app.settings import Settings

MIGRATIONS = Path(__file__).parents[2] / "migrations"

log = structlog.get_logger(__name__)
_one_probe = Lock()


def init_app(app: Flask, settings: Settings, *, is_draining: Callable[[], bool]) -> None:
    """Serve `/health` and `/ready`, without the API's base path. `is_draining`: whether this worker is about to end."""
    probe = make_probe_engine(settings)
    expected = ScriptDirectory(str(MIGRATIONS)).get_current_head()

    @app.get("/health")
    @public
    def health() -> Response:
        """Answer as long as the process can; touches nothing else."""
        return Response("ok", content_type="text/plain")

    @app.get("/ready")
    @public
    def ready() -> Response:
        """Answer `ready` when the worker stays, the database answers within a second, and its schema is this code's."""
        if is_draining():
            raise Unavailable("This worker is about to end.", retry_after_seconds=1)
        found = _schema_version(probe)
        if found != expected:
            log.warning("not_ready", schema=found, expected=expected)
            raise Unavailable(f"The database schema is at {found}, not at {expected}.", retry_after_seconds=5)
        return Response("ready", content_type="text/plain")


def _schema_version(probe: Engine) -> str | None:
    """The revision that the database is at; None before the first migration."""
    try:
        # One probe at a time, each with a connection of its own: anybody may ask, and connections are few.
        with Timeout(PROBE_TIMEOUT_SECONDS), _one_probe, probe.connect() as connection:
            version: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
            return version
    except ProgrammingError:  # there is no such table
        return None
    except (SQLAlchemyError, Timeout) as error:
        log.warning("not_ready", reason=str(error.__cause__ or error).strip()[:200])
        raise Unavailable("The database does not answer.", retry_after_seconds=5) from error

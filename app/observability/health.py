"""Is it alive, is it ready: for load balancers and operators."""

import time
from collections.abc import Callable
from pathlib import Path

import gevent
import structlog
from alembic.script import ScriptDirectory
from flask import Flask, Response
from gevent import Timeout
from sqlalchemy import Engine, text
from sqlalchemy.exc import ProgrammingError, SQLAlchemyError

from app.auth.identity import public
from app.db.engine import PROBE_TIMEOUT_SECONDS, make_probe_engine
from app.errors import Unavailable
from app.settings import Settings

MIGRATIONS = Path(__file__).parents[2] / "migrations"
FRESH_SECONDS = 0.5
# A header, since the body says `ready`, and nothing else, to whoever compares it.
DEGRADED_HEADER = "Gearyard-Degraded"
TENANT = "tenant"

log = structlog.get_logger(__name__)


def init_app(
    app: Flask, settings: Settings, *, is_draining: Callable[[], bool], is_tenant_away: Callable[[], bool]
) -> None:
    """Serve `/health` and `/ready`, without the API's base path. Neither question may wait for anything:

    `is_draining`: is this worker about to end? `is_tenant_away`: did the identity provider not answer lately?
    """
    readiness = _Readiness(make_probe_engine(settings), ScriptDirectory(str(MIGRATIONS)))

    @app.get("/health")
    @public
    def health() -> Response:
        """Answer as long as the process can; touches nothing else."""
        return Response("ok", content_type="text/plain")

    @app.get("/ready")
    @public
    def ready() -> Response:
        """Answer `ready` when the worker stays, the database answers within a second, and its schema is not behind.

        Without its tenant the service is degraded, and ready: whoever is logged in goes on, and so does the search.
        """
        if is_draining():
            raise Unavailable("This worker is about to end.", retry_after_seconds=1)
        readiness.check()
        response = Response("ready", content_type="text/plain")
        if is_tenant_away():
            response.headers[DEGRADED_HEADER] = TENANT
        return response


class _Readiness:
    """Whether the database answers and its schema is not behind this code's. Anybody may ask, and connections are few:

    whoever asks while a probe is under way gets its answer, and a good one is good for `FRESH_SECONDS`.

    A revision that this code does not know is a later one's: while a new release is rolled out, those who still run the
    old one go on. What a release migrates leaves the one before it working (deploy/README.md).
    """

    def __init__(self, engine: Engine, migrations: ScriptDirectory) -> None:
        self._engine = engine
        self._expected = migrations.get_current_head()
        earlier = {revision.revision for revision in migrations.walk_revisions()} - {self._expected}
        self._behind = {None, *earlier}
        self._probe: gevent.Greenlet | None = None
        self._ready_at = float("-inf")
        self._problem: str | None = None

    def check(self) -> None:
        """Raise Unavailable, unless the service is ready."""
        if time.monotonic() - self._ready_at < FRESH_SECONDS:
            return
        if self._probe is None:
            self._probe = gevent.spawn(self._ask)
        problem = self._probe.get()
        if problem is not None:
            raise Unavailable(problem, retry_after_seconds=5)

    def _ask(self) -> str | None:
        """Ask the database; what is wrong, in words for anybody."""
        try:
            version = _schema_version(self._engine)
            problem = "The database schema is behind this code." if version in self._behind else None
            reason = f"schema {version}, expected {self._expected}"
        except (SQLAlchemyError, Timeout) as error:
            problem, reason = "The database does not answer.", str(error.__cause__ or error).strip()[:200]
        finally:
            self._probe = None
        if problem is None:
            self._ready_at = time.monotonic()
        if problem != self._problem:  # a flood of questions is no flood of lines
            log.warning("ready_again" if problem is None else "not_ready", reason=reason)
            self._problem = problem
        return problem


def _schema_version(engine: Engine) -> str | None:
    """The revision that the database is at; None before the first migration."""
    try:
        with Timeout(PROBE_TIMEOUT_SECONDS), engine.connect() as connection:
            version: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
            return version
    except ProgrammingError:  # there is no such table
        return None

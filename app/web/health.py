"""Liveness and readiness of a worker, for load balancers and operators."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import gevent
import structlog
from flask import Flask, Response
from gevent import Timeout
from sqlalchemy import Engine, text
from sqlalchemy.exc import ProgrammingError, SQLAlchemyError

from app.db.engine import PROBE_TIMEOUT_SECONDS, make_probe_engine
from app.errors import Unavailable
from app.settings import Settings
from app.web.access import public

MIGRATIONS = Path(__file__).parents[2] / "migrations" / "versions"
FRESH_SECONDS = 0.5
IDENTITY_PROVIDER_PROBE_SECONDS = 15
DEGRADED_HEADER = "Gearyard-Degraded"  # and not the body, which clients compare with `ready`

log = structlog.get_logger(__name__)


def init_app(app: Flask, settings: Settings, *, is_draining: Callable[[], bool], probe: Callable[[], object]) -> None:
    """Serve `/health` and `/ready`. `probe` raises Unavailable if the identity provider does not answer."""
    identity_provider = IdentityProviderHealth(probe)
    readiness = _Readiness(make_probe_engine(settings))

    @app.get("/health")
    @public
    def health() -> Response:
        """Answer as long as the process can; touches nothing else."""
        return Response("ok", content_type="text/plain")

    @app.get("/ready")
    @public
    def ready() -> Response:
        """Answer `ready` unless the worker drains, the database does not answer in a second, or its schema is old.

        Without the identity provider the service is ready but degraded: valid tokens and public routes still work.
        """
        if is_draining():
            raise Unavailable("This worker is about to end.", retry_after_seconds=1)
        readiness.check()
        response = Response("ready", content_type="text/plain")
        if identity_provider.is_unavailable():
            response.headers[DEGRADED_HEADER] = "tenant"
        return response


class IdentityProviderHealth:
    """Whether the identity provider answered the last probe.

    A caller starts a probe in the background if the last one is older than `IDENTITY_PROVIDER_PROBE_SECONDS`.
    """

    def __init__(self, probe: Callable[[], object]) -> None:
        self._probe = probe
        self._probed_at = float("-inf")
        self._is_unavailable = False

    def is_unavailable(self) -> bool:
        """Return the result of the last probe; False before the first one."""
        if time.monotonic() - self._probed_at >= IDENTITY_PROVIDER_PROBE_SECONDS:
            self._probed_at = time.monotonic()
            gevent.spawn(self._run_probe)
        return self._is_unavailable

    def _run_probe(self) -> None:
        try:
            self._probe()
            self._is_unavailable = False
        except Unavailable:  # logged and counted by the client
            self._is_unavailable = True


class _Readiness:
    """Whether the database answers and its schema is as new as this code.

    Concurrent callers share one probe, and a success counts for `FRESH_SECONDS`: the route is public and connections
    are few. An unknown revision is a later release's, which leaves this one working (deploy/README.md).
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        *self._outdated, self._expected = revisions()
        self._probe: gevent.Greenlet | None = None
        self._ready_at = float("-inf")
        self._problem: str | None = None

    def check(self) -> None:
        """Raise Unavailable, unless the service is ready."""
        if time.monotonic() - self._ready_at < FRESH_SECONDS:
            return
        if self._probe is None:
            self._probe = gevent.spawn(self._run_probe)
        problem = self._probe.get()
        if problem is not None:
            raise Unavailable(problem, retry_after_seconds=5)

    def _run_probe(self) -> str | None:
        """Query the database; return the problem in words for clients, and log each change of it."""
        problem = version = None
        try:
            with Timeout(PROBE_TIMEOUT_SECONDS), suppress(ProgrammingError), self._engine.connect() as connection:
                # The table does not exist before the first migration.
                version = connection.scalar(text("SELECT version_num FROM alembic_version"))
            if version is None or version in self._outdated:
                problem = "The database schema is behind this code."
            reason = f"schema {version}, expected {self._expected}"
        except (SQLAlchemyError, Timeout) as error:
            problem, reason = "The database does not answer.", str(error.__cause__ or error).strip()[:200]
        finally:
            self._probe = None
        if problem is None:
            self._ready_at = time.monotonic()
        if problem != self._problem:
            log.warning("ready_again" if problem is None else "not_ready", reason=reason)
            self._problem = problem
        return problem


def revisions() -> list[str]:
    """The revisions of the schema, the oldest first. A migration's file name begins with its revision."""
    return sorted(path.name.partition("_")[0] for path in MIGRATIONS.glob("[0-9]*.py"))

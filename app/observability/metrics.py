"""`GET /metrics`, for Prometheus: right over all workers of this service, whichever of them answers."""

import os
import struct
from http import HTTPStatus

import gevent
from flask import Flask, Response, request
from prometheus_flask_exporter import PrometheusMetrics
from prometheus_flask_exporter.multiprocess import GunicornInternalPrometheusMetrics

from app.auth.identity import public
from app.errors import Unavailable
from app.observability import counters, dependency_metrics, metrics_access
from app.settings import Settings

PATH = "/metrics"
READ_ATTEMPTS, READ_PAUSE_SECONDS = 5, 0.02
RETRY_AFTER_SECONDS = 1


def init_app(app: Flask, settings: Settings) -> None:
    """Serve the counts to whom the settings let read them."""
    exporter = _exporter()

    @app.get(PATH)
    @public  # towards access tokens: this has rules of its own
    def metrics() -> Response:
        """Show what was counted, in the text format.

        Raises:
            Forbidden, InvalidToken: as `metrics_access.check`. Unavailable: as `_generate`.
        """
        metrics_access.check(
            settings.metrics,
            headers=request.headers,
            client_address=request.remote_addr,
            proxies=settings.trusted_proxy_count,
        )
        dependency_metrics.show_key_age()
        # Always the same format: the library fails on versions in `Accept` that are no numbers.
        text, content_type = _generate(exporter)
        return Response(text, status=HTTPStatus.OK, content_type=content_type)


def _generate(exporter: PrometheusMetrics) -> tuple[str, str]:
    """The text and its content type. Raises Unavailable while a worker's file has no head.

    A worker creates its file empty and then writes the head. The library fails on a file that it reads in between.
    """
    for _ in range(READ_ATTEMPTS):
        try:
            generated: tuple[str, str] = exporter.generate_metrics()
        except struct.error:
            gevent.sleep(READ_PAUSE_SECONDS)
        else:
            return generated
    raise Unavailable("A worker is starting; ask again in a moment.", retry_after_seconds=RETRY_AFTER_SECONDS)


def _exporter() -> PrometheusMetrics:
    """The one that adds up the workers' files where deploy/gunicorn.conf.py has made room for them.

    Its own metrics stay off: they have labels for whatever method a client makes up, and none for the route.
    """
    if counters.MULTIPROC_DIR in os.environ:
        return GunicornInternalPrometheusMetrics(app=None, export_defaults=False)
    return PrometheusMetrics(app=None, path=None, export_defaults=False, registry=counters.REGISTRY)

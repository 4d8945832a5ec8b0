"""`GET /metrics`, for Prometheus: right over all workers of this service, whichever of them answers."""

import os
from http import HTTPStatus

from flask import Flask, request
from prometheus_flask_exporter import PrometheusMetrics
from prometheus_flask_exporter.multiprocess import GunicornInternalPrometheusMetrics

from app.auth.identity import public
from app.observability import counters, dependency_metrics, metrics_access
from app.settings import Settings
from app.web.response import Response

PATH = "/metrics"


def init_app(app: Flask, settings: Settings) -> None:
    """Serve the counts to whom the settings let read them."""
    exporter = _exporter()

    @app.get(PATH)
    @public  # towards access tokens: this has rules of its own
    def metrics() -> Response:
        """Show what was counted, in the text format.

        Raises:
            Forbidden, InvalidToken: as `metrics_access.check`.
        """
        metrics_access.check(
            settings.metrics,
            headers=request.headers,
            client_address=request.remote_addr,
            proxies=settings.trusted_proxy_count,
        )
        dependency_metrics.show_key_age()
        # Always the same format: the library fails on versions in `Accept` that are no numbers.
        text, content_type = exporter.generate_metrics()
        return Response(text, status=HTTPStatus.OK, content_type=content_type)


def _exporter() -> PrometheusMetrics:
    """The one that adds up the workers' files where deploy/gunicorn.conf.py has made room for them.

    Its own metrics stay off: they have labels for whatever method a client makes up, and none for the route.
    """
    if counters.MULTIPROC_DIR in os.environ:
        return GunicornInternalPrometheusMetrics(app=None, export_defaults=False)
    return PrometheusMetrics(app=None, path=None, export_defaults=False, registry=counters.REGISTRY)

"""`GET /metrics`, merged over all workers, and the request metrics of prometheus_flask_exporter."""

import os
import struct

import gevent
from flask import Flask, Request, Response, request

from app.errors import Unavailable
from app.observability import metrics
from app.settings import Settings
from app.web import metrics_access
from app.web.access import public

# isort: split
# After `metrics`, which decides where prometheus_client keeps its values.
from prometheus_client import CollectorRegistry
from prometheus_flask_exporter import PrometheusMetrics
from prometheus_flask_exporter.multiprocess import GunicornInternalPrometheusMetrics

PATH = "/metrics"
UNMATCHED = "unmatched"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
READ_ATTEMPTS, READ_PAUSE_SECONDS = 5, 0.02
RETRY_AFTER_SECONDS = 1


def init_app(app: Flask, settings: Settings) -> None:
    """Count and time every request, and serve the metrics to clients that `settings.metrics` admits.

    Comes before all other hooks, so that a response of any of them is counted, once, with its final status.
    """
    exporter = _exporter()
    exporter.init_app(app)
    app.after_request(_limit_methods)

    @app.get(PATH, endpoint="metrics")
    @public  # `metrics_access` takes the place of access tokens
    def metrics_text() -> Response:
        """Return the metrics in Prometheus' text format.

        Raises:
            Forbidden, InvalidToken: as `metrics_access.check`. Unavailable: as `_generate`.
        """
        metrics_access.check(
            settings.metrics,
            headers=request.headers,
            client_address=request.remote_addr,
            proxies=settings.trusted_proxy_count,
        )
        metrics.update_key_age()
        # One format for all: the library fails on an `Accept` whose version is no number.
        text, content_type = _generate(exporter)
        return Response(text, content_type=content_type)


def route(request: Request) -> str:
    """The `route` label of a request: the rule of the URL map, never a path, which a client chooses."""
    return request.url_rule.rule if request.url_rule else UNMATCHED


def _limit_methods(response: Response) -> Response:
    """Give all methods that a client made up one label value; the exporter reads `request.method` after this hook."""
    if request.method not in METHODS:
        request.method = metrics.OTHER
    return response


def _generate(exporter: PrometheusMetrics) -> tuple[str, str]:
    """The text and its content type.

    Raises:
        Unavailable: a worker has created its file and not yet written the head, which the library cannot read.
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
    """The exporter for gunicorn's workers or for a single process. `path=None`: it serves no endpoint of its own."""
    options = {
        "path": None,
        "defaults_prefix": "gearyard",
        "group_by": route,
        "buckets": metrics.LATENCY_BUCKETS_SECONDS,
    }
    if metrics.MULTIPROC_DIR in os.environ:
        return GunicornInternalPrometheusMetrics.for_app_factory(**options)
    # A registry for each app: the exporter installs its hooks only where its metrics are new.
    registry = CollectorRegistry()
    registry.register(metrics.REGISTRY)
    return PrometheusMetrics.for_app_factory(registry=registry, **options)

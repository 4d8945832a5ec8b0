"""`GET /metrics`, merged over all workers, and the request metrics of prometheus_flask_exporter.

Clients on a private network and clients with the token may read the metrics. An undeclared proxy gives every client
its own address, which is private. So a request counts as public if its headers show another number of proxies than
TRUSTED_PROXY_COUNT.
"""

import hmac
import os
import struct
import time
from glob import escape, glob
from ipaddress import ip_network

import gevent
from flask import Flask, Request, Response, request

from app.common.client_address import parse_address
from app.errors import Forbidden, InvalidToken, Unavailable
from app.observability import metrics
from app.settings import Settings
from app.web.access import public

# isort: split
# After `metrics`, which decides where prometheus_client keeps its values.
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_flask_exporter import PrometheusMetrics

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
READ_ATTEMPTS, READ_PAUSE_SECONDS = 5, 0.02
RETRY_AFTER_SECONDS = 1
# Loopback, RFC 1918, RFC 4193 and link-local. Python's `is_private` adds documentation and other reserved ranges.
_PRIVATE_NETWORKS = [
    *map(ip_network, ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16")),
    *map(ip_network, ("::1/128", "fc00::/7", "fe80::/10")),
]
_PROXY_HEADERS = (
    *("Forwarded", "X-Forwarded-For", "Via", "X-Real-IP", "X-Client-IP", "True-Client-IP", "CF-Connecting-IP"),
    *("X-Forwarded", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Server"),
)


def init_app(app: Flask, settings: Settings) -> None:
    """Count and time every request, and serve the metrics to clients that `settings.metrics` admits.

    Comes before all other hooks, so that a response of any of them is counted, once, with its final status.
    """
    registry = CollectorRegistry()  # of this app: the exporter installs its hooks only where its metrics are new
    if metrics.MULTIPROC_DIR in os.environ:
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    else:
        registry.register(metrics.REGISTRY)
    exporter = PrometheusMetrics(
        app,
        path=None,  # the exporter's endpoint would serve every client
        defaults_prefix="gearyard",
        group_by=route,
        buckets=metrics.LATENCY_BUCKETS_SECONDS,
        registry=registry,
    )
    app.after_request(_limit_methods)

    @app.get("/metrics", endpoint="metrics")
    @public  # `_require_access` takes the place of access tokens
    def metrics_text() -> Response:
        """Return the metrics in Prometheus' text format."""
        _require_access(settings)
        # One format for all: the library fails on an `Accept` whose version is no number.
        text, content_type = _generate(exporter)
        return Response(text, content_type=content_type)


def route(request: Request) -> str:
    """The `route` label of a request: the rule of the URL map, never a path, which a client chooses."""
    return request.url_rule.rule if request.url_rule else "unmatched"


def _limit_methods(response: Response) -> Response:
    """Give all methods that a client made up one label value; the exporter reads `request.method` after this hook."""
    if request.method not in METHODS:
        request.method = metrics.OTHER
    return response


def _generate(exporter: PrometheusMetrics) -> tuple[str, str]:
    """The text and its content type. Raises Unavailable."""
    for _ in range(READ_ATTEMPTS):
        try:
            fetched_at = _oldest_key_fetch()
            metrics.KEY_AGE.set(time.time() - fetched_at if fetched_at else float("nan"))
            generated: tuple[str, str] = exporter.generate_metrics()
        except struct.error:  # a worker has created its file and not yet written the head
            gevent.sleep(READ_PAUSE_SECONDS)
        else:
            return generated
    raise Unavailable("A worker is starting; ask again in a moment.", retry_after_seconds=RETRY_AFTER_SECONDS)


def _oldest_key_fetch() -> float | None:
    """The value of `KEYS_FETCHED_AT`; of the workers' files, only those of its kind are read."""
    directory = os.environ.get(metrics.MULTIPROC_DIR)
    if directory is None:
        return metrics.REGISTRY.get_sample_value(metrics.KEYS_FETCHED_AT)
    files = glob(f"{escape(directory)}/gauge_livemin_*.db")
    merged = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]
    return next((metric.samples[0].value for metric in merged if metric.name == metrics.KEYS_FETCHED_AT), None)


def _require_access(settings: Settings) -> None:
    """Check the client's address, as ProxyFix found it, or the token of the current request.

    Raises InvalidToken for an Authorization header without the token, Forbidden without an Authorization header.
    """
    access = settings.metrics
    if access.allow_private_only:
        if _came_as_configured(settings.trusted_proxy_count) and _is_private(request.remote_addr or ""):
            return
    elif access.admin_token is None:
        return
    if "Authorization" not in request.headers:
        raise Forbidden("The metrics are not for everyone.")
    sent = request.authorization
    token = sent.token if sent is not None and sent.type == "bearer" else None
    if not access.admin_token or not hmac.compare_digest((token or "").encode(), access.admin_token.encode()):
        raise InvalidToken("This is not the token for the metrics.")


def _came_as_configured(proxies: int) -> bool:
    if proxies == 0:
        return not any(name in request.headers for name in _PROXY_HEADERS)
    # Each trusted proxy adds one entry. With fewer entries ProxyFix leaves the address of the last proxy.
    entries = request.headers.get("X-Forwarded-For", "").split(",")
    return "Forwarded" not in request.headers and len(entries) == proxies and all(entry.strip() for entry in entries)


def _is_private(address: str) -> bool:
    found = parse_address(address)
    return found is not None and any(found in network for network in _PRIVATE_NETWORKS)

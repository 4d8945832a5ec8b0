"""What is counted, for `/metrics`: one place for all of it, which any module may import, as it knows no Flask.

To add a metric: define it on `REGISTRY` with labels of a fixed, small set of values (never what a client chose), and
give it a function that is decorated with `never_fails`. Under gunicorn every worker writes to files of its own in
PROMETHEUS_MULTIPROC_DIR (see deploy/gunicorn.conf.py), and `/metrics` adds them up; elsewhere `REGISTRY` is read.
"""

import os
from collections.abc import Callable
from functools import cache, wraps
from typing import ParamSpec

import structlog

# Only the directory that deploy/gunicorn.conf.py makes for its workers. A command (`flask`, `alembic`) that merely
# inherits an operator's setting counts for itself, and needs no directory. The library looks once, when it is imported.
MULTIPROC_DIR = "PROMETHEUS_MULTIPROC_DIR"
if not os.path.basename(os.environ.get(MULTIPROC_DIR, "")).startswith("gearyard-metrics-"):
    os.environ.pop(MULTIPROC_DIR, None)

from prometheus_client import CollectorRegistry, Counter, Histogram  # noqa: E402

Parameters = ParamSpec("Parameters")

# Not the library's own: a reload imports this module anew, and that registry refuses a name it has seen.
REGISTRY = CollectorRegistry()
OTHER = "other"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
AUTHENTICATION_FAILURES = frozenset({"UNAUTHORIZED", "TOKEN_EXPIRED", "INVALID_TOKEN", "INVALID_CREDENTIALS"})
RATE_LIMITED = "RATE_LIMITED"
# From a query of one row to the longest wait that a client is made to suffer: for the tenant, 8.5 s.
LATENCY_BUCKETS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_OF_A_REQUEST = ("method", "route", "status")

_requests = Counter("gearyard_http_requests", "Requests answered.", _OF_A_REQUEST, registry=REGISTRY)
_latency = Histogram(
    "gearyard_http_request_duration_seconds",
    "How long requests took; the life of a WebSocket is none.",
    _OF_A_REQUEST,
    buckets=LATENCY_BUCKETS_SECONDS,
    registry=REGISTRY,
)
_authentication_failures = Counter(
    "gearyard_authentication_failures", "Requests refused for their credentials.", ("reason",), registry=REGISTRY
)
_rate_limit_refusals = Counter("gearyard_rate_limit_refusals", "Requests answered 429.", registry=REGISTRY)
_login_lockouts = Counter("gearyard_login_lockouts", "Accounts locked for an address.", registry=REGISTRY)

log = structlog.get_logger(__name__)


def never_fails(count: Callable[Parameters, None]) -> Callable[Parameters, None]:
    """Let nothing that goes wrong with a metric (a full disk, a lost directory) fail the request that is counted."""

    @wraps(count)
    def guarded(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        try:
            count(*args, **kwargs)
        except Exception as error:
            log.error("not_counted", what=count.__name__, exc_info=error)

    return guarded


@never_fails
def count_request(method: str, route: str, status: int, duration_seconds: float) -> None:
    """Count an answered request. `route` is a rule of the URL map, never a path; unknown methods count as `other`."""
    requests, latency = _of_requests(method if method in METHODS else OTHER, route, status)
    requests.inc()
    latency.observe(duration_seconds)


@cache
def _of_requests(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    """The series of these labels, which the library looks up under a lock, by their text, each time."""
    labels = (method, route, str(status))
    return _requests.labels(*labels), _latency.labels(*labels)


@never_fails
def count_refusal(code: str) -> None:
    """Count an error by its code, where it is one of those that say who is kept out; others are no matter."""
    if code in AUTHENTICATION_FAILURES:
        _authentication_failures.labels(code).inc()
    elif code == RATE_LIMITED:
        _rate_limit_refusals.inc()


@never_fails
def count_login_lockout() -> None:
    """Count that an account was locked for an address."""
    _login_lockouts.inc()

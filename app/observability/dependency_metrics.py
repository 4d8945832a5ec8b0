"""What is counted of those that this service depends on: the tenant, its keys, and the database's pool."""

import os
import time
from functools import cache
from glob import escape, glob

from app.observability.counters import LATENCY_BUCKETS_SECONDS, MULTIPROC_DIR, OTHER, REGISTRY, never_fails

# isort: split
# Only now, as `counters` decides where the library writes before that is imported.
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.multiprocess import MultiProcessCollector

OK = "ok"
FAILED = "failed"
REFUSED = "refused"
TENANT_ENDPOINTS = frozenset({"discovery", "jwks", "userinfo", "signup", "token"})
KEYS_FETCHED_AT = "gearyard_jwks_fetched_timestamp_seconds"

_key_fetches = Counter(
    "gearyard_jwks_fetches",
    "Times that the tenant's signing keys were asked for; ok if usable ones came.",
    ("outcome",),
    registry=REGISTRY,
)
_key_fetches_of = {outcome: _key_fetches.labels(outcome) for outcome in (OK, FAILED)}
_key_age = Gauge(
    "gearyard_jwks_age_seconds",
    "Age of the oldest signing keys that a worker has, as of this reading; NaN while none has any.",
    multiprocess_mode="livemostrecent",
    registry=REGISTRY,
)
_tenant_calls = Histogram(
    "gearyard_tenant_call_duration_seconds",
    "How long calls of the tenant took. ok: status 200; refused: another answer to what was asked; failed: no proper"
    " answer.",
    ("endpoint", "outcome"),
    buckets=LATENCY_BUCKETS_SECONDS,
    registry=REGISTRY,
)
_pool_in_use = Gauge(
    "gearyard_db_pool_connections_in_use",
    "Database connections of the pools that somebody has, those included that are being made.",
    multiprocess_mode="livesum",
    registry=REGISTRY,
)
_pool_waiting = Gauge(
    "gearyard_db_pool_waiting",
    "Who waits for a database connection: for a free one, for a new one, or for the check that it is alive.",
    multiprocess_mode="livesum",
    registry=REGISTRY,
)
_pool_wait = Histogram(
    "gearyard_db_pool_wait_seconds",
    "How long it took to get a database connection, or to give up: waiting, connecting and checking it together.",
    buckets=(0.001, 0.0025, *LATENCY_BUCKETS_SECONDS),
    registry=REGISTRY,
)


# Not before a worker has keys: the minimum would be 0 for as long as one has none.
@cache
def _keys_fetched_at() -> Gauge:
    return Gauge(
        KEYS_FETCHED_AT,
        "When the oldest signing keys that a worker has were fetched.",
        multiprocess_mode="livemin",
        registry=REGISTRY,
    )


@never_fails
def count_key_fetch(*, is_ok: bool) -> None:
    """Count that the tenant's keys were asked for, and, if they came, note when."""
    _key_fetches_of[OK if is_ok else FAILED].inc()
    if is_ok:
        _keys_fetched_at().set(time.time())


@never_fails
def show_key_age() -> None:
    """Show how old the oldest keys of all workers are: for whoever is about to read the metrics, as it grows."""
    fetched_at = _oldest_fetch()
    _key_age.set(time.time() - fetched_at if fetched_at else float("nan"))


def _oldest_fetch() -> float | None:
    directory = os.environ.get(MULTIPROC_DIR)
    if directory is None:
        return REGISTRY.get_sample_value(KEYS_FETCHED_AT)
    files = glob(f"{escape(directory)}/gauge_livemin_*.db")
    metrics = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]
    samples = [sample for metric in metrics for sample in metric.samples if sample.name == KEYS_FETCHED_AT]
    return samples[0].value if samples else None


@never_fails
def observe_tenant_call(endpoint: str, outcome: str, seconds: float) -> None:
    """Note how long a call took, and what came of it."""
    _tenant_calls.labels(endpoint if endpoint in TENANT_ENDPOINTS else OTHER, outcome).observe(seconds)


@never_fails
def show_pool(*, in_use: int, waiting: int) -> None:
    """Show what becomes of this worker's pool."""
    _pool_in_use.set(in_use)
    _pool_waiting.set(waiting)


@never_fails
def observe_pool_wait(seconds: float) -> None:
    """Note how long it took to get a connection."""
    _pool_wait.observe(seconds)

"""Metric definitions, free of Flask: any module may import them and count.

Label values come from a fixed, small set, never from a client. Under gunicorn, each worker writes its values to files
of its own in PROMETHEUS_MULTIPROC_DIR (deploy/gunicorn.conf.py), which `/metrics` merges. Elsewhere `REGISTRY` holds
them. `app.web.metrics_endpoint` adds the request metrics of prometheus_flask_exporter.
"""

import os
import time
from enum import StrEnum
from functools import cache, partial

# prometheus_client reads this once, at its import. Only deploy/gunicorn.conf.py creates such a directory. A command
# (`flask`, `alembic`) that inherits the operator's setting keeps its values in memory and needs no directory.
MULTIPROC_DIR = "PROMETHEUS_MULTIPROC_DIR"
if not os.path.basename(os.environ.get(MULTIPROC_DIR, "")).startswith("gearyard-metrics-"):
    os.environ.pop(MULTIPROC_DIR, None)

import prometheus_client  # noqa: E402

# Not the library's default registry: a reload imports this module again, and that registry refuses a known name.
REGISTRY = prometheus_client.CollectorRegistry()
Counter = partial(prometheus_client.Counter, registry=REGISTRY)
Gauge = partial(prometheus_client.Gauge, registry=REGISTRY)
Histogram = partial(prometheus_client.Histogram, registry=REGISTRY)
SumOfWorkers = partial(Gauge, multiprocess_mode="livesum")

OTHER = "other"
# From a query of one row to the longest timeout that a client can meet: the identity provider's, 8.5 s.
LATENCY_BUCKETS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SHORT_WAIT_BUCKETS_SECONDS = (0.001, 0.0025, *LATENCY_BUCKETS_SECONDS)
KEYS_FETCHED_AT = "gearyard_jwks_fetched_timestamp_seconds"
FRAME_TYPES_RECEIVED = frozenset({"auth", "message", "sendMessage", "typing", "read", "sync", "ping"})
FRAME_TYPES_SENT = frozenset(
    {"ack", "draining", "error", "message", "pong", "read", "ready", "sync", "token_expiring", "typing"}
)
# RFC 6455 §7.4.1 and IANA's WebSocket Close Code Number Registry.
STANDARD_CLOSE_CODES = frozenset({*range(1000, 1004), *range(1005, 1016)})
TOO_SLOW = 4002
OWN_CLOSE_CODES = frozenset({4001, TOO_SLOW, 4003, 4004, *range(4500, 4505)})  # realtime's CloseCode


class CallOutcome(StrEnum):
    """Result of a call of the identity provider."""

    OK = "ok"
    REFUSED = "refused"
    FAILED = "failed"


AUTHENTICATION_FAILURES = Counter(
    "gearyard_authentication_failures", "Requests refused for their credentials.", ["reason"]
)
RATE_LIMIT_REFUSALS = Counter("gearyard_rate_limit_refusals", "Requests answered 429.")
LOGIN_LOCKOUTS = Counter("gearyard_login_lockouts", "Accounts locked for an address.")

IDENTITY_PROVIDER_CALLS = Histogram(
    "gearyard_tenant_call_duration_seconds",
    "Duration of calls of the identity provider. ok: status 200; refused: a 4xx; failed: no usable response.",
    ["endpoint", "outcome"],
    buckets=LATENCY_BUCKETS_SECONDS,
)
KEY_FETCHES = Counter(
    "gearyard_jwks_fetches", "Fetches of the identity provider's signing keys; ok if usable keys came.", ["outcome"]
)
KEY_AGE = Gauge(
    "gearyard_jwks_age_seconds",
    "Age of the oldest signing keys of any worker, at this scrape; NaN while no worker has keys.",
    multiprocess_mode="livemostrecent",
)

POOL_IN_USE = SumOfWorkers(
    "gearyard_db_pool_connections_in_use", "Database connections checked out of the pools or being opened."
)
POOL_WAITING = SumOfWorkers("gearyard_db_pool_waiting", "Checkouts waiting for a free connection.")
POOL_WAIT = Histogram(
    "gearyard_db_pool_wait_seconds",
    "Duration of checkouts, failed ones included: waiting, connecting and checking liveness.",
    buckets=SHORT_WAIT_BUCKETS_SECONDS,
)

OPEN_SOCKETS = SumOfWorkers("gearyard_open_sockets", "Open WebSockets, unauthenticated ones included.")
SOCKET_LIMIT = SumOfWorkers(
    "gearyard_socket_limit", "Maximum of open WebSockets, over all workers (WS_MAX_SOCKETS_PER_WORKER each)."
)
FRAMES_RECEIVED = Counter("gearyard_socket_frames_received", "Protocol frames received from clients.", ["type"])
FRAMES_SENT = Counter("gearyard_socket_frames_sent", "Protocol frames written to sockets.", ["type"])
OUTBOX_DROPS = Counter("gearyard_socket_outbox_drops", "Typing frames dropped because their socket lagged.")
SLOW_CLOSES = Counter("gearyard_socket_slow_closes", "Sockets closed with 4002 because their client read too slowly.")
SOCKET_ENDS = Counter(
    "gearyard_socket_ends", "Closed sockets by close code; codes that a client made up count as other.", ["code"]
)
RESUMES = Counter("gearyard_socket_resumes", "Sessions that began with cursors.")
MESSAGES_STORED = Counter("gearyard_messages_stored", "Messages committed; a retry of one counts once.")
WAKE_UPS_RECONCILED = Counter(
    "gearyard_bus_wake_ups_reconciled",
    "Conversations that the comparison with the log found undelivered: their wake-ups were late or lost.",
)
BUS_LAG = Histogram(
    "gearyard_bus_lag_seconds",
    "From the arrival of a message's wake-up at a worker until the message is in its sockets' outboxes."
    " Excludes the way to the worker, as the clocks of several machines may differ.",
    buckets=SHORT_WAIT_BUCKETS_SECONDS,
)

# A rate needs a first value to grow from, so every label of a fixed set starts at 0.
_key_fetches = {outcome: KEY_FETCHES.labels(outcome) for outcome in (CallOutcome.OK, CallOutcome.FAILED)}
_frames_received = {kind: FRAMES_RECEIVED.labels(kind) for kind in (*FRAME_TYPES_RECEIVED, OTHER)}
_frames_sent = {kind: FRAMES_SENT.labels(kind) for kind in (*FRAME_TYPES_SENT, OTHER)}
_socket_ends = {code: SOCKET_ENDS.labels(code) for code in (*STANDARD_CLOSE_CODES, *OWN_CLOSE_CODES, OTHER)}


@cache
def _minimum_of_workers(name: str, help_text: str) -> prometheus_client.Gauge:
    """A gauge that starts at 0, so a process defines it with its first value: gunicorn's master imports this, too."""
    return Gauge(name, help_text, multiprocess_mode="livemin")


def count_key_fetch(*, is_ok: bool) -> None:
    """Count a fetch of the signing keys, and record the time of a successful one."""
    _key_fetches[CallOutcome.OK if is_ok else CallOutcome.FAILED].inc()
    if is_ok:
        help_text = "Time at which the oldest signing keys of any worker were fetched."
        _minimum_of_workers(KEYS_FETCHED_AT, help_text).set(time.time())


def set_bus_connected(is_connected: bool) -> None:
    """Show whether this worker is connected to the bus."""
    help_text = "1 if every worker is connected to the bus, else 0."
    _minimum_of_workers("gearyard_bus_connected", help_text).set(is_connected)


def count_frame_received(kind: str) -> None:
    """Count a frame of a client by its type; an unknown type or an unreadable frame counts as `other`."""
    _frames_received.get(kind, _frames_received[OTHER]).inc()


def count_frame_sent(kind: str) -> None:
    """Count a frame written to a socket by its type."""
    _frames_sent.get(kind, _frames_sent[OTHER]).inc()


def count_socket_end(code: int, *, is_code_ours: bool) -> None:
    """Count a closed socket. The service's own codes count only if the service chose them."""
    is_known = code in STANDARD_CLOSE_CODES or (is_code_ours and code in OWN_CLOSE_CODES)
    _socket_ends[code if is_known else OTHER].inc()
    if is_code_ours and code == TOO_SLOW:
        SLOW_CLOSES.inc()

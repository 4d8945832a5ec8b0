"""What is counted of sockets, messages and the bus. See `counters` for how to add to it.

What is counted for each frame has its labels looked up once, here: `labels` would look them up again for each.
"""

from functools import cache

from app.observability.counters import LATENCY_BUCKETS_SECONDS, OTHER, REGISTRY, never_fails
from app.realtime.close_codes import CloseCode

# isort: split
# Only now, as `counters` decides where the library writes before that is imported.
from prometheus_client import Counter, Gauge, Histogram

KINDS_RECEIVED = frozenset({"auth", "message", "sendMessage", "typing", "read", "sync", "ping"})
KINDS_SENT = frozenset(
    {"ack", "draining", "error", "message", "pong", "read", "ready", "sync", "token_expiring", "typing"}
)
# Of RFC 6455 §7.4.1 and IANA's register. What else a client closes with is its own invention.
STANDARD_CODES = frozenset({*range(1000, 1004), *range(1005, 1016)})
CLOSE_CODES = STANDARD_CODES | frozenset(CloseCode)

_open_sockets = Gauge(
    "gearyard_open_sockets",
    "Open WebSockets, those included that have not said whose they are.",
    multiprocess_mode="livesum",
    registry=REGISTRY,
)
_socket_limit = Gauge(
    "gearyard_socket_limit",
    "How many WebSockets the workers open at most, all together (WS_MAX_SOCKETS_PER_WORKER each).",
    multiprocess_mode="livesum",
    registry=REGISTRY,
)
_received = Counter(
    "gearyard_socket_frames_received", "Frames of the protocol that clients sent.", ("type",), registry=REGISTRY
)
_sent = Counter(
    "gearyard_socket_frames_sent", "Frames of the protocol that were written to a socket.", ("type",), registry=REGISTRY
)
_drops = Counter("gearyard_socket_outbox_drops", "Frames (typing) left out, as their socket lagged.", registry=REGISTRY)
_slow_closes = Counter(
    "gearyard_socket_slow_closes", "Sockets ended with 4002, as they were not read fast enough.", registry=REGISTRY
)
_ends = Counter(
    "gearyard_socket_ends",
    "Sockets that ended, by close code; codes that a client made up count as other.",
    ("code",),
    registry=REGISTRY,
)
_resumes = Counter("gearyard_socket_resumes", "Sessions that began with cursors.", registry=REGISTRY)
_messages = Counter("gearyard_messages_stored", "Messages stored, repeated ones once.", registry=REGISTRY)
_reconciled = Counter(
    "gearyard_bus_wake_ups_reconciled",
    "Conversations that a comparison with the log found behind: their wake-ups were late or lost.",
    registry=REGISTRY,
)
_bus_lag = Histogram(
    "gearyard_bus_lag_seconds",
    "From the arrival of a message's wake-up at a worker until the message is in its sockets' outboxes;"
    " the way to the worker is not in it, as clocks of several machines need not agree.",
    buckets=(0.001, 0.0025, *LATENCY_BUCKETS_SECONDS),
    registry=REGISTRY,
)


# Not before a worker listens: gunicorn's first process loads this too, never listens, and would be the minimum.
@cache
def _bus_connected() -> Gauge:
    return Gauge(
        "gearyard_bus_connected",
        "1 if every worker hears the bus, 0 if one does not.",
        multiprocess_mode="livemin",
        registry=REGISTRY,
    )


# All of a fixed set are there from the beginning, with 0: a rate needs a first value to grow from.
_received_of = {kind: _received.labels(kind) for kind in sorted(KINDS_RECEIVED | {OTHER})}
_sent_of = {kind: _sent.labels(kind) for kind in sorted(KINDS_SENT | {OTHER})}
_ends_of = {code: _ends.labels(str(int(code))) for code in sorted(CLOSE_CODES)}
_other_ends = _ends.labels(OTHER)


@never_fails
def show_open_sockets(count: int) -> None:
    """Show how many sockets this worker has open."""
    _open_sockets.set(count)


@never_fails
def show_socket_limit(count: int) -> None:
    """Show how many sockets this worker opens at most."""
    _socket_limit.set(count)


@never_fails
def count_frame_received(kind: str) -> None:
    """Count a frame of a client's; one of an unknown type, or that cannot be read, as `other`."""
    _received_of.get(kind, _received_of[OTHER]).inc()


@never_fails
def count_frame_sent(kind: str) -> None:
    """Count a frame that was written to a socket."""
    _sent_of.get(kind, _sent_of[OTHER]).inc()


@never_fails
def count_outbox_drops(frames: int) -> None:
    """Count frames that were left out."""
    _drops.inc(frames)


@never_fails
def count_socket_end(code: int, *, is_code_ours: bool) -> None:
    """Count a socket's end. Only this service's own choice counts under one of its own codes."""
    is_known = code in (CLOSE_CODES if is_code_ours else STANDARD_CODES)
    (_ends_of[code] if is_known else _other_ends).inc()
    if is_code_ours and code == CloseCode.TOO_SLOW:
        _slow_closes.inc()


@never_fails
def count_resume() -> None:
    """Count a session that began with cursors."""
    _resumes.inc()


@never_fails
def count_message_stored() -> None:
    """Count a message, after its COMMIT."""
    _messages.inc()


@never_fails
def count_reconciled(conversations: int) -> None:
    """Count conversations that were found behind."""
    _reconciled.inc(conversations)


@never_fails
def observe_bus_lag(seconds: float) -> None:
    """Note how long a wake-up that has arrived took to be acted upon."""
    _bus_lag.observe(seconds)


@never_fails
def show_bus_connected(is_connected: bool) -> None:
    """Show whether this worker hears the bus."""
    _bus_connected().set(is_connected)

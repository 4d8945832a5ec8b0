"""gunicorn's configuration. Settings of the service are checked here first, once, before any worker is forked."""

from gevent import monkey

# Before anything else is imported: the gevent worker patches after the fork, too late for what is imported by then.
monkey.patch_all()

from deploy import metrics_directory  # noqa: E402

metrics_directory.prepare()  # and before prometheus_client is: it looks once whether several processes count together

import gc  # noqa: E402
import resource  # noqa: E402
import sys  # noqa: E402
from typing import Any  # noqa: E402

import sentry_sdk  # noqa: E402
from environs import Env  # noqa: E402
from marshmallow import validate  # noqa: E402
from prometheus_flask_exporter.multiprocess import GunicornInternalPrometheusMetrics  # noqa: E402

from app.observability.logging import dict_config, keep_secrets_of  # noqa: E402
from app.settings import Settings, refuse_invalid  # noqa: E402
from app.web import server_errors  # noqa: E402

_settings = Settings.from_env()  # a wrong setting stops the start here, with one line
keep_secrets_of(_settings)
server_errors.install()

# What a request makes is nearly all gone by itself when it ends. By Python's own threshold, 700 objects more than were
# freed, the collector looks for rings several times in the midst of each.
COLLECTIONS = (5_000, 10, 10)
OTHER_FILES = 100  # the database, the tenant, listeners, logs

_env = Env(eager=False)


def _number(name: str, default: int, least: int, most: int) -> int:
    number: int = _env.int(name, default, validate=validate.Range(min=least, max=most))
    return number


# Loopback, since a proxy in front ends TLS. Where systemd hands over a socket, that one is used instead.
bind = f"{_env.str('HOST', '127.0.0.1')}:{_number('PORT', 8080, 1, 65_535)}"
# About one for each core: gevent keeps a core busy, and every worker has a database pool of its own.
workers = _number("WEB_CONCURRENCY", 2, 1, 256)
# What plain HTTP has for itself: a socket holds its connection, and with none left a worker would not answer at all.
_http_connections = _number("GUNICORN_HTTP_CONNECTIONS", 1000, 10, 100_000)
# Connections that wait to be accepted: all that come while a worker starts, and no more than somebody waits for.
backlog = _number("GUNICORN_BACKLOG", 2048, 1, 65_535)
# Seconds without a heartbeat until a worker counts as stuck. The loop beats every second or so; no request blocks it.
timeout = _number("GUNICORN_TIMEOUT_SECONDS", 30, 2, 3600)
# Seconds that running requests have to end at a stop or reload: above the longest wait, a login's for the tenant
# (8.5 s), below systemd's TimeoutStopSec.
graceful_timeout = _number("GUNICORN_GRACEFUL_TIMEOUT_SECONDS", 15, 1, 3600)
# Seconds that an idle connection is kept. It is worth keeping to a proxy; without one, many idle clients cost memory.
keepalive = _number("GUNICORN_KEEPALIVE_SECONDS", 5, 1, 3600)
# Bytes of the request line and of one header, and how many headers: as nginx lets through, and a token of 8 KiB fits.
# What is larger is refused by the service, with its own error.
limit_request_line = _number("GUNICORN_LIMIT_REQUEST_LINE", 8190, 512, 8190)  # no more is possible
limit_request_field_size = _number("GUNICORN_LIMIT_REQUEST_FIELD_SIZE", 16_384, 512, 65_535)
limit_request_fields = _number("GUNICORN_LIMIT_REQUEST_FIELDS", 100, 10, 32_768)
refuse_invalid(_env)

# Not for an environment to say: the service is built on these (see `on_starting`).
worker_class = "gevent"
preload_app = False  # so that a reload (HUP) imports the code anew
max_requests = 0  # a recycled worker would cut long-lived connections
control_socket_disable = True  # one more way in that nobody uses
forwarded_allow_ips = ""  # whom to believe about the client is TRUSTED_PROXY_COUNT's to say
# Greenlets a worker serves at once; beyond, connections wait in the backlog.
worker_connections = _settings.sockets.max_sockets_per_worker + _http_connections
logconfig_dict = dict_config(level=_settings.log_level, as_json=_settings.log_json)

_files = worker_connections + OTHER_FILES
_soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
if _hard != resource.RLIM_INFINITY and _hard < _files:
    raise SystemExit(
        f"Invalid settings: WS_MAX_SOCKETS_PER_WORKER: needs {_files} open files, `ulimit -Hn` is {_hard}."
    )
if _soft != resource.RLIM_INFINITY and _soft < _files:
    resource.setrlimit(resource.RLIMIT_NOFILE, (_files, _hard))


def on_starting(server: Any) -> None:
    """Refuse what GUNICORN_CMD_ARGS or the command line say instead, as it would break the service some hours later."""
    config = server.cfg
    if config.worker_class_str != worker_class or config.preload_app or config.max_requests:
        raise SystemExit("Invalid settings: GUNICORN_CMD_ARGS: must leave worker_class, preload_app and max_requests.")


def when_ready(server: Any) -> None:
    """Say once, and not in each worker, what a limit means here."""
    _keep_out_of_collections()
    if _settings.rate_limits.enabled and _settings.redis_url is None:
        server.log.warning("rate_limits_counted_per_worker: with REDIS_URL, they are exact over all workers")


def _keep_out_of_collections() -> None:
    """Let what was imported stay as it is until the process ends.

    An interpreter that ends collects everything once more: half a second of work that a restart has to wait for.
    """
    gc.freeze()


def post_worker_init(worker: Any) -> None:
    """Set the realtime side going: after the fork, as greenlets and connections do not survive one."""
    _keep_out_of_collections()
    gc.set_threshold(*COLLECTIONS)
    worker.wsgi.extensions["chat"].start(is_stopping=lambda: not worker.alive)


def worker_exit(_server: Any, _worker: Any) -> None:
    """Let errors that are on their way to error tracking arrive."""
    sentry_sdk.flush(2)


def child_exit(_server: Any, worker: Any) -> None:
    """Forget what a worker that is gone had open; what it counted stays, as counts only ever rise."""
    GunicornInternalPrometheusMetrics.mark_process_dead_on_child_exit(worker.pid)
    metrics_directory.forget(worker.pid)


# Forget what was imported for the above: workers inherit this process's modules, and a reload must find the new code.
for _name in [name for name in sys.modules if name.partition(".")[0] == "app"]:
    del sys.modules[_name]

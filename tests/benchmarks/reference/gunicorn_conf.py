"""The service's own server settings, without the hooks that are about the service."""

import gc
import runpy
from pathlib import Path
from typing import Any

_service = runpy.run_path(str(Path(__file__).parents[3] / "deploy" / "gunicorn.conf.py"))
_SETTINGS = (
    *("bind", "workers", "worker_class", "worker_connections", "preload_app", "max_requests", "control_socket_disable"),
    *("backlog", "timeout", "graceful_timeout", "keepalive", "forwarded_allow_ips", "logconfig_dict"),
    *("limit_request_line", "limit_request_fields", "limit_request_field_size"),
)
globals().update({name: _service[name] for name in _SETTINGS})


def post_worker_init(_worker: Any) -> None:
    """As the service does: what was imported is no work for the garbage collector."""
    gc.freeze()

"""Listening on loopback with gevent, one short line of log a request, and a quick, quiet end."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
from typing import Any

import gevent
from gevent.pywsgi import WSGIHandler, WSGIServer

from .config import ConfigError
from .faults import HANG_UP

BACKLOG = 1_024
STOP_SECONDS = 0.2  # how long requests under way may go on after SIGTERM


class Handler(WSGIHandler):  # type: ignore[misc]
    """Adds two things to gevent's handler: hanging up on request, and a log line that holds no query string."""

    def get_environ(self) -> dict[str, Any]:
        """The WSGI environment, with the way to hang up."""
        environ: dict[str, Any] = super().get_environ()
        environ[HANG_UP] = self._hang_up
        return environ

    def log_request(self) -> None:
        """Method, path and status: no query, no headers, no body, so no password, code or token."""
        if self.server.log_requests:
            path = (self.path or "?").partition("?")[0][:200]
            status = "-" if self.status is None else self._orig_status.partition(" ")[0]
            print(self.command or "?", path, status, file=sys.stderr, flush=True)  # noqa: T201

    def _hang_up(self) -> None:
        self.close_connection = True


class Server(WSGIServer):  # type: ignore[misc]
    """gevent's server with the handler above."""

    handler_class = Handler
    stop_timeout = STOP_SECONDS
    log_requests = True


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 picks a free one. Raises ConfigError in one clear line if the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        reason = "it is in use" if error.errno == errno.EADDRINUSE else os.strerror(error.errno or 0)
        raise ConfigError(f"cannot listen on {host} port {port}: {reason}") from None
    # Connections inherit it. Headers and body leave in two packets: with Nagle's algorithm the second waits 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def serve(listener: socket.socket, application: Any, issuer: str, *, quiet: bool) -> None:
    """Serve until SIGTERM or SIGINT. Prints ``tenant ready issuer=…`` on stdout once requests are answered."""
    server = Server(listener, application, log=None, error_log=sys.stderr)
    server.log_requests = not quiet
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, server.stop)
    server.start()
    print(f"tenant ready issuer={issuer}", flush=True)  # noqa: T201
    server.serve_forever()

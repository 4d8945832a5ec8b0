"""The WebSocket's paths, and the loop that reads one socket's frames and handles each."""

import time

import flask_sock
import gevent
import structlog
from flask import Blueprint, Flask, g, request
from prometheus_flask_exporter import PrometheusMetrics
from simple_websocket import ConnectionClosed

from app.auth.identity import authenticated_by
from app.messages import handlers, handshake, runtime
from app.messages.session import ChatSession
from app.observability import metrics
from app.observability.failures import report_unexpected
from app.realtime import websocket
from app.realtime.close_codes import CloseCode
from app.realtime.connection import Connection
from app.web.access import public
from app.web.api import settings
from app.web.request_context import request_id

PATHS = ("/ws", "/api/ws", "/api/v1/ws")

log = structlog.get_logger(__name__)


def init_app(app: Flask) -> None:
    """Register the paths. They are `@public`, as the handshake or the first frame authenticates."""
    flask_sock.Server = websocket.WebSocket
    app.config["SOCK_SERVER_OPTIONS"] = {"limits": app.extensions["settings"].sockets}
    blueprint = Blueprint("socket", __name__)
    blueprint.before_request(handshake.check_room_of_caller)
    sock = flask_sock.Sock()
    for number, path in enumerate(PATHS, start=1):
        sock.route(path, bp=blueprint, endpoint=f"open_{number}")(_open)
        blueprint.add_url_rule(path, f"explain_{number}", handshake.explain)
    app.register_blueprint(blueprint)


@PrometheusMetrics.do_not_track()  # the life of a socket is no duration of a request
@public
@authenticated_by(handshake.authenticate_handshake)
def _open(ws: websocket.WebSocket) -> None:
    """Read and handle a socket's frames until it ends, in the request's greenlet and context.

    Raises nothing but what kills the greenlet: gunicorn would write an HTTP error into the socket.
    """
    limits = settings().sockets
    connection = Connection(ws, limits)
    version = 2 if request.args.get("v") == "2" else 1
    session = ChatSession(connection, runtime.current(), limits, connection_id=request_id(), version=version)
    received = 0
    session.runtime.hub.open(session)
    try:
        if g.socket_caller is not None:
            handlers.accept(session, g.socket_caller)
        while not connection.is_ended_here:
            message = connection.receive(session.seconds_until_due())
            if message is not None:
                received += 1
                handlers.handle(session, message)
                gevent.sleep(0)  # a greenlet that waits for a database connection gets the one returned here
            session.keep_time()
    except ConnectionClosed:
        pass
    except Exception as error:  # noqa: BLE001 - the socket is closed with 1011
        report_unexpected(error)
        connection.close(CloseCode.INTERNAL_ERROR, "something went wrong on our side")
    except BaseException:
        connection.abort()  # gunicorn kills a greenlet that does not end in time; nothing may be written after it
        raise
    finally:
        try:
            connection.finish()
        finally:
            session.runtime.hub.forget(session, session.user_id if session.caller else None)
            _note_end(session, received)


def _note_end(session: ChatSession, received: int) -> None:
    """Count the end and log it; the user and the request id are bound to every log line of this greenlet."""
    connection = session.connection
    end = connection.end
    metrics.count_socket_end(end.code, is_code_ours=end.by == "service")
    log.info(
        "socket_closed",
        code=end.code,
        reason=end.reason,
        ended_by=end.by,
        client_address=request.remote_addr,
        path=request.path,
        duration_ms=round((time.monotonic() - connection.opened_at) * 1000, 1),
        version=session.version,
        frames_received=received,
        frames_sent=connection.frames_sent,
        frames_dropped=connection.frames_dropped,
    )

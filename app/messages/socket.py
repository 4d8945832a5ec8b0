"""The WebSocket's paths, and the greenlet that serves one socket: it reads its frames and has each of them handled."""

import time
from typing import Any

import gevent
import structlog
from flask import Blueprint, Flask, request
from flask_sock import Sock
from prometheus_flask_exporter import PrometheusMetrics
from simple_websocket import ConnectionClosed

from app.auth.identity import Authenticated, authenticated_by, public
from app.errors import TooManyRequests
from app.messages import frames, handlers, handshake, live
from app.messages.session import ChatSession
from app.observability import metrics
from app.observability.failures import report_unexpected
from app.realtime import websocket
from app.realtime.close_codes import CloseCode
from app.realtime.connection import Connection
from app.web.api import settings
from app.web.request_context import request_id

PATHS = ("/ws", "/api/ws", "/api/v1/ws")

log = structlog.get_logger(__name__)


def init_app(app: Flask) -> None:
    """Open the socket's paths. The handshake says who is calling, or the first frame does: hence `@public`."""
    websocket.install()
    app.config["SOCK_SERVER_OPTIONS"] = {"limits": app.extensions["settings"].sockets}
    blueprint = Blueprint("socket", __name__)
    blueprint.before_request(handshake.check)
    sock = Sock()
    for number, path in enumerate(PATHS, start=1):
        sock.route(path, bp=blueprint, endpoint=f"open_{number}")(_open)
        blueprint.add_url_rule(path, f"explain_{number}", handshake.explain)
    app.register_blueprint(blueprint)


@PrometheusMetrics.do_not_track()  # the life of a socket is no duration of a request
@public
@authenticated_by(handshake.authenticate_handshake)
def _open(ws: websocket.WebSocket) -> None:
    """Serve one socket to its end, in this request's greenlet and context."""
    limits = settings().sockets
    connection = Connection(ws, limits)
    version = handshake.version_asked_for()
    session = ChatSession(connection, live.current(), limits, connection_id=request_id(), version=version)
    serve(session, handshake.caller())


def serve(session: ChatSession, caller: Authenticated | None) -> None:
    """Read and handle frames until the socket ends, and see it out.

    Raises nothing but what ends the greenlet: anything else would be written into the socket, as HTTP.
    """
    connection = session.connection
    received = 0
    session.live.hub.open(session)
    try:
        if caller is not None:
            handlers.accept(session, caller)
        while not connection.is_ended_here:
            message = connection.receive(session.seconds_until_due())
            if message is not None:
                received += 1
                handle(session, message)
                gevent.sleep(0)  # whoever waits for a database connection is to get the one that this gave back
            session.keep_time()
    except ConnectionClosed:
        pass
    except Exception as error:  # noqa: BLE001 - whatever it was, the socket ends as a socket
        report_unexpected(error)
        connection.close(CloseCode.INTERNAL_ERROR, "something went wrong on our side")
    except BaseException:
        connection.abort()  # the server kills what does not end in time; nothing may follow
        raise
    finally:
        session.leave()
        connection.finish()
        session.forget()
        _note_end(session, received)


def _note_end(session: ChatSession, received: int) -> None:
    """Count it and write its one line; who it was, and the request's id, are bound to every line of this greenlet."""
    connection = session.connection
    metrics.count_socket_end(connection.close_code, is_code_ours=connection.is_code_ours)
    log.info(
        "socket_closed",
        code=connection.close_code,
        reason=connection.close_text,
        ended_by=connection.ended_by,
        client_address=request.remote_addr,
        path=request.path,
        duration_ms=round((time.monotonic() - connection.opened_at) * 1000, 1),
        version=session.version,
        frames_received=received,
        frames_sent=connection.frames_sent,
        frames_dropped=connection.frames_dropped,
    )


def handle(session: ChatSession, message: str | bytes) -> None:
    """Have one frame handled, and tell its sender what was wrong with it.

    Raises:
        ConnectionClosed: there is nobody to tell. Exception: what nobody expected.
    """
    client_msg_id: str | None = None
    wait = session.wait_for_frame()
    try:
        kind, payload = _parse(message)
        client_msg_id = handlers.client_msg_id_in(payload)
        if session.connection.is_closing and kind not in handlers.KINDS_OF_MESSAGE:
            return  # nobody is there for an answer; but what was written before somebody left still counts
        if wait:
            raise TooManyRequests("Too many frames; slow down.", retry_after_seconds=handlers.whole_seconds(wait))
        handlers.handle(session, kind, payload)
    except ConnectionClosed:
        raise
    except handlers.RefusedFrame as failure:
        session.connection.send(frames.error(failure.code, failure.message, client_msg_id=client_msg_id))
    except TooManyRequests as failure:
        session.refuse(failure, client_msg_id)
        if session.refusals.take():
            session.connection.close(CloseCode.RATE_LIMITED, "slow down, and reconnect after a while")
    except Exception as failure:  # noqa: BLE001 - `refuse` raises what it does not know
        session.refuse(failure, client_msg_id)


def _parse(message: str | bytes) -> tuple[str, dict[str, Any]]:
    """As `handlers.parse`, and counted: whatever it is, and before anything comes of it."""
    kind = metrics.OTHER
    try:
        kind, payload = handlers.parse(message)
        return kind, payload
    finally:
        metrics.count_frame_received(kind)

"""The WebSocket's paths, and the greenlet that serves one socket: it reads frames, handles each, and keeps time."""

import time
from uuid import UUID

import structlog
from flask import Blueprint, Flask, g
from flask_sock import Sock
from simple_websocket import ConnectionClosed
from structlog.contextvars import bind_contextvars

from app.auth.identity import Authenticated, public
from app.errors import TooManyRequests
from app.messages import frames, handlers, handshake, live
from app.messages.delivery import Progress
from app.observability.failures import log_unexpected
from app.realtime import server
from app.realtime.connection import CloseCode, Connection
from app.realtime.limits import TokenBucket
from app.settings import SocketLimits
from app.web.api import settings
from app.web.request_id import current_request_id

PATHS = ("/ws", "/api/ws", "/api/v1/ws")
FRAME_BURST_SECONDS = 2
# A client that goes on all the same is told so often, and then let go.
REFUSALS_PER_SECOND = 5
REFUSALS_BURST = 100

log = structlog.get_logger(__name__)


def init_app(app: Flask) -> None:
    """Open the socket's paths. The handshake says who is calling, or the first frame does: hence `@public`."""
    server.install()
    blueprint = Blueprint("socket", __name__)
    blueprint.before_request(handshake.check)
    sock = Sock()
    for number, path in enumerate(PATHS, start=1):
        sock.route(path, bp=blueprint, endpoint=f"open_{number}")(_serve)
        blueprint.add_url_rule(path, f"explain_{number}", public(handshake.explain))
    app.register_blueprint(blueprint)


@public
def _serve(ws: server.Server) -> None:
    """Serve one socket to its end. Raises nothing: that would be written into the socket, as HTTP."""
    g.is_socket = True
    ChatSocket(ws, live.current(), settings().sockets, current_request_id()).serve(handshake.caller())


class ChatSocket:
    """One socket, from the 101 to its end."""

    def __init__(self, ws: server.Server, realtime: live.Live, limits: SocketLimits, connection_id: str) -> None:
        self.connection = Connection(ws, limits)
        self.progress = Progress()
        self.version = handshake.version_asked_for()
        self.live = realtime
        self.limits = limits
        self.id = connection_id
        self.caller: Authenticated | None = None
        self.messages = TokenBucket(limits.messages_per_second, limits.message_burst)
        self._frames = TokenBucket(limits.frames_per_second, limits.frames_per_second * FRAME_BURST_SECONDS)
        self._refusals = TokenBucket(REFUSALS_PER_SECOND, REFUSALS_BURST)
        self._frames_received = 0
        self._next_ping_at = self.connection.opened_at + limits.ping_interval_seconds
        self._is_warned = False

    @property
    def user_id(self) -> UUID:
        """Whose it is. Only once that is known."""
        assert self.caller is not None  # noqa: S101 - a socket joins the hub when it is known
        return self.caller.identity.user_id

    def serve(self, caller: Authenticated | None) -> None:
        """Read and handle frames until the socket ends, and see it out. Raises nothing."""
        self.live.hub.open(self)
        try:
            if caller is not None:
                handlers.accept(self, caller)
            while not self.connection.is_closing:
                message = self.connection.receive(self._seconds_until_due())
                if message is not None:
                    self._handle(message)
                self._keep_time()
        except ConnectionClosed:
            pass
        except Exception as error:  # noqa: BLE001 - whatever it was, the socket ends as a socket
            log_unexpected(error)
            self.connection.close(CloseCode.INTERNAL_ERROR, "something went wrong on our side")
        except BaseException:
            self.connection.abort()  # the server kills what does not end in time; nothing may follow
            raise
        finally:
            self.live.hub.leave(self, self.caller.identity.user_id if self.caller else None)
            self.connection.finish()
            self._log_end()

    def accept(self, caller: Authenticated) -> None:
        """Take the socket for this user's until the token ends."""
        self.caller = caller
        self._is_warned = False
        bind_contextvars(user_id=str(caller.identity.user_id))

    def refuse(self, failure: Exception, client_msg_id: str | None = None) -> None:
        """Tell what was wrong with a frame. Raises `failure` where nobody expected it."""
        text = frames.error_of(failure, client_msg_id)
        if text is None:
            raise failure
        self.connection.send(text)

    def _handle(self, message: str | bytes) -> None:
        self._frames_received += 1
        wait = self._frames.take()
        client_msg_id: str | None = None
        try:
            kind, payload = handlers.parse(message)
            client_msg_id = handlers.client_msg_id_in(payload)
            if wait:
                raise TooManyRequests("Too many frames; slow down.", retry_after_seconds=handlers.whole_seconds(wait))
            handlers.handle(self, kind, payload)
        except ConnectionClosed:
            raise
        except TooManyRequests as failure:
            self.refuse(failure, client_msg_id)
            if self._refusals.take():
                self.connection.close(CloseCode.RATE_LIMITED, "slow down, and reconnect after a while")
        except handlers.UnsupportedFrame as failure:
            self.connection.send(frames.error(failure.code, failure.message))
        except Exception as failure:  # noqa: BLE001 - `refuse` raises what it does not know
            self.refuse(failure, client_msg_id)

    def _token_seconds(self) -> float:
        return float("inf") if self.caller is None else self.caller.seconds_left()

    def _auth_seconds(self) -> float:
        if self.caller is not None:
            return float("inf")
        return self.connection.opened_at + self.limits.auth_timeout_seconds - time.monotonic()

    def _silence_seconds(self) -> float:
        return self.connection.received_at + self.limits.silence_seconds - time.monotonic()

    def _seconds_until_due(self) -> float:
        """When `_keep_time` has something to do, at the latest."""
        token = self._token_seconds()
        warning = token if self._is_warned else token - self.limits.token_warning_seconds
        ping = self._next_ping_at - time.monotonic()
        return min(warning, ping, self._silence_seconds(), self._auth_seconds())

    def _keep_time(self) -> None:
        """Ping, warn, and end what has gone on for too long."""
        if self._silence_seconds() <= 0:
            self.connection.close(CloseCode.GOING_AWAY, "no sign of life")
        elif self._auth_seconds() <= 0:
            self.connection.close(CloseCode.AUTHENTICATION_TIMEOUT, "no auth frame came in time")
        elif (token := self._token_seconds()) <= 0:
            self.connection.close(CloseCode.TOKEN_EXPIRED, "the token has expired; reconnect with a fresh one")
        elif token <= self.limits.token_warning_seconds and not self._is_warned:
            self._is_warned = True
            if self.version > 1:
                self.connection.send(frames.token_expiring(token))
        if time.monotonic() >= self._next_ping_at:
            self._next_ping_at = time.monotonic() + self.limits.ping_interval_seconds
            self.connection.ping()

    def _log_end(self) -> None:
        log.info(
            "socket_closed",
            code=self.connection.close_code,
            duration_ms=round((time.monotonic() - self.connection.opened_at) * 1000, 1),
            version=self.version,
            frames_received=self._frames_received,
            frames_sent=self.connection.frames_sent,
            frames_dropped=self.connection.frames_dropped,
        )

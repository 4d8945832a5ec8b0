"""The state of one open socket: its user, version, progress, rate limits and deadlines."""

import math
import time
from uuid import UUID

from structlog.contextvars import bind_contextvars

from app.auth.identity import Authenticated
from app.auth.principal import Identity
from app.messages import frames
from app.messages.progress import Progress
from app.messages.runtime import ChatRuntime
from app.realtime.close_codes import CloseCode
from app.realtime.connection import Connection, encode
from app.realtime.token_bucket import Allowance, TokenBucket
from app.settings import SocketLimits

# The rate of `error` frames for a client above its rate limits. Above this rate, it is closed with 4004.
REFUSALS_PER_SECOND = 5
REFUSALS_BURST = 100
# Each `auth` verifies a token and may read the user's conversations.
AUTHS_PER_SECOND = 0.1
AUTHS_BURST = 5


class ChatSession:
    """One socket, from the 101 to its end. `id` is the request id, in the log and in `ready`."""

    def __init__(
        self, connection: Connection, runtime: ChatRuntime, limits: SocketLimits, *, connection_id: str, version: int
    ) -> None:
        self.connection = connection
        self.runtime = runtime
        self.limits = limits
        self.id = connection_id
        self.version = version
        self.progress = Progress()
        self.caller: Authenticated | None = None
        self.of_user: Allowance | None = None
        self._allowance = Allowance(limits)
        self.refusals = TokenBucket(REFUSALS_PER_SECOND, REFUSALS_BURST)
        self._next_ping_at = connection.opened_at + limits.ping_interval_seconds
        self.auths = TokenBucket(AUTHS_PER_SECOND, AUTHS_BURST)
        self._is_warned = False
        connection.on_room = lambda: self.schedule(self.progress.make_room())

    @property
    def who(self) -> Identity:
        """The identity of an authenticated socket. Only `auth` and `ping` are handled before."""
        assert self.caller is not None  # noqa: S101
        return self.caller.identity

    @property
    def user_id(self) -> UUID:
        """The user of an authenticated socket."""
        return self.who.user_id

    def accept(self, caller: Authenticated) -> None:
        """Set the caller, until the token expires."""
        self.caller = caller
        self._is_warned = False
        bind_contextvars(user_id=str(caller.identity.user_id))

    def schedule(self, announced: dict[UUID, int]) -> None:
        """Schedule the delivery of conversations up to these numbers, which were announced during a hold."""
        for conversation_id, seq in announced.items():
            self.runtime.delivery.schedule(conversation_id, seq, [self.user_id])

    def wait_for_frame(self) -> float:
        """Count a frame against the socket's and the user's limits; return 0.0, or the seconds to wait."""
        return self._allowance.frames.take() or (self.of_user.frames.take() if self.of_user else 0.0)

    def wait_for_message(self) -> float:
        """Count a message, as `wait_for_frame`."""
        return self._allowance.messages.take() or (self.of_user.messages.take() if self.of_user else 0.0)

    def refuse(self, failure: Exception, client_msg_id: str | None = None) -> None:
        """Send the `error` frame of a domain error. Raises `failure` if it is none."""
        self.connection.send(frames.error_of(failure, client_msg_id))

    def seconds_until_due(self) -> float:
        """Seconds until the next deadline of `keep_time`."""
        token = self._token_seconds()
        warning = token if self._is_warned else token - self.limits.token_warning_seconds
        ping = self._next_ping_at - time.monotonic()
        return min(warning, ping, self._silence_seconds(), self._auth_seconds())

    def keep_time(self) -> None:
        """Send a due ping or token warning, and close the socket at a deadline."""
        if self._silence_seconds() <= 0:
            self.connection.close(CloseCode.GOING_AWAY, "no sign of life")
        elif self._auth_seconds() <= 0:
            self.connection.close(CloseCode.AUTHENTICATION_TIMEOUT, "no auth frame came in time")
        elif (token := self._token_seconds()) <= 0:
            self.connection.close(CloseCode.TOKEN_EXPIRED, "the token has expired; reconnect with a fresh one")
        elif token <= self.limits.token_warning_seconds and not self._is_warned:
            self._is_warned = True
            if self.version > 1:
                self.connection.send(encode("token_expiring", {"in": math.floor(token)}))
        if time.monotonic() >= self._next_ping_at:
            self._next_ping_at = time.monotonic() + self.limits.ping_interval_seconds
            self.connection.ping()

    def _token_seconds(self) -> float:
        return float("inf") if self.caller is None else self.caller.seconds_left()

    def _auth_seconds(self) -> float:
        deadline = self.connection.opened_at + self.limits.auth_timeout_seconds
        return deadline - time.monotonic() if self.caller is None else float("inf")

    def _silence_seconds(self) -> float:
        return self.connection.received_at + self.limits.silence_seconds - time.monotonic()

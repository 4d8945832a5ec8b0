"""The codes of close frames."""

from enum import IntEnum


class CloseCode(IntEnum):
    """Why the service ends a socket (RFC 6455 §7.4). 40xx: reconnect with a fresh token and jitter; 45xx: do not."""

    GOING_AWAY = 1001
    INTERNAL_ERROR = 1011
    RESTART = 1012
    TRY_AGAIN_LATER = 1013
    TOKEN_EXPIRED = 4001
    TOO_SLOW = 4002
    STATE_LOST = 4003
    RATE_LIMITED = 4004
    AUTHENTICATION_FAILED = 4500
    AUTHENTICATION_TIMEOUT = 4501
    BAD_PROTOCOL = 4502
    REVOKED = 4503
    TOO_MANY_CONNECTIONS = 4504

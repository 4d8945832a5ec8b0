"""What the end of a socket means for the client: whether to come back, and what to tell the person meanwhile."""

from dataclasses import dataclass
from random import uniform

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 10.0
# Only after so long is a connection good enough for the pauses to start small again.
STEADY_SECONDS = 10.0
NO_CLOSE_FRAME = 1006
TOO_BIG = 1009
RESTART = 1012
NO_ROOM = 1013
TOKEN_EXPIRED = 4001
LOST = "The connection is lost"

_WORDS = {
    TOO_BIG: "The line was too long for the service",
    RESTART: "The service restarts",
    NO_ROOM: "The service has no room just now",
    TOKEN_EXPIRED: "The sign-in has run out",
    4002: "The service had to wait for this client",
    4003: "The service lost its place in the conversation",
    4004: "The service asks for fewer frames",
}
_FINAL_WORDS = {
    1002: "The service does not understand this client.",
    1003: "The service does not understand this client.",
    1007: "The service does not understand this client.",
    4500: "The service does not accept this sign-in.",
    4501: "Signing in took too long.",
    4502: "The service does not understand this client.",
    4503: "This account has no access any more.",
    4504: "Too many sockets of this account are open: close one first.",
}
FINAL_CODES = range(4500, 4600)


def is_final(code: int) -> bool:
    """Whether reconnecting would change nothing."""
    return code in _FINAL_WORDS or code in FINAL_CODES


def words(code: int) -> str:
    """The end in words: a sentence where it is final, else the beginning of one."""
    if is_final(code):
        return _FINAL_WORDS.get(code, f"The service ended it for good ({code}).")
    return _WORDS.get(code, LOST)


@dataclass
class Pauses:
    """How long to wait before each attempt: longer and longer, and never at the same moment as everybody else."""

    _next: float = FIRST_PAUSE_SECONDS

    def take(self, lasted_seconds: float) -> float:
        """The pause after a connection that lasted so long (0: it did not come about)."""
        if lasted_seconds >= STEADY_SECONDS:
            self._next = FIRST_PAUSE_SECONDS
        pause = uniform(self._next / 2, self._next)  # noqa: S311 - spreads load, guards nothing
        self._next = min(2 * self._next, LONGEST_PAUSE_SECONDS)
        return pause

"""How much of everything a run has."""

from dataclasses import dataclass, replace

SECONDS_OF_A_SAMPLE = 3.0


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Sizes of the data, and of the load. `small`, `medium` and `large` are numbers of listings; rows that do not ask
    for growth use `medium`. A side of a comparison is measured for `seconds` at a time, `rounds` times.
    """

    small: int = 20_000
    medium: int = 200_000
    large: int = 1_000_000
    seconds: float = SECONDS_OF_A_SAMPLE
    rounds: int = 4
    connections: int = 32
    people: int = 1_000
    deep_page: int = 5_000
    chat_sockets: int = 1_000
    chat_messages_per_second: int = 200
    chat_seconds: float = 20
    idle_sockets: int = 5_000
    few_requests: int = 20_000
    many_requests: int = 200_000

    def quick(self, seconds: float) -> "Scale":
        return replace(self, seconds=seconds)


FULL = Scale()
# For the suite: that the benchmarks run, not what they find.
TINY = Scale(
    small=500,
    medium=2_000,
    large=4_000,
    seconds=1,
    rounds=1,
    connections=4,
    people=20,
    deep_page=40,
    chat_sockets=20,
    chat_messages_per_second=20,
    chat_seconds=1,
    idle_sockets=40,
    few_requests=100,
    many_requests=300,
)

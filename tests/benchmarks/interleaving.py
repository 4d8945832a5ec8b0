"""Samples of several sides, taken in turn, and what follows from them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

WARM_UP_SHARE = 1 / 3  # of a sample's length, before the first round


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What one side did for a while: how much in a second, and how long each took, where that is known."""

    per_second: float
    p50_ms: float | None = None
    p99_ms: float | None = None


# Works for so many seconds. Raises BenchmarkFailed where anything but the work came out.
Side = Callable[[float], Sample]


class BenchmarkFailed(Exception):
    """A row could not be measured: what was wrong with it."""


def interleave(sides: Sequence[Side], *, rounds: int, seconds: float) -> list[list[Sample]]:
    """The samples of each side. After one that does not count, they take turns, as the machine's load varies: ABAB…"""
    for side in sides:
        side(seconds * WARM_UP_SHARE)
    samples: list[list[Sample]] = [[] for _ in sides]
    for _ in range(rounds):
        for side, of_side in zip(sides, samples, strict=True):
            of_side.append(side(seconds))
    return samples


def median_ratio(ours: Sequence[Sample], reference: Sequence[Sample]) -> float:
    """How much of the reference's work we did: the median over the rounds, each by itself."""
    return median(one.per_second / other.per_second for one, other in zip(ours, reference, strict=True))


def typical(samples: Sequence[Sample]) -> Sample:
    """A sample of the medians of each figure."""
    return Sample(
        per_second=median(sample.per_second for sample in samples),
        p50_ms=_median_of_known([sample.p50_ms for sample in samples]),
        p99_ms=_median_of_known([sample.p99_ms for sample in samples]),
    )


def _median_of_known(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None

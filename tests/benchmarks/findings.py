"""What a row finds: a figure, and what it must be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.benchmarks.interleaving import Sample, median_ratio, typical


@dataclass(frozen=True)
class Target:
    bound: float
    unit: str = "×"
    at_least: bool = True

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {figure_text(self.bound, self.unit)}"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the table. `reference` says what `figure` is in proportion to, or what it is a figure of.

    `samples` are by side, or by size where growth was measured.
    """

    what: str
    reference: str
    figure: float
    target: Target
    measured: Sample | None = None
    compared_with: Sample | None = None
    samples: Mapping[str, Sequence[Sample]] = field(default_factory=dict)

    @property
    def is_met(self) -> bool:
        bound = self.target.bound
        return self.figure >= bound if self.target.at_least else self.figure <= bound


def share_of(
    what: str, ours: Sequence[Sample], reference: str, theirs: Sequence[Sample], *, at_least: float
) -> Finding:
    """How much of the reference's work was done in the same time."""
    return _compared(what, ours, reference, theirs, median_ratio(ours, theirs), Target(at_least))


def slower_than(
    what: str, ours: Sequence[Sample], reference: str, theirs: Sequence[Sample], *, at_most: float
) -> Finding:
    """How many times as long one request took as one of the reference, both by requests a second."""
    return _compared(what, ours, reference, theirs, median_ratio(theirs, ours), Target(at_most, at_least=False))


def tail(what: str, samples: Sequence[Sample], *, at_most: float) -> Finding:
    """How many times the median duration the 99th percentile is."""
    measured = typical(samples)
    assert measured.p50_ms is not None
    assert measured.p99_ms is not None
    return Finding(
        what=f"{what}: p99",
        reference="its own p50",
        figure=measured.p99_ms / measured.p50_ms,
        target=Target(at_most, at_least=False),
        measured=measured,
        samples={"ours": samples},
    )


def _compared(
    what: str, ours: Sequence[Sample], reference: str, theirs: Sequence[Sample], figure: float, target: Target
) -> Finding:
    return Finding(
        what=what,
        reference=reference,
        figure=figure,
        target=target,
        measured=typical(ours),
        compared_with=typical(theirs),
        samples={"ours": ours, "reference": theirs},
    )


def figure_text(figure: float, unit: str) -> str:
    """A figure as it is printed: two decimals for a ratio, one for all else."""
    return f"{figure:.2f} ×" if unit == "×" else f"{figure:,.1f} {unit}".replace(".0 ", " ")

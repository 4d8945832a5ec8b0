"""What growth costs, as a picture: time per request against the number of listings, in SVG."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 70, 200, 50, 60
COLOURS = ("#1b6ca8", "#c8553d", "#3a7d44", "#7a5195")
HEADROOM = 1.15
TICKS = 5


@dataclass(frozen=True)
class Curve:
    """One row's times by number of listings, in proportion to the smallest, and how high they may rise."""

    name: str
    relative_times: Mapping[int, float]
    bound: float


def growth(curves: Sequence[Curve]) -> str:
    """The picture, as an SVG document; sizes stand at equal distances, as each is many times the one before."""
    sizes = sorted({size for curve in curves for size in curve.relative_times})
    highest = max(max(curve.bound, *curve.relative_times.values()) for curve in curves) * HEADROOM
    frame = _Frame(sizes, highest)
    parts = [frame.axes()]
    for number, curve in enumerate(curves):
        colour = COLOURS[number % len(COLOURS)]
        parts += [frame.curve(curve, colour), _legend(number, curve, colour)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="13"><rect width="100%" height="100%" fill="white"/>\n'
        f'<text x="{LEFT}" y="28" font-size="16">Time per request, by number of listings</text>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


@dataclass(frozen=True)
class _Frame:
    sizes: Sequence[int]
    highest: float

    def x(self, size: int) -> float:
        steps = max(1, len(self.sizes) - 1)
        return LEFT + 20 + self.sizes.index(size) * (WIDTH - LEFT - RIGHT - 40) / steps

    def y(self, relative_time: float) -> float:
        return HEIGHT - BOTTOM - relative_time / self.highest * (HEIGHT - TOP - BOTTOM)

    def axes(self) -> str:
        marks = [self.highest * tick / TICKS for tick in range(TICKS + 1)]
        lines = [
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{self.y(mark):.1f}" y2="{self.y(mark):.1f}" stroke="#ddd"/>'
            f'<text x="{LEFT - 8}" y="{self.y(mark) + 4:.1f}" text-anchor="end">{mark:.1f} ×</text>'
            for mark in marks
        ]
        below = HEIGHT - BOTTOM + 22
        lines += [f'<text x="{self.x(s):.1f}" y="{below}" text-anchor="middle">{s:,}</text>' for s in self.sizes]
        return "\n".join(lines)

    def curve(self, curve: Curve, colour: str) -> str:
        points = [(self.x(size), self.y(time)) for size, time in sorted(curve.relative_times.items())]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>' for x, y in points)
        limit = f"{self.y(curve.bound):.1f}"
        return (
            f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2.5"/>{dots}'
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{limit}" y2="{limit}" stroke="{colour}" '
            'stroke-dasharray="5 5"/>'
        )


def _legend(number: int, curve: Curve, colour: str) -> str:
    x, y = WIDTH - RIGHT + 16, TOP + 20 + number * 44
    return (
        f'<rect x="{x}" y="{y - 10}" width="12" height="12" fill="{colour}"/>'
        f'<text x="{x + 20}" y="{y}">{escape(curve.name)}</text>'
        f'<text x="{x + 20}" y="{y + 17}" fill="#666">at most {curve.bound:.1f} × (dashed)</text>'
    )

"""Points and boxes on the earth, in degrees of WGS 84 (EPSG:4326)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from sqlalchemy import ColumnElement, cast
from sqlalchemy.types import UserDefinedType

MAX_RADIUS_METRES = 20_037_508.0  # half of the equator: no point is farther away
METRES_PER_KILOMETRE = 1000.0


class GeographyText(UserDefinedType[str]):
    """A geography as EWKT, for a parameter that the planner sees as a constant."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        """The name of the type in SQL."""
        return "geography"


@dataclass(frozen=True, kw_only=True)
class Point:
    """A longitude from −180 to 180 and a latitude from −90 to 90."""

    longitude: float
    latitude: float

    def as_text(self) -> str:
        """The exact point on the ellipsoid, as the value of a `GeographyText`."""
        return f"SRID=4326;POINT({self.longitude!r} {self.latitude!r})"

    def as_geography(self) -> ColumnElement[str]:
        """The exact point on the ellipsoid, as SQL."""
        return cast(self.as_text(), GeographyText())


@dataclass(frozen=True, kw_only=True)
class BoundingBox:
    """West, south, east, north (RFC 7946 §5). West is above east if the box crosses the antimeridian (§5.2)."""

    west: float
    south: float
    east: float
    north: float

    @classmethod
    def around(cls, points: Sequence[Point]) -> "BoundingBox":
        """The smallest box around one or more points: the circle of latitude without its widest gap."""
        latitudes = [point.latitude for point in points]
        longitudes = sorted({point.longitude for point in points})
        around_the_earth = [*pairwise(longitudes), (longitudes[-1], longitudes[0] + 360.0)]
        before_gap, after_gap = max(reversed(around_the_earth), key=lambda edges: edges[1] - edges[0])
        west = longitudes[0] if after_gap > longitudes[-1] else after_gap
        return cls(west=west, south=min(latitudes), east=before_gap, north=max(latitudes))

    def parts(self) -> tuple["BoundingBox", ...]:
        """The box, or its two parts on either side of the antimeridian."""
        if self.west <= self.east:
            return (self,)
        return (
            BoundingBox(west=self.west, south=self.south, east=180.0, north=self.north),
            BoundingBox(west=-180.0, south=self.south, east=self.east, north=self.north),
        )

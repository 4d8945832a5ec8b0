"""Points and boxes on the earth, in degrees of WGS 84 (EPSG:4326); distances are metres along the ellipsoid."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from geoalchemy2 import Geography, Geometry
from sqlalchemy import ColumnElement, Double, cast, func
from sqlalchemy.types import UserDefinedType

# Half of the equator: nothing on earth is farther away.
MAX_RADIUS_METRES = 20_037_508.0
METRES_PER_KILOMETRE = 1000.0


class GeographyText(UserDefinedType[str]):
    """A geography as PostGIS reads one (EWKT), for a parameter that the planner is to see as a constant."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        """Its name in SQL."""
        return "geography"


@dataclass(frozen=True, kw_only=True)
class Point:
    """A place: longitude −180 to 180, latitude −90 to 90."""

    longitude: float
    latitude: float

    def as_text(self) -> str:
        """The point on the ellipsoid, exactly, as the value of a `GeographyText`."""
        return f"SRID=4326;POINT({self.longitude!r} {self.latitude!r})"

    def as_geometry(self) -> ColumnElement[object]:
        """The point on the plane of degrees, longitude first, as PostGIS takes it."""
        point = func.ST_MakePoint(cast(self.longitude, Double), cast(self.latitude, Double))
        return func.ST_SetSRID(point, 4326, type_=Geometry)

    def as_geography(self) -> ColumnElement[object]:
        """The point on the ellipsoid."""
        return cast(self.as_geometry(), Geography("POINT", srid=4326))


@dataclass(frozen=True, kw_only=True)
class BoundingBox:
    """West, south, east, north (RFC 7946 §5); west of its east edge, unless it crosses the antimeridian (§5.2)."""

    west: float
    south: float
    east: float
    north: float

    @classmethod
    def around(cls, points: Sequence[Point]) -> "BoundingBox":
        """The smallest box with all of these points, of which there is at least one: all but the widest gap."""
        latitudes = [point.latitude for point in points]
        longitudes = sorted({point.longitude for point in points})
        around_the_earth = [*pairwise(longitudes), (longitudes[-1], longitudes[0] + 360.0)]
        before_gap, behind_gap = max(reversed(around_the_earth), key=lambda edges: edges[1] - edges[0])
        west = longitudes[0] if behind_gap > longitudes[-1] else behind_gap
        return cls(west=west, south=min(latitudes), east=before_gap, north=max(latitudes))

    def parts(self) -> tuple["BoundingBox", ...]:
        """One box, or the two on either side of the antimeridian."""
        if self.west <= self.east:
            return (self,)
        return (
            BoundingBox(west=self.west, south=self.south, east=180.0, north=self.north),
            BoundingBox(west=-180.0, south=self.south, east=self.east, north=self.north),
        )

"""Points and boxes on the earth, in degrees of WGS 84 (EPSG:4326); distances are metres along the ellipsoid."""

from dataclasses import dataclass

from geoalchemy2 import Geography, Geometry
from sqlalchemy import ColumnElement, Double, cast, func

# Half of the equator: nothing on earth is farther away.
MAX_RADIUS_METRES = 20_037_508.0
METRES_PER_KILOMETRE = 1000.0


@dataclass(frozen=True, kw_only=True)
class Point:
    """A place: longitude −180 to 180, latitude −90 to 90."""

    longitude: float
    latitude: float

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

    def parts(self) -> tuple["BoundingBox", ...]:
        """One box, or the two on either side of the antimeridian."""
        if self.west <= self.east:
            return (self,)
        return (
            BoundingBox(west=self.west, south=self.south, east=180.0, north=self.north),
            BoundingBox(west=-180.0, south=self.south, east=self.east, north=self.north),
        )

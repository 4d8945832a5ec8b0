"""What a listing looks like from outside, made in one place: every endpoint reads these columns and gives this item."""

from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from geoalchemy2 import Geometry
from sqlalchemy import ColumnElement, Double, Row, SQLColumnExpression, cast, func, null, select
from sqlalchemy.dialects.postgresql import JSONB, aggregate_order_by

from app.geo import METRES_PER_KILOMETRE, Point
from app.models import Condition, Equipment, EquipmentPhoto


@dataclass(frozen=True, kw_only=True)
class EquipmentItem:
    """A listing with its photos, in their order; `distance_km` where a point was asked for and the place is known."""

    id: UUID
    owner_id: UUID
    category_id: UUID
    title: str
    description: str
    daily_rate: Decimal
    condition: Condition
    location: str
    coordinates: Point | None
    is_available: bool
    photos: list[dict[str, Any]]
    created_at: datetime
    updated_at: datetime
    distance_km: float | None
    has_distance: bool
    version: int


@dataclass(frozen=True, kw_only=True)
class EquipmentState:
    """What a moderator's change is held against."""

    owner_id: UUID
    title: str
    is_available: bool
    version: int


def item_columns(point: Point | None = None) -> tuple[SQLColumnExpression[Any], ...]:
    """The columns of an item; its distance is measured from `point`, in metres."""
    lng, lat = longitude_latitude()
    return (
        Equipment.id,
        Equipment.owner_id,
        Equipment.category_id,
        Equipment.title,
        Equipment.description,
        Equipment.daily_rate,
        Equipment.condition,
        Equipment.location,
        Equipment.is_available,
        Equipment.created_at,
        Equipment.updated_at,
        Equipment.version,
        lng.label("longitude"),
        lat.label("latitude"),
        (null() if point is None else distance_metres(point)).label("distance_metres"),
        _photos().label("photos"),
    )


def item(row: Row[Any], *, has_distance: bool = False) -> EquipmentItem:
    """Make the item of a row of `item_columns`."""
    columns = row._mapping
    place = None if row.longitude is None else Point(longitude=row.longitude, latitude=row.latitude)
    distance = None if row.distance_metres is None else row.distance_metres / METRES_PER_KILOMETRE
    plain = {name: columns[name] for name in _PLAIN_COLUMNS}
    return EquipmentItem(**plain, coordinates=place, distance_km=distance, has_distance=has_distance)


_COMPUTED = {"coordinates", "distance_km", "has_distance"}
_PLAIN_COLUMNS = tuple(field.name for field in fields(EquipmentItem) if field.name not in _COMPUTED)


def as_geometry() -> ColumnElement[Any]:
    """A listing's place in degrees on the plane: the very expression that `ix_equipment_lng_lat` is made of."""
    return cast(Equipment.coordinates, Geometry(geometry_type=None))


def longitude_latitude() -> tuple[ColumnElement[float], ColumnElement[float]]:
    """A listing's coordinates in degrees, exactly as they were given."""
    place = as_geometry()
    return func.ST_X(place, type_=Double), func.ST_Y(place, type_=Double)


def distance_metres(point: Point) -> ColumnElement[float]:
    """The geodesic from a point to a listing, on the WGS 84 ellipsoid (PostGIS, ST_Distance on geography)."""
    return func.ST_Distance(Equipment.coordinates, point.as_geography(), type_=Double)


def _photos() -> ColumnElement[Any]:
    photo = func.jsonb_build_object(
        *("id", EquipmentPhoto.id, "photo_url", EquipmentPhoto.photo_url),
        *("is_primary", EquipmentPhoto.is_primary, "order_index", EquipmentPhoto.order_index),
    )
    in_order = func.jsonb_agg(aggregate_order_by(photo, EquipmentPhoto.order_index))
    photos = select(in_order).where(EquipmentPhoto.equipment_id == Equipment.id).scalar_subquery()
    return func.coalesce(photos, cast([], JSONB), type_=JSONB)

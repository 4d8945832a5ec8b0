"""The JSON representation of a listing, built by PostgreSQL and sent to the client as it is.

Every endpoint sends this JSON. `app.equipment.schemas.Item` documents it, and a test compares the two.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from geoalchemy2 import Geometry
from sqlalchemy import ColumnElement, Double, SQLColumnExpression, Text, case, cast, func, literal, select

from app.common.geo import METRES_PER_KILOMETRE
from app.common.paging import Page
from app.common.precondition import digest
from app.models import Equipment, EquipmentPhoto


class EquipmentDocument(NamedTuple):
    """A listing with its photos as JSON. `version` changes whenever a member other than `distance_km` changes."""

    id: UUID
    version: int
    json: str

    @property
    def body(self) -> bytes:
        """The body of a response."""
        return self.json.encode()


@dataclass(frozen=True, kw_only=True)
class EquipmentPage(Page[EquipmentDocument]):
    """A page of listings. Concurrent identical requests share one instance, so each property is computed once."""

    @cached_property
    def version(self) -> str:
        """Changes whenever the page's content changes."""
        versions = [(item.id, item.version) for item in self.items]
        return digest(self.total, self.page, self.limit, self.next_cursor, versions)

    @cached_property
    def body(self) -> bytes:
        """The body of a response."""
        items = ",".join([item.json for item in self.items])
        counts = f'"total":{self.total},"page":{self.page},"limit":{self.limit},"total_pages":{self.total_pages}'
        next_cursor = orjson.dumps(self.next_cursor).decode()
        return f'{{"items":[{items}],{counts},"next_cursor":{next_cursor}}}'.encode()


def document_columns(*, distance: ColumnElement[float] | None = None) -> tuple[SQLColumnExpression[Any], ...]:
    """The columns of an `EquipmentDocument`; with `distance`, in metres, the JSON has a `distance_km`."""
    longitude, latitude = longitude_latitude()
    distance_km = {} if distance is None else {"distance_km": func.round(distance) / METRES_PER_KILOMETRE}
    listing = _object(
        id=Equipment.id,
        owner_id=Equipment.owner_id,
        category_id=Equipment.category_id,
        title=Equipment.title,
        description=Equipment.description,
        daily_rate=cast(Equipment.daily_rate, Text),
        condition=Equipment.condition,
        location=Equipment.location,
        coordinates=case((Equipment.coordinates.is_not(None), _object(latitude=latitude, longitude=longitude))),
        is_available=Equipment.is_available,
        photos=_photos(),
        created_at=_timestamp(Equipment.created_at),
        updated_at=_timestamp(Equipment.updated_at),
        **distance_km,
    )
    return Equipment.id, Equipment.version, cast(listing, Text).label("json")


def as_geometry() -> ColumnElement[Any]:
    """A listing's coordinates in the plane of degrees. `ix_equipment_lng_lat` indexes exactly this expression."""
    return cast(Equipment.coordinates, Geometry(geometry_type=None))


def longitude_latitude() -> tuple[ColumnElement[float], ColumnElement[float]]:
    """A listing's coordinates in degrees, exactly as they were stored."""
    return func.ST_X(as_geometry(), type_=Double), func.ST_Y(as_geometry(), type_=Double)


def distance_metres(point: ColumnElement[Any]) -> ColumnElement[float]:
    """The geodesic from a point to a listing on the WGS 84 ellipsoid (PostGIS, ST_Distance of geography)."""
    return func.ST_Distance(Equipment.coordinates, point, type_=Double)


def _object(**members: SQLColumnExpression[Any]) -> ColumnElement[Any]:
    return func.json_build_object(*chain.from_iterable(members.items()))


def _photos() -> ColumnElement[Any]:
    photo = _object(
        id=EquipmentPhoto.id,
        photo_url=EquipmentPhoto.photo_url,
        is_primary=EquipmentPhoto.is_primary,
        order_index=EquipmentPhoto.order_index,
    )
    photos = select(photo).where(EquipmentPhoto.equipment_id == Equipment.id).order_by(EquipmentPhoto.order_index)
    return func.array_to_json(func.array(photos.scalar_subquery()))


def _timestamp(time: SQLColumnExpression[Any]) -> ColumnElement[str]:
    """RFC 3339 in UTC, with microseconds unless they are zero, as `datetime.isoformat` writes it."""
    # A colon in quotation marks is not a parameter of a pgbench script.
    seconds = 'YYYY-MM-DD"T"HH24":"MI":"SS'
    is_whole = func.date_trunc("second", time) == time
    pattern = case((is_whole, literal(f'{seconds}"+00:00"')), else_=literal(f'{seconds}.US"+00:00"'))
    return func.to_char(func.timezone("UTC", time), pattern)

"""What a listing looks like from outside, made in one place: PostgreSQL writes it as JSON, and nobody reads that again.

Every endpoint gives this JSON as it is, so a listing is the same from each of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from geoalchemy2 import Geometry
from sqlalchemy import ColumnElement, Double, SQLColumnExpression, Text, case, cast, func, literal, select

from app.geo import METRES_PER_KILOMETRE
from app.models import Equipment, EquipmentPhoto
from app.paging import Page
from app.precondition import digest


class EquipmentDocument(NamedTuple):
    """A listing with its photos, in their order, as JSON; with its distance where a point was asked for.

    `version` is another one whenever anything of the listing but its distance is.
    """

    id: str
    version: int
    json: str


@dataclass(frozen=True, kw_only=True)
class EquipmentState:
    """What a moderator's change is held against."""

    owner_id: UUID
    title: str
    is_available: bool
    version: int


def item_body(item: EquipmentDocument) -> bytes:
    """A listing as a response's body."""
    return item.json.encode()


@dataclass(frozen=True, kw_only=True)
class EquipmentPage(Page[EquipmentDocument]):
    """A page of listings. Several who asked at once are given the same one, so what it is written as is made once."""

    @cached_property
    def token(self) -> str:
        """Another one whenever the page shows anything else."""
        items = " ".join([f"{item.id} {item.version}" for item in self.items])
        return digest(self.total, self.page, self.limit, self.next_cursor, items)

    @cached_property
    def json(self) -> bytes:
        """The page as a response's body."""
        items = ",".join([item.json for item in self.items])
        counts = f'"total":{self.total},"page":{self.page},"limit":{self.limit},"total_pages":{self.total_pages}'
        next_cursor = orjson.dumps(self.next_cursor).decode()
        return f'{{"items":[{items}],{counts},"next_cursor":{next_cursor}}}'.encode()


def document_columns(*, distance: ColumnElement[Any] | None = None) -> tuple[SQLColumnExpression[Any], ...]:
    """The columns of an `EquipmentDocument`; `distance`, in metres, is shown where it is given."""
    return (
        cast(Equipment.id, Text).label("id"),
        Equipment.version,
        _document(distance).label("json"),
    )


def as_geometry() -> ColumnElement[Any]:
    """A listing's place in degrees on the plane: the very expression that `ix_equipment_lng_lat` is made of."""
    return cast(Equipment.coordinates, Geometry(geometry_type=None))


def longitude_latitude() -> tuple[ColumnElement[float], ColumnElement[float]]:
    """A listing's coordinates in degrees, exactly as they were given."""
    place = as_geometry()
    return func.ST_X(place, type_=Double), func.ST_Y(place, type_=Double)


def distance_metres(point: ColumnElement[Any]) -> ColumnElement[float]:
    """The geodesic from a point to a listing, on the WGS 84 ellipsoid (PostGIS, ST_Distance on geography)."""
    return func.ST_Distance(Equipment.coordinates, point, type_=Double)


# JSON is written piece by piece: json_build_object looks up how to write each of its arguments for each row, and takes
# nearly twice as long. A value is a part of a text, or a column between two of them.
_Value = tuple[str | SQLColumnExpression[Any], ...]


def _document(distance: ColumnElement[Any] | None) -> ColumnElement[str]:
    shown = {} if distance is None else {"distance_km": _kilometres(distance)}
    return _object(
        id=_quoted(Equipment.id),
        owner_id=_quoted(Equipment.owner_id),
        category_id=_quoted(Equipment.category_id),
        title=_text(Equipment.title),
        description=_text(Equipment.description),
        daily_rate=_quoted(Equipment.daily_rate),
        condition=_quoted(Equipment.condition),
        location=_text(Equipment.location),
        coordinates=(_place(),),
        is_available=(cast(Equipment.is_available, Text),),
        photos=("[", _photos(), "]"),
        created_at=_quoted(_time(Equipment.created_at)),
        updated_at=_quoted(_time(Equipment.updated_at)),
        **shown,
    )


def _object(**members: _Value) -> ColumnElement[str]:
    parts = [part for name, value in members.items() for part in (f',"{name}":', *value)]
    parts[0] = "{" + str(parts[0]).removeprefix(",")
    return func.concat(*_joined([*parts, "}"]), type_=Text)


def _joined(parts: list[str | SQLColumnExpression[Any]]) -> Iterator[SQLColumnExpression[Any]]:
    """The parts, as few as can be."""
    text = ""
    for part in parts:
        if isinstance(part, str):
            text += part
        else:
            yield from (literal(text), part)
            text = ""
    yield literal(text)


def _quoted(value: SQLColumnExpression[Any]) -> _Value:
    """Of what has no character that JSON escapes: identifiers, numbers, times, names of ours."""
    return ('"', value, '"')


def _text(value: SQLColumnExpression[Any]) -> _Value:
    return (func.to_json(value),)


def _time(value: SQLColumnExpression[Any]) -> ColumnElement[str]:
    """RFC 3339 in UTC, with microseconds where there are any, as Python writes it."""
    # Quoted, a colon is no parameter to whoever writes them as :name.
    seconds = 'YYYY-MM-DD"T"HH24":"MI":"SS'
    whole = func.date_trunc("second", value) == value
    form = case((whole, literal(f'{seconds}"+00:00"')), else_=literal(f'{seconds}.US"+00:00"'))
    return func.to_char(func.timezone("UTC", value), form)


def _kilometres(distance: ColumnElement[Any]) -> _Value:
    """To the metre; null where there is no place."""
    return (func.coalesce(cast(func.round(distance) / METRES_PER_KILOMETRE, Text), "null"),)


def _place() -> ColumnElement[str]:
    longitude, latitude = longitude_latitude()
    place = _object(latitude=(latitude,), longitude=(longitude,))
    return case((Equipment.coordinates.is_(None), "null"), else_=place)


def _photos() -> ColumnElement[str]:
    photo = _object(
        id=_quoted(EquipmentPhoto.id),
        photo_url=_text(EquipmentPhoto.photo_url),
        is_primary=(cast(EquipmentPhoto.is_primary, Text),),
        order_index=(EquipmentPhoto.order_index,),
    )
    of_this = select(photo).where(EquipmentPhoto.equipment_id == Equipment.id).order_by(EquipmentPhoto.order_index)
    return func.array_to_string(func.array(of_this.scalar_subquery()), ",")

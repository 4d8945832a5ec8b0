"""The radius search as it is usually written with this stack, over the service's own tables.

ORM objects, `selectinload` for their photos, a second query for the total, a marshmallow schema that dumps them one by
one. Nothing is switched on beside it: no limits, metrics, log of requests, request ids or security headers.
"""

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402
from typing import Any  # noqa: E402

import psycopg2.extensions  # noqa: E402
from flask import Flask, request  # noqa: E402
from geoalchemy2 import Geography, Geometry  # noqa: E402
from gevent.socket import wait_read, wait_write  # noqa: E402
from marshmallow import Schema, fields  # noqa: E402
from sqlalchemy import cast, create_engine, func, select  # noqa: E402
from sqlalchemy.orm import Session, foreign, relationship, selectinload  # noqa: E402

from app.models import Equipment, EquipmentPhoto  # noqa: E402

METRES = 1000

Equipment.photos = relationship(
    EquipmentPhoto,
    primaryjoin=foreign(EquipmentPhoto.equipment_id) == Equipment.id,
    order_by=EquipmentPhoto.order_index,
    viewonly=True,
)


class PhotoSchema(Schema):
    id = fields.UUID()
    photo_url = fields.String()
    is_primary = fields.Boolean()
    order_index = fields.Integer()


class CoordinatesSchema(Schema):
    latitude = fields.Float()
    longitude = fields.Float()


class EquipmentSchema(Schema):
    id = fields.UUID()
    owner_id = fields.UUID()
    category_id = fields.UUID()
    title = fields.String()
    description = fields.String()
    daily_rate = fields.Decimal(as_string=True)
    condition = fields.Function(lambda item: item.condition.value)
    location = fields.String()
    coordinates = fields.Nested(CoordinatesSchema, attribute="place")
    is_available = fields.Boolean()
    photos = fields.List(fields.Nested(PhotoSchema))
    created_at = fields.AwareDateTime(format="iso")
    updated_at = fields.AwareDateTime(format="iso")
    distance_km = fields.Float()


def _wait(connection: Any) -> None:
    while (state := connection.poll()) != psycopg2.extensions.POLL_OK:
        (wait_read if state == psycopg2.extensions.POLL_READ else wait_write)(connection.fileno())


psycopg2.extensions.set_wait_callback(_wait)
engine = create_engine(
    "postgresql+psycopg2://" + os.environ["DATABASE_URL"].partition("://")[2], pool_size=10, max_overflow=10
)
app = Flask(__name__, static_folder=None)
schema = EquipmentSchema(many=True)


@app.get("/api/v1/equipment")
def search() -> dict[str, Any]:
    longitude, latitude = float(request.args["lng"]), float(request.args["lat"])
    metres = float(request.args["radius_km"]) * METRES
    page, limit = request.args.get("page", 1, int), request.args.get("limit", 20, int)
    here = cast(func.ST_SetSRID(func.ST_MakePoint(longitude, latitude), 4326), Geography)
    distance = func.ST_Distance(Equipment.coordinates, here)
    place = cast(Equipment.coordinates, Geometry(geometry_type=None))
    is_near = func.ST_DWithin(Equipment.coordinates, here, metres)
    with Session(engine) as session:
        total = session.scalar(select(func.count()).select_from(Equipment).where(is_near)) or 0
        found = session.execute(
            select(Equipment, func.ST_X(place), func.ST_Y(place), distance)
            .options(selectinload(Equipment.photos))  # type: ignore[attr-defined]
            .where(is_near)
            .order_by(distance, Equipment.id)
            .limit(limit)
            .offset((page - 1) * limit)
        ).all()
        items = []
        for item, lng, lat, metres_away in found:
            item.place = {"longitude": lng, "latitude": lat}
            item.distance_km = round(metres_away / METRES, 3)
            items.append(item)
    return {
        "items": schema.dump(items),
        "total": total,
        "page": page,
        "limit": limit,
        "total_pages": -(-total // limit),
    }

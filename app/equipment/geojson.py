"""A page of listings as a GeoJSON FeatureCollection (RFC 7946)."""

from typing import Any

import marshmallow as ma
import orjson
from marshmallow import fields

from app.common.geo import BoundingBox, Point
from app.common.paging import Page
from app.equipment.document import EquipmentDocument
from app.equipment.schemas import EquipmentPage, Item


def _type(name: str) -> fields.Constant[str]:
    return fields.Constant(name, required=True, metadata={"type": "string", "enum": [name]})


class PointGeometry(ma.Schema):
    """A position: longitude, latitude (§3.1.1)."""

    type = _type("Point")
    coordinates = fields.List(fields.Float(), required=True, metadata={"minItems": 2, "maxItems": 2})


class FeatureProperties(Item):
    """A listing without its coordinates. It repeats the id, because some maps drop a feature id that is a string."""

    class Meta:
        exclude = ("coordinates",)


class Feature(ma.Schema):
    """A listing; its geometry is null without coordinates (§3.2)."""

    type = _type("Feature")
    id = fields.UUID(required=True)
    geometry = fields.Nested(PointGeometry, required=True, allow_none=True)
    properties = fields.Nested(FeatureProperties, required=True)


class FeatureCollection(EquipmentPage):
    """A page of listings; `total`, `page` and the like are foreign members (§6.1)."""

    class Meta:
        exclude = ("items",)

    type = _type("FeatureCollection")
    bbox = fields.List(
        fields.Float(),
        metadata={"description": "West, south, east, north; west is above east across the antimeridian (§5.2).",
                  "minItems": 4, "maxItems": 4},
    )  # fmt: skip
    features = fields.List(fields.Nested(Feature), required=True)


def feature_collection(page: Page[EquipmentDocument]) -> bytes:
    """The page as GeoJSON: the JSON of its listings, rearranged."""
    items = [orjson.loads(document.json) for document in page.items]
    points = [Point(**item["coordinates"]) for item in items if item["coordinates"] is not None]
    counts = {name: getattr(page, name) for name in ("total", "page", "limit", "total_pages", "next_cursor")}
    collection = {"type": "FeatureCollection", **counts, "features": [_feature(item) for item in items]}
    if points:
        box = BoundingBox.around(points)
        collection["bbox"] = [box.west, box.south, box.east, box.north]
    return orjson.dumps(collection)


def _feature(item: dict[str, Any]) -> dict[str, Any]:
    point = item.pop("coordinates")
    geometry = point and {"type": "Point", "coordinates": [point["longitude"], point["latitude"]]}
    return {"type": "Feature", "id": item["id"], "geometry": geometry, "properties": item}

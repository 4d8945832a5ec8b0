"""A page of listings as a map takes it: a FeatureCollection of RFC 7946, to be shown as it is."""

from typing import Any

import marshmallow as ma
import orjson
from marshmallow import fields

from app.equipment.document import EquipmentDocument
from app.equipment.schemas import Item, ItemPage
from app.geo import BoundingBox, Point
from app.paging import Page


def _is(name: str) -> fields.Constant[str]:
    return fields.Constant(name, required=True, metadata={"type": "string", "enum": [name]})


class PointGeometry(ma.Schema):
    """A place: longitude, latitude (§3.1.1)."""

    type = _is("Point")
    coordinates = fields.List(fields.Float(), required=True, metadata={"minItems": 2, "maxItems": 2})


class FeatureProperties(Item):
    """A listing as everywhere else, but for its place. Its id is here, too: some maps drop a feature's that is text."""

    class Meta:
        exclude = ("coordinates",)


class Feature(ma.Schema):
    """A listing; without a place it has no geometry (§3.2)."""

    type = _is("Feature")
    id = fields.UUID(required=True)
    geometry = fields.Nested(PointGeometry, required=True, allow_none=True)
    properties = fields.Nested(FeatureProperties, required=True)


class FeatureCollection(ItemPage):  # type: ignore[misc, valid-type]
    """A page of listings; what says which page it is are foreign members (§6.1)."""

    class Meta:
        exclude = ("items",)

    type = _is("FeatureCollection")
    bbox = fields.List(
        fields.Float(),
        metadata={"description": "West, south, east, north; west is above east across the antimeridian (§5.2).",
                  "minItems": 4, "maxItems": 4},
    )  # fmt: skip
    features = fields.List(fields.Nested(Feature), required=True)


def feature_collection(page: Page[EquipmentDocument]) -> bytes:
    """The page as GeoJSON."""
    items = [orjson.loads(document.json) for document in page.items]
    places = [Point(**item["coordinates"]) for item in items if item["coordinates"] is not None]
    counts = {name: getattr(page, name) for name in ("total", "page", "limit", "total_pages", "next_cursor")}
    box = {"bbox": _box(places)} if places else {}
    return orjson.dumps({"type": "FeatureCollection", **counts, **box, "features": list(map(_feature, items))})


def _feature(item: dict[str, Any]) -> dict[str, Any]:
    place = item.pop("coordinates")
    geometry = place and {"type": "Point", "coordinates": [place["longitude"], place["latitude"]]}
    return {"type": "Feature", "id": item["id"], "geometry": geometry, "properties": item}


def _box(places: list[Point]) -> list[float]:
    box = BoundingBox.around(places)
    return [box.west, box.south, box.east, box.north]

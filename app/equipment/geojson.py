"""A page of listings as a map takes it: a FeatureCollection of RFC 7946, to be shown as it is."""

from typing import Any

import marshmallow as ma
import orjson
from marshmallow import fields

from app.equipment.projection import EquipmentItem
from app.equipment.schemas import Item, ItemPage
from app.geo import BoundingBox, Point
from app.paging import Page

DEGREES = {"type": "number"}


def _is(name: str) -> fields.Constant[str]:
    return fields.Constant(name, required=True, metadata={"type": "string", "enum": [name]})


class PointGeometry(ma.Schema):
    """A place: longitude, latitude (§3.1.1)."""

    type = _is("Point")
    coordinates = fields.Function(
        lambda point: [point.longitude, point.latitude],
        required=True,
        metadata={"type": "array", "items": DEGREES, "minItems": 2, "maxItems": 2},
    )


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

    @ma.pre_dump
    def parts(self, item: EquipmentItem, **_: Any) -> dict[str, Any]:
        """Lay the listing out."""
        return {"id": item.id, "geometry": item.coordinates, "properties": item}


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
    features = fields.List(fields.Nested(Feature), attribute="items", required=True)

    @ma.post_dump(pass_original=True)
    def add_box(self, body: dict[str, Any], page: Page[EquipmentItem], **_: Any) -> dict[str, Any]:
        """Tell where all of it is, if any of it is anywhere."""
        places = [item.coordinates for item in page.items if item.coordinates is not None]
        return {**body, "bbox": _box(places)} if places else body


def feature_collection(page: Page[EquipmentItem]) -> bytes:
    """The page as GeoJSON."""
    return orjson.dumps(FeatureCollection().dump(page))


def _box(places: list[Point]) -> list[float]:
    box = BoundingBox.around(places)
    return [box.west, box.south, box.east, box.north]

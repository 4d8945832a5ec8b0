"""Schemas of listings, photos, categories and the search."""

from decimal import Decimal
from typing import Any, ClassVar

import marshmallow as ma
from marshmallow import ValidationError, fields, validate

from app.common.geo import MAX_RADIUS_METRES, METRES_PER_KILOMETRE, BoundingBox, Point
from app.equipment.criteria import Filters, Search, Sort
from app.equipment.words import split_words
from app.models import Condition
from app.web.pagination import PageQuery, page_request
from app.web.schemas import Body, Flag, HttpsUrl, Money, Number, Text

MAX_DAILY_RATE = Decimal("99999999.99")
MAX_QUERY_LENGTH = 200
MAX_QUERY_WORDS = 20  # each word is a term of the SQL


def _latitude(**options: Any) -> Number:
    return Number(validate=validate.Range(min=-90, max=90), **options)


def _longitude(**options: Any) -> Number:
    return Number(validate=validate.Range(min=-180, max=180), **options)


class Coordinates(Body):
    """A point in degrees of WGS 84."""

    latitude = _latitude(required=True)
    longitude = _longitude(required=True)

    @ma.post_load
    def to_point(self, data: dict[str, float], **_: Any) -> Point:
        """Convert to the domain's value."""
        return Point(**data)


class Photo(ma.Schema):
    """A photo of a listing."""

    id = fields.String(required=True, metadata={"format": "uuid"})
    photo_url = fields.String(required=True)
    is_primary = fields.Boolean(required=True)
    order_index = fields.Integer(required=True)


class NewPhoto(Body):
    """A photo to add. The first photo of a listing is primary."""

    photo_url = HttpsUrl(required=True)
    is_primary = Flag(load_default=False)


class NewEquipment(Body):
    """A listing to add: the fields that its owner sets."""

    category_id = fields.UUID(required=True)
    title = Text(min_length=3, max_length=200, required=True)
    description = Text(min_length=10, max_length=10_000, multiline=True, required=True)
    daily_rate = Money(maximum=MAX_DAILY_RATE, required=True)
    condition = fields.Enum(Condition, by_value=True, required=True)
    location = Text(min_length=2, max_length=255, required=True)
    coordinates = fields.Nested(Coordinates, allow_none=True)
    is_available = Flag()


class EquipmentChanges(NewEquipment):
    """Some fields of a listing; the others stay unchanged."""

    def __init__(self, **options: Any) -> None:
        # `partial=True` would apply to `coordinates`, too, and accept a latitude without a longitude.
        super().__init__(**{"partial": tuple(NewEquipment().fields), **options})


class Item(ma.Schema):
    """A listing, the same from every endpoint: the schema of the JSON that `app.equipment.document` builds."""

    id = fields.UUID(required=True)
    owner_id = fields.UUID(required=True)
    category_id = fields.UUID(required=True)
    title = fields.String(required=True)
    description = fields.String(required=True)
    daily_rate = Money(maximum=MAX_DAILY_RATE, required=True)
    condition = fields.Enum(Condition, by_value=True, required=True)
    location = fields.String(required=True)
    coordinates = fields.Nested(Coordinates, required=True, allow_none=True)
    is_available = fields.Boolean(required=True)
    photos = fields.List(fields.Nested(Photo), required=True)
    created_at = fields.AwareDateTime(required=True, format="iso")
    updated_at = fields.AwareDateTime(required=True, format="iso")
    distance_km = fields.Float(
        allow_none=True, metadata={"description": "The distance from the point of the search, rounded to a metre."}
    )


class EquipmentPage(ma.Schema):
    """A page of listings."""

    items = fields.List(fields.Nested(Item), required=True)
    total = fields.Integer(required=True, metadata={"description": "All that match, exactly."})
    page = fields.Integer(required=True)
    limit = fields.Integer(required=True)
    total_pages = fields.Integer(required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class Category(ma.Schema):
    """A category with its subtree."""

    id = fields.UUID(required=True)
    name = fields.String(required=True)
    parent_id = fields.UUID(required=True, allow_none=True)
    created_at = fields.AwareDateTime(required=True, format="iso")
    children = fields.List(fields.Nested("Category"), required=True)


class _BoundingBoxField(fields.String):
    """Four edges, each validated like a coordinate."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> Any:
        edges = super()._deserialize(value, attr, data, **options).split(",")
        readers = (_longitude(), _latitude(), _longitude(), _latitude())
        try:
            west, south, east, north = (read.deserialize(edge) for read, edge in zip(readers, edges, strict=True))
        except (ValueError, ValidationError):
            raise ValidationError("Must be west,south,east,north in degrees.") from None
        if south > north:
            raise ValidationError("South must not be above north.")
        return BoundingBox(west=west, south=south, east=east, north=north)


class EquipmentQuery(PageQuery):
    """The query of the search: filters, an order and a page."""

    ALIASES: ClassVar = {"latitude": "lat", "longitude": "lng"}

    category_id = fields.UUID(metadata={"description": "The category; its descendants are included."})
    min_price = Money(maximum=MAX_DAILY_RATE, positive=False, metadata={"description": "The minimum daily rate."})
    max_price = Money(maximum=MAX_DAILY_RATE, positive=False, metadata={"description": "The maximum daily rate."})
    lat = _latitude(metadata={"description": "The point's latitude; also `latitude`. Needs `lng`."})
    lng = _longitude(metadata={"description": "The point's longitude; also `longitude`. Needs `lat`."})
    radius_km = Number(
        validate=validate.Range(min=0, max=MAX_RADIUS_METRES / METRES_PER_KILOMETRE),
        metadata={"description": "The maximum distance from the point in kilometres. Needs `lat` and `lng`."},
    )
    bbox = _BoundingBoxField(metadata={"description": "west,south,east,north in degrees; may cross the antimeridian."})
    is_available = fields.Boolean(metadata={"description": "Whether the listing is available."})
    condition = fields.Enum(Condition, by_value=True, metadata={"description": "The condition of the equipment."})
    q = Text(max_length=MAX_QUERY_LENGTH, metadata={"description": "Words of the title, description or location."})
    sort = fields.Enum(
        Sort,
        by_value=True,
        metadata={"description": "The order: by default `distance` with a point, otherwise `newest`. `distance` needs "
                  "a point, `relevance` needs `q`."},
    )  # fmt: skip

    @ma.validates_schema
    def check_combination(self, data: dict[str, Any], **_: Any) -> None:
        """Refuse half a point, an inverted range, too many words, and an order without its filter."""
        for half, other in (("lat", "lng"), ("lng", "lat")):
            if half in data and other not in data:
                raise ValidationError(f"Goes with {half}: give both.", other)
        if "radius_km" in data and "lat" not in data:
            raise ValidationError("Needs a point: give lat and lng.", "radius_km")
        if "min_price" in data and "max_price" in data and data["min_price"] > data["max_price"]:
            raise ValidationError("Must not be above max_price.", "min_price")
        if len(split_words(data.get("q", ""))) > MAX_QUERY_WORDS:
            raise ValidationError(f"Must be at most {MAX_QUERY_WORDS} words.", "q")
        if data.get("sort") is Sort.DISTANCE and "lat" not in data:
            raise ValidationError("Needs a point: give lat and lng.", "sort")
        if data.get("sort") is Sort.RELEVANCE and "q" not in data:
            raise ValidationError("Needs words: give q.", "sort")

    @ma.post_load
    def to_search(self, data: dict[str, Any], **_: Any) -> Search:
        """Convert to the domain's value."""
        lat, lng = data.pop("lat", None), data.pop("lng", None)
        point = None if lat is None else Point(longitude=lng, latitude=lat)
        radius_km = data.pop("radius_km", None)
        sort = data.pop("sort", Sort.DISTANCE if point else Sort.NEWEST)
        return Search(
            page=page_request(data),
            sort=sort,
            filters=Filters(
                point=point,
                radius_metres=None if radius_km is None else radius_km * METRES_PER_KILOMETRE,
                words=data.pop("q", None),
                **data,
            ),
        )

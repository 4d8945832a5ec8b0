"""Listings, their photos, and categories over HTTP."""

from http import HTTPStatus
from operator import attrgetter
from typing import Any
from uuid import UUID

from flask import url_for

from app.auth.identity import caller
from app.equipment import categories, geojson, photos, schemas, service
from app.equipment.criteria import Search
from app.models import EquipmentPhoto
from app.web.access import public
from app.web.api import BASE_PATH, Blueprint
from app.web.etags import conditional, list_response, page_response, precondition, resource_response, write_response
from app.web.idempotency import idempotent
from app.web.negotiation import GEO_JSON, produces, response_media_type
from app.web.openapi.responses import headers
from app.web.rate_limits import limited

blueprint = Blueprint("equipment", __name__, url_prefix=f"{BASE_PATH}/equipment", description="Listings.")
categories_blueprint = Blueprint(
    "categories", __name__, url_prefix=f"{BASE_PATH}/categories", description="Categories of equipment."
)


@blueprint.route("")
@public
@limited("public_search")
@produces(GEO_JSON)
@blueprint.arguments(schemas.EquipmentQuery, location="query")
@blueprint.response(200, schemas.EquipmentPage)
@blueprint.alt_response(200, schema=geojson.FeatureCollection, content_type=GEO_JSON, success=True)
def search_equipment(search: Search) -> Any:
    """Search equipment by location, price, category, words and condition, in any combination."""
    body = geojson.feature_collection if response_media_type() == GEO_JSON else attrgetter("body")
    return page_response(service.search(search), body=body)


@blueprint.route("/<uuid:equipment_id>")
@public
@blueprint.response(200, schemas.Item)
def get_equipment(equipment_id: UUID) -> Any:
    """Show one listing."""
    return resource_response(lambda: service.get(equipment_id), peek=lambda: service.version(equipment_id))


@blueprint.route("", methods=["POST"])
@idempotent
@blueprint.arguments(schemas.NewEquipment)
@blueprint.response(201, schemas.Item, headers=headers("Location", "ETag"))
def create_equipment(values: dict[str, Any]) -> Any:
    """List equipment for rent, as an owner."""
    item = service.create(caller(), values)
    location = url_for("equipment.get_equipment", equipment_id=item.id)
    return write_response(item, status=HTTPStatus.CREATED, Location=location)


@blueprint.route("/<uuid:equipment_id>", methods=["PUT"])
@conditional
@blueprint.arguments(schemas.EquipmentChanges)
@blueprint.response(200, schemas.Item)
def change_equipment(values: dict[str, Any], equipment_id: UUID) -> Any:
    """Change some fields of a listing."""
    return write_response(service.change(caller(), equipment_id, values, only_if=precondition()))


@blueprint.route("/<uuid:equipment_id>", methods=["DELETE"])
@conditional
@blueprint.response(204)
def delete_equipment(equipment_id: UUID) -> None:
    """Delete a listing."""
    service.delete(caller(), equipment_id, only_if=precondition())


@blueprint.route("/<uuid:equipment_id>/photos", methods=["POST"])
@idempotent
@blueprint.arguments(schemas.NewPhoto)
@blueprint.response(201, schemas.Photo)
@blueprint.refuses(HTTPStatus.CONFLICT)
def add_photo(photo: dict[str, Any], equipment_id: UUID) -> EquipmentPhoto:
    """Add a photo to a listing, by its URL."""
    return photos.add(caller(), equipment_id, **photo)


@blueprint.route("/<uuid:equipment_id>/photos/<uuid:photo_id>", methods=["DELETE"])
@conditional
@blueprint.response(204)
def delete_photo(equipment_id: UUID, photo_id: UUID) -> None:
    """Remove a photo from a listing. If-Match takes the ETag of the listing."""
    photos.remove(caller(), equipment_id, photo_id, only_if=precondition())


@categories_blueprint.route("")
@public
@categories_blueprint.response(200, schemas.Category(many=True))
def list_categories() -> Any:
    """List every category, each with its subtree."""
    return list_response(categories.list_all())


@categories_blueprint.route("/<uuid:category_id>")
@public
@categories_blueprint.response(200, schemas.Category)
def get_category(category_id: UUID) -> Any:
    """Show one category with its subtree."""
    return resource_response(lambda: categories.get(category_id))

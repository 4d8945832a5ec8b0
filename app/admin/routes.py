"""Moderation over HTTP. Every route of this blueprint requires the role admin."""

from http import HTTPStatus
from typing import Any
from uuid import UUID

from flask import request, url_for

from app.admin import schemas, service
from app.auth.identity import caller
from app.common.paging import PageRequest
from app.equipment import categories
from app.equipment import service as equipment
from app.equipment.schemas import Category
from app.web.api import BASE_PATH, Blueprint
from app.web.etags import conditional, list_response, precondition, resource_response, write_response
from app.web.idempotency import idempotent
from app.web.openapi.responses import headers

blueprint = Blueprint("admin", __name__, url_prefix=f"{BASE_PATH}/admin", description="Moderation, for admins.")


@blueprint.before_request
def admins_only() -> None:
    """Check the role before the request is parsed, so that the response reveals no ids and fields."""
    if request.method != "OPTIONS":  # a pre-flight carries no credentials (Fetch §3.2.2)
        service.check_access(caller())


@blueprint.route("/stats")
@blueprint.response(200, schemas.Stats)
def get_stats() -> Any:
    """Count users, listings and categories."""
    return service.get_stats()


@blueprint.route("/users")
@blueprint.arguments(schemas.UserQuery, location="query")
@blueprint.response(200, schemas.UserPage)
def list_users(query: tuple[dict[str, Any], PageRequest]) -> Any:
    """List users, newest first."""
    return service.list_users(*query)


@blueprint.route("/users/<uuid:user_id>")
@blueprint.response(200, schemas.User)
def get_user(user_id: UUID) -> Any:
    """Return a user."""
    return resource_response(lambda: service.get_user(user_id), version=service.user_version)


@blueprint.route("/users/<uuid:user_id>/role", methods=["PUT"])
@conditional
@blueprint.arguments(schemas.RoleChange)
@blueprint.response(200, schemas.User)
@blueprint.refuses(HTTPStatus.CONFLICT)
def change_role(values: dict[str, Any], user_id: UUID) -> Any:
    """Change the role of another user, with immediate effect. A condition names the user's ETag."""
    user = service.change_role(caller(), user_id, **values, only_if=precondition())
    return write_response(user, version=service.user_version)


@blueprint.route("/users/<uuid:user_id>", methods=["DELETE"])
@conditional
@blueprint.response(204)
@blueprint.refuses(HTTPStatus.CONFLICT)
def delete_user(user_id: UUID) -> None:
    """Delete another user, with personal data and listings."""
    service.delete_user(caller(), user_id, only_if=precondition())


@blueprint.route("/equipment")
@blueprint.arguments(schemas.ModeratedEquipmentQuery, location="query")
@blueprint.response(200, schemas.ModeratedEquipmentPage)
def list_equipment(query: tuple[dict[str, Any], PageRequest]) -> Any:
    """List the equipment of all users, newest first."""
    return service.list_equipment(*query)


@blueprint.route("/equipment/<uuid:equipment_id>/availability", methods=["PUT"])
@conditional
@blueprint.arguments(schemas.AvailabilityChange)
@blueprint.response(200, schemas.ModeratedEquipment)
def set_availability(values: dict[str, Any], equipment_id: UUID) -> Any:
    """Make a listing available or not. A condition names the listing's ETag."""
    item = service.set_availability(caller(), equipment_id, **values, only_if=precondition())
    return write_response(item)


@blueprint.route("/equipment/<uuid:equipment_id>", methods=["DELETE"])
@conditional
@blueprint.response(204)
def delete_equipment(equipment_id: UUID) -> None:
    """Delete a listing."""
    equipment.take_down(caller(), equipment_id, only_if=precondition())


@blueprint.route("/categories")
@blueprint.response(200, Category(many=True))
def list_categories() -> Any:
    """List every category, each with its subcategories."""
    return list_response(categories.list_all())


@blueprint.route("/categories", methods=["POST"])
@idempotent
@blueprint.arguments(schemas.NewCategory)
@blueprint.response(201, Category, headers=headers("Location", "ETag"))
@blueprint.refuses(HTTPStatus.CONFLICT)
def create_category(values: dict[str, Any]) -> Any:
    """Add a category."""
    node = categories.create(caller(), **values)
    return write_response(node, Location=url_for("categories.get_category", category_id=node.id))


@blueprint.route("/categories/<uuid:category_id>", methods=["PUT"])
@conditional
@blueprint.arguments(schemas.CategoryChanges)
@blueprint.response(200, Category)
@blueprint.refuses(HTTPStatus.CONFLICT)
def change_category(values: dict[str, Any], category_id: UUID) -> Any:
    """Rename a category, or move it with its subcategories."""
    node = categories.change(caller(), category_id, values, only_if=precondition())
    return write_response(node)


@blueprint.route("/categories/<uuid:category_id>", methods=["DELETE"])
@conditional
@blueprint.response(204)
@blueprint.refuses(HTTPStatus.CONFLICT)
def delete_category(category_id: UUID) -> None:
    """Delete a category without listings and subcategories."""
    categories.delete(caller(), category_id, only_if=precondition())


@blueprint.route("/audit-log")
@blueprint.arguments(schemas.AuditLogQuery, location="query")
@blueprint.response(200, schemas.AuditLogPage)
def list_entries(query: tuple[dict[str, Any], PageRequest]) -> Any:
    """List the audit log, newest first."""
    return service.list_entries(*query)

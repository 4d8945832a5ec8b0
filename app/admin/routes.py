"""What admins see and change, over HTTP. A route of this blueprint is closed to everybody else by itself."""

from typing import Any
from uuid import UUID

from flask import request, url_for

from app import audit
from app.admin import query_schemas, schemas, service
from app.admin.criteria import AuditSearch, EquipmentFilters, UserFilters
from app.admin.projection import AuditRow, EquipmentRow, Stats, UserRow
from app.auth.identity import caller
from app.equipment import categories
from app.equipment.categories import CategoryNode
from app.equipment.schemas import Category
from app.paging import Page, PageRequest
from app.web.api import BASE_PATH, Blueprint
from app.web.idempotency import idempotent

blueprint = Blueprint("admin", __name__, url_prefix=f"{BASE_PATH}/admin", description="Moderation, for admins.")


@blueprint.before_request
def admins_only() -> None:
    """Ask for the role before anything else is looked at, so that nobody else learns which ids or fields exist."""
    if request.method != "OPTIONS":  # a pre-flight carries no credentials (Fetch §3.2.2)
        service.check_access(caller())


@blueprint.route("/stats")
@blueprint.response(200, schemas.Stats)
def get_stats() -> Stats:
    """Count users, listings and categories."""
    return service.get_stats()


@blueprint.route("/users")
@blueprint.arguments(query_schemas.UserQuery, location="query")
@blueprint.response(200, schemas.UserPage)
def list_users(query: tuple[UserFilters, PageRequest]) -> Page[UserRow]:
    """List users, newest first."""
    return service.list_users(*query)


@blueprint.route("/users/<uuid:user_id>")
@blueprint.response(200, schemas.User)
def get_user(user_id: UUID) -> UserRow:
    """Show one user."""
    return service.get_user(user_id)


@blueprint.route("/users/<uuid:user_id>/role", methods=["PUT"])
@blueprint.arguments(schemas.RoleChange)
@blueprint.response(200, schemas.User)
def change_role(values: dict[str, Any], user_id: UUID) -> UserRow:
    """Give a user another role, at once. Not one's own."""
    return service.change_role(audit.author(caller().user_id), user_id, **values)


@blueprint.route("/users/<uuid:user_id>", methods=["DELETE"])
@blueprint.response(204)
def delete_user(user_id: UUID) -> None:
    """Delete a user, with all that is personal and all that they listed, for good. Not oneself."""
    service.delete_user(audit.author(caller().user_id), user_id)


@blueprint.route("/equipment")
@blueprint.arguments(query_schemas.ModeratedEquipmentQuery, location="query")
@blueprint.response(200, schemas.ModeratedEquipmentPage)
def list_equipment(query: tuple[EquipmentFilters, PageRequest]) -> Page[EquipmentRow]:
    """List everybody's equipment, newest first."""
    return service.list_equipment(*query)


@blueprint.route("/equipment/<uuid:equipment_id>/availability", methods=["PUT"])
@blueprint.arguments(schemas.AvailabilityChange)
@blueprint.response(200, schemas.ModeratedEquipment)
def set_availability(values: dict[str, Any], equipment_id: UUID) -> EquipmentRow:
    """Offer a listing, or not."""
    return service.set_availability(audit.author(caller().user_id), equipment_id, **values)


@blueprint.route("/equipment/<uuid:equipment_id>", methods=["DELETE"])
@blueprint.response(204)
def delete_equipment(equipment_id: UUID) -> None:
    """Take a listing down for good."""
    service.delete_equipment(audit.author(caller().user_id), equipment_id)


@blueprint.route("/categories")
@blueprint.response(200, Category(many=True))
def list_categories() -> list[CategoryNode]:
    """List every category, each with those below it."""
    return categories.list_all()


@blueprint.route("/categories", methods=["POST"])
@idempotent
@blueprint.arguments(schemas.NewCategory)
@blueprint.response(201, Category)
def create_category(values: dict[str, Any]) -> Any:
    """Add a category."""
    node = categories.create(audit.author(caller().user_id), **values)
    return node, {"Location": url_for("categories.get_category", category_id=node.id)}


@blueprint.route("/categories/<uuid:category_id>", methods=["PUT"])
@blueprint.arguments(schemas.CategoryChanges)
@blueprint.response(200, Category)
def change_category(values: dict[str, Any], category_id: UUID) -> CategoryNode:
    """Rename a category, or move it, with all below it."""
    return categories.change(audit.author(caller().user_id), category_id, values)


@blueprint.route("/categories/<uuid:category_id>", methods=["DELETE"])
@blueprint.response(204)
def delete_category(category_id: UUID) -> None:
    """Delete a category that holds no listing, and none below it."""
    categories.delete(audit.author(caller().user_id), category_id)


@blueprint.route("/audit-log")
@blueprint.arguments(query_schemas.AuditLogQuery, location="query")
@blueprint.response(200, schemas.AuditLogPage)
def list_entries(wanted: AuditSearch) -> Page[AuditRow]:
    """List what was changed by whom, newest first."""
    return service.list_entries(wanted)

"""What admins see and change, over HTTP. A route of this blueprint is closed to everybody else by itself."""

from typing import Any
from uuid import UUID

from flask import request

from app import audit
from app.admin import schemas, service
from app.admin.projection import UserRow
from app.auth.identity import caller
from app.web.api import BASE_PATH, Blueprint

blueprint = Blueprint("admin", __name__, url_prefix=f"{BASE_PATH}/admin", description="Moderation, for admins.")


@blueprint.before_request
def admins_only() -> None:
    """Ask for the role before anything else is looked at, so that nobody else learns which ids or fields exist."""
    if request.method != "OPTIONS":  # a pre-flight carries no credentials (Fetch §3.2.2)
        service.check_access(caller())


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

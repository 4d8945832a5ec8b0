"""Users, their equipment and their profiles over HTTP."""

from http import HTTPStatus
from typing import Any
from uuid import UUID

from app.auth.identity import caller
from app.equipment import service as equipment
from app.equipment.schemas import EquipmentPage
from app.users import schemas, service
from app.web.access import public
from app.web.api import BASE_PATH, Blueprint, settings
from app.web.etags import conditional, page_response, precondition, resource_response, write_response
from app.web.pagination import PageQuery, page_request

blueprint = Blueprint("users", __name__, url_prefix=f"{BASE_PATH}/users", description="Users and profiles.")


@blueprint.route("/<uuid:user_id>")
@public
@blueprint.response(200, schemas.PublicUser)
def get_user(user_id: UUID) -> Any:
    """Return the public profile of a user."""
    return resource_response(lambda: service.get(user_id), peek=lambda: service.version(user_id))


@blueprint.route("/<uuid:user_id>", methods=["PUT"])
@conditional
@blueprint.arguments(schemas.UserChanges)
@blueprint.response(200, schemas.UserDetails)
@blueprint.refuses(HTTPStatus.CONFLICT)
def change_user(values: dict[str, Any], user_id: UUID) -> Any:
    """Change one's own account, or, as an admin, any account."""
    user = service.change(caller(), user_id, values, only_if=precondition())
    return write_response(user)


@blueprint.route("/me/equipment")
@blueprint.arguments(PageQuery, location="query")
@blueprint.response(200, EquipmentPage)
def list_own_equipment(query: dict[str, Any]) -> Any:
    """List one's own equipment, newest first."""
    return page_response(equipment.list_own(caller(), page_request(query)))


@blueprint.route("/me/owner-profile")
@blueprint.response(200, schemas.OwnerProfileView)
@blueprint.refuses(HTTPStatus.NOT_FOUND)
def get_owner_profile() -> Any:
    """Return one's owner profile."""
    return resource_response(lambda: service.get_owner_profile(caller()), version=service.owner_profile_version)


@blueprint.route("/me/owner-profile", methods=["PUT"])
@conditional
@blueprint.arguments(schemas.OwnerProfileBody)
@blueprint.response(200, schemas.OwnerProfileView)
def save_owner_profile(values: dict[str, Any]) -> Any:
    """Save one's owner profile. With open sign-up this makes a renter an owner."""
    signup = settings().owner_signup
    saved = service.save_owner_profile(caller(), values, signup=signup, only_if=precondition())
    return write_response(saved, version=service.owner_profile_version)


@blueprint.route("/me/renter-profile")
@blueprint.response(200, schemas.RenterProfileView)
def get_renter_profile() -> Any:
    """Return one's renter profile."""
    return resource_response(lambda: service.get_renter_profile(caller()))


@blueprint.route("/me/renter-profile", methods=["PUT"])
@conditional
@blueprint.arguments(schemas.RenterProfileBody)
@blueprint.response(200, schemas.RenterProfileView)
def save_renter_profile(values: dict[str, Any]) -> Any:
    """Save the given fields of one's renter profile."""
    saved = service.save_renter_profile(caller(), values, only_if=precondition())
    return write_response(saved)

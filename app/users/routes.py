"""Users, their own equipment and their profiles over HTTP."""

from typing import Any
from uuid import UUID

from app.auth.identity import caller, public
from app.equipment import service as equipment
from app.equipment.schemas import ItemPage
from app.models import RenterProfile, User
from app.users import schemas, service
from app.users.projection import OwnerView
from app.web.api import BASE_PATH, Blueprint, settings
from app.web.pagination import PageQuery, page_request, page_response

blueprint = Blueprint("users", __name__, url_prefix=f"{BASE_PATH}/users", description="Users and profiles.")


@blueprint.route("/<uuid:user_id>")
@public
@blueprint.response(200, schemas.PublicUser)
def get_user(user_id: UUID) -> User:
    """Show what anyone may see of a user."""
    return service.get(user_id)


@blueprint.route("/<uuid:user_id>", methods=["PUT"])
@blueprint.arguments(schemas.UserChanges)
@blueprint.response(200, schemas.UserDetails)
def change_user(values: dict[str, Any], user_id: UUID) -> User:
    """Change one's own account, or anyone's as an admin."""
    return service.change(caller(), user_id, values)


@blueprint.route("/me/equipment")
@blueprint.arguments(PageQuery, location="query")
@blueprint.response(200, ItemPage)
def list_own_equipment(query: dict[str, Any]) -> Any:
    """List one's own equipment, newest first."""
    return page_response(equipment.list_own(caller(), page_request(query)))


@blueprint.route("/me/owner-profile")
@blueprint.response(200, schemas.OwnerProfileView)
def get_owner_profile() -> OwnerView:
    """Show one's owner profile."""
    return service.get_owner_profile(caller())


@blueprint.route("/me/owner-profile", methods=["PUT"])
@blueprint.arguments(schemas.OwnerProfileBody)
@blueprint.response(200, schemas.OwnerProfileView)
def save_owner_profile(values: dict[str, Any]) -> OwnerView:
    """Save one's owner profile; where sign-up is open, this makes a renter an owner."""
    return service.save_owner_profile(caller(), values, signup=settings().owner_signup)


@blueprint.route("/me/renter-profile")
@blueprint.response(200, schemas.RenterProfileView)
def get_renter_profile() -> RenterProfile:
    """Show one's renter profile."""
    return service.get_renter_profile(caller())


@blueprint.route("/me/renter-profile", methods=["PUT"])
@blueprint.arguments(schemas.RenterProfileBody)
@blueprint.response(200, schemas.RenterProfileView)
def save_renter_profile(values: dict[str, Any]) -> RenterProfile:
    """Save any part of one's renter profile."""
    return service.save_renter_profile(caller(), values)

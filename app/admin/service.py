"""What admins may do. Every change is in the audit log, written by the service that makes it."""

from uuid import UUID

from app.admin import repository
from app.admin.projection import UserRow
from app.audit import Author
from app.auth.principal import Identity
from app.database import transaction
from app.errors import Forbidden
from app.models import Role
from app.users import service as users


def can_moderate(who: Identity) -> bool:
    """Admins do."""
    return who.is_admin


def check_access(who: Identity) -> None:
    """Raise Forbidden, unless the caller moderates."""
    if not can_moderate(who):
        raise Forbidden("This is for admins.")


def change_role(author: Author, user_id: UUID, role: Role) -> UserRow:
    """Give a user a role. Raises as `users.service.give_role`."""
    with transaction() as session:
        users.give_role(session, author, user_id, role)
        return repository.get_user(session, user_id)


def delete_user(author: Author, user_id: UUID) -> None:
    """Delete a user. Raises as `users.service.delete`."""
    with transaction() as session:
        users.delete(session, author, user_id)

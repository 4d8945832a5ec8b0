"""SQL of what admins see."""

from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.admin.projection import UserRow
from app.errors import NotFound
from app.models import Equipment, User

_EQUIPMENT_COUNT = (
    select(func.count()).select_from(Equipment).where(Equipment.owner_id == User.id).correlate(User).scalar_subquery()
)


def get_user(session: Session, user_id: UUID) -> UserRow:
    """One user. Raises NotFound."""
    columns = User.id, User.email, User.role, User.username, User.full_name, User.created_at
    row = session.execute(
        select(*columns, _EQUIPMENT_COUNT.label("equipment_count")).where(User.id == user_id)
    ).one_or_none()
    if row is None:
        raise NotFound("There is no such user.")
    return UserRow(**row._mapping)

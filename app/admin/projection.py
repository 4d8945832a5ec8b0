"""What admins see, as frozen values."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from app.models import Role


@dataclass(frozen=True, kw_only=True)
class UserRow:
    """A user, and how many listings the user has."""

    id: UUID
    email: str | None
    role: Role
    username: str
    full_name: str | None
    created_at: datetime
    equipment_count: int

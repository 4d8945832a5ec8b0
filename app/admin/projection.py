"""What admins see, as frozen values."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from app.models import Role


@dataclass(frozen=True, kw_only=True)
class Stats:
    """How much there is."""

    total_users: int
    total_equipment: int
    available_equipment: int
    total_categories: int


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
    version: int

    @property
    def token(self) -> str:
        """Another one whenever anything here is: listings come and go without a change of the user."""
        return f"{self.version}-{self.equipment_count}"


@dataclass(frozen=True, kw_only=True)
class EquipmentRow:
    """A listing, and whose it is."""

    id: UUID
    title: str
    owner_id: UUID
    owner_email: str | None
    category_id: UUID
    category_name: str
    daily_rate: Decimal
    is_available: bool
    created_at: datetime
    version: int


@dataclass(frozen=True, kw_only=True)
class AuditRow:
    """An entry of the audit log; the username is the actor's of now, and None where there is no such user."""

    id: int
    created_at: datetime
    actor_id: UUID | None
    actor_username: str | None
    action: str
    subject_id: UUID
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    request_id: str | None

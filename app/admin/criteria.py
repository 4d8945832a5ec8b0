"""What admins can ask of a list: filters that all combine, and a part of it."""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from uuid import UUID

from app.audit import Action
from app.models import Role
from app.paging import PageRequest, Position, decode_cursor, fingerprint


@dataclass(frozen=True, kw_only=True)
class UserFilters:
    """What a user must be like; None asks nothing. `search` is a part of the e-mail, username or full name."""

    search: str | None = None
    role: Role | None = None


@dataclass(frozen=True, kw_only=True)
class EquipmentFilters:
    """What a listing must be like; None asks nothing. `search` is a part of the title or of the owner's e-mail."""

    search: str | None = None
    owner_id: UUID | None = None
    category_id: UUID | None = None
    is_available: bool | None = None


@dataclass(frozen=True, kw_only=True)
class AuditFilters:
    """What an entry of the audit log must be like; None asks nothing. From `since` on, before `until`."""

    actor_id: UUID | None = None
    action: Action | None = None
    subject_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class AuditSearch:
    """Which entries, and which part of them."""

    filters: AuditFilters
    page: PageRequest

    @property
    def list_name(self) -> str:
        """Equal for equal filters: what a cursor is bound to."""
        return fingerprint("audit log", self.filters)

    @cached_property
    def position(self) -> Position | None:
        """Where a cursor says the page begins. Raises InvalidInput for one of another list."""
        return decode_cursor(self.page.cursor, of_list=self.list_name) if self.page.cursor else None

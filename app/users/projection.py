"""What users see of their own, as frozen values."""

from dataclasses import dataclass
from typing import Any

from app.models import Role


@dataclass(frozen=True, kw_only=True)
class OwnerView:
    """An owner profile, and the role that its user has now."""

    business_info: dict[str, Any]
    role: Role
    version: int

    @property
    def token(self) -> str:
        """Another one whenever any of it is; the version is the profile's alone."""
        return f"{self.version}-{self.role.value}"

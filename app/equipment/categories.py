"""Categories: a tree, given flat, each with the kinds below it."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from app.database import transaction
from app.equipment import repository
from app.errors import NotFound


@dataclass(frozen=True, kw_only=True)
class CategoryNode:
    """A category and all below it, by name."""

    id: UUID
    name: str
    parent_id: UUID | None
    created_at: datetime
    children: list["CategoryNode"] = field(default_factory=list)


def list_all() -> list[CategoryNode]:
    """Every category, by name."""
    with transaction() as session:
        categories = repository.list_categories(session)
    nodes = {
        row.id: CategoryNode(id=row.id, name=row.name, parent_id=row.parent_id, created_at=row.created_at)
        for row in categories
    }
    for node in nodes.values():
        if node.parent_id in nodes:
            nodes[node.parent_id].children.append(node)
    return list(nodes.values())


def get(category_id: UUID) -> CategoryNode:
    """One category. Raises NotFound."""
    for node in list_all():
        if node.id == category_id:
            return node
    raise NotFound("There is no such category.")

"""Categories: a tree, listed flat, each category with its subtree. Only admins change it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from app.auth.principal import Identity
from app.common import audit
from app.common.audit import Action
from app.common.precondition import Precondition, digest
from app.db.session import transaction
from app.equipment import repository
from app.errors import Conflict, Problem, existing

# The list repeats each category inside each of its ancestors: the depth bounds the size of the list.
MAX_DEPTH = 8


@dataclass(frozen=True, kw_only=True)
class CategoryNode:
    """A category with its subtree, ordered by name."""

    id: UUID
    name: str
    parent_id: UUID | None
    created_at: datetime
    children: list["CategoryNode"] = field(default_factory=list)

    @property
    def version(self) -> str:
        """Changes whenever the category or a descendant changes."""
        return digest(self)

    @property
    def height(self) -> int:
        """The number of levels of the subtree."""
        return 1 + max((child.height for child in self.children), default=0)


Tree = dict[UUID, CategoryNode]


def list_all() -> list[CategoryNode]:
    """Every category, by name."""
    with transaction() as session:
        return list(_tree(session).values())


def get(category_id: UUID) -> CategoryNode:
    """One category. Raises NotFound."""
    with transaction() as session:
        return existing(_tree(session).get(category_id), "category")


def create(identity: Identity, *, name: str, parent_id: UUID | None) -> CategoryNode:
    """Add a category, with an audit entry.

    Raises InvalidInput (the parent is unknown), Conflict (a sibling has its name, or the tree is full or too deep).
    """
    with transaction() as session:
        tree = _tree(session, lock=True)
        if len(tree) >= repository.MAX_CATEGORIES:
            raise Conflict(f"There are {repository.MAX_CATEGORIES} categories, and that is the most there can be.")
        _check_place(tree, parent_id)
        category_id = repository.add_category(session, name=name, parent_id=parent_id)
        node = _tree(session)[category_id]
        audit.record(session, identity.user_id, Action.CATEGORY_CREATED, category_id, after=_details(node))
        return node


def change(identity: Identity, category_id: UUID, changes: Mapping[str, Any], *, only_if: Precondition) -> CategoryNode:
    """Rename a category, or move it with its subtree, with an audit entry. Equal values write nothing.

    Changes of the tree are serialised, so two concurrent moves cannot form a cycle. Raises as `create`, and NotFound,
    PreconditionFailed, Conflict (the parent is a descendant).
    """
    with transaction() as session:
        tree = _tree(session, lock=True)
        before = existing(tree.get(category_id), "category")
        only_if.check(before.version)
        if all(getattr(before, name) == value for name, value in changes.items()):
            return before
        if changes.get("parent_id", before.parent_id) != before.parent_id:
            _check_place(tree, changes["parent_id"], before)
        repository.update_category(session, category_id, changes)
        after = _tree(session)[category_id]
        details = {"before": _details(before), "after": _details(after)}
        audit.record(session, identity.user_id, Action.CATEGORY_CHANGED, category_id, **details)
        return after


def delete(identity: Identity, category_id: UUID, *, only_if: Precondition) -> None:
    """Delete a category, with an audit entry.

    Raises NotFound, PreconditionFailed, Conflict (it has listings or child categories).
    """
    with transaction() as session:
        before = existing(_tree(session, lock=True).get(category_id), "category")
        only_if.check(before.version)
        repository.delete_category(session, category_id)
        audit.record(session, identity.user_id, Action.CATEGORY_DELETED, category_id, before=_details(before))


def _tree(session: Session, *, lock: bool = False) -> Tree:
    """Every category by id, ordered by name."""
    if lock:
        repository.lock_categories(session)
    nodes = {row.id: CategoryNode(**row._mapping) for row in repository.list_categories(session)}
    for node in nodes.values():
        if node.parent_id in nodes:
            nodes[node.parent_id].children.append(node)
    return nodes


def _check_place(tree: Tree, parent_id: UUID | None, node: CategoryNode | None = None) -> None:
    """Raise Conflict if the parent is in the subtree of the node, or if the tree would be too deep.

    Without a node, the place is that of a new category. The database refuses an unknown parent.
    """
    levels = 1 if node is None else node.height
    while parent_id in tree:
        if node is not None and parent_id == node.id:
            message = "A category cannot be below itself."
            raise Conflict(message, details=[Problem("parent_id", message, "circle")])
        levels, parent_id = levels + 1, tree[parent_id].parent_id
    if levels > MAX_DEPTH:
        message = f"Categories are at most {MAX_DEPTH} levels deep."
        raise Conflict(message, details=[Problem("parent_id", message, "too_deep")])


def _details(node: CategoryNode) -> dict[str, str | None]:
    return {"name": node.name, "parent_id": None if node.parent_id is None else str(node.parent_id)}

"""Categories: a tree, given flat, each with the kinds below it. Admins alone change it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from app import audit
from app.audit import Action, Actor
from app.common.precondition import UNCONDITIONAL, Precondition, digest
from app.db.session import transaction
from app.equipment import category_repository as repository
from app.errors import Conflict, NotFound, Problem

# Each category is shown once more inside each of those above it: the depth bounds what the whole list can weigh.
MAX_DEPTH = 8


@dataclass(frozen=True, kw_only=True)
class CategoryNode:
    """A category and all below it, by name."""

    id: UUID
    name: str
    parent_id: UUID | None
    created_at: datetime
    children: list["CategoryNode"] = field(default_factory=list)

    def subtree(self) -> Iterator["CategoryNode"]:
        """The category and all below it."""
        yield self
        for child in self.children:
            yield from child.subtree()

    @property
    def token(self) -> str:
        """Another one whenever the category shows anything else, those below it among it."""
        return digest(self)

    @property
    def height(self) -> int:
        """How many levels it has, its own included."""
        return 1 + max((child.height for child in self.children), default=0)


Tree = Mapping[UUID, CategoryNode]


def list_all() -> list[CategoryNode]:
    """Every category, by name."""
    with transaction() as session:
        return list(_tree(session).values())


def get(category_id: UUID) -> CategoryNode:
    """One category. Raises NotFound."""
    with transaction() as session:
        return _node(_tree(session), category_id)


def ids_within(session: Session, category_id: UUID) -> list[UUID]:
    """The category and all below it; empty where there is none."""
    node = _tree(session).get(category_id)
    return [] if node is None else [each.id for each in node.subtree()]


def create(actor: Actor, *, name: str, parent_id: UUID | None) -> CategoryNode:
    """Add a category, and write it down.

    Raises:
        InvalidInput: its parent is unknown. Conflict: a sibling has its name, or the tree is full.
    """
    with transaction() as session:
        tree = _lock(session)
        if len(tree) >= repository.MAX_CATEGORIES:
            raise Conflict(f"There are {repository.MAX_CATEGORIES} categories, and that is the most there can be.")
        _check_depth(tree, parent_id, height=1)
        category_id = repository.add_category(session, {"name": name, "parent_id": parent_id})
        node = _node(_tree(session), category_id)
        audit.record(session, actor, Action.CATEGORY_CREATED, category_id, after=_details(node))
        return node


def change(
    actor: Actor, category_id: UUID, changes: Mapping[str, Any], *, only_if: Precondition = UNCONDITIONAL
) -> CategoryNode:
    """Rename a category, or move it with all below it; write it down, unless that changes nothing.

    No two changes of the tree overlap: so none that is right by itself closes a circle together with another.

    Raises:
        NotFound, PreconditionFailed. InvalidInput: its new parent is unknown. Conflict: that is below it, or a sibling
            has its name, or the tree would be too deep.
    """
    with transaction() as session:
        tree = _lock(session)
        before = _node(tree, category_id)
        only_if.check(before.token)
        if _details(before) == _details(before) | _as_details(changes):
            return before
        _check_move(tree, before, changes.get("parent_id", before.parent_id))
        repository.update_category(session, category_id, dict(changes))
        after = _node(_tree(session), category_id)
        told = {"before": _details(before), "after": _details(after)}
        audit.record(session, actor, Action.CATEGORY_CHANGED, category_id, **told)
        return after


def delete(actor: Actor, category_id: UUID, *, only_if: Precondition = UNCONDITIONAL) -> None:
    """Remove a category that is not in use, and write it down.

    Raises:
        NotFound, PreconditionFailed. Conflict: there is a listing in it, or a category below it.
    """
    with transaction() as session:
        before = _node(_lock(session), category_id)
        only_if.check(before.token)
        repository.delete_category(session, category_id)
        audit.record(session, actor, Action.CATEGORY_DELETED, category_id, before=_details(before))


def _lock(session: Session) -> Tree:
    repository.lock_tree(session)
    return _tree(session)


def _tree(session: Session) -> Tree:
    """Every category by its id, in the order of their names."""
    nodes = {row.id: CategoryNode(**row._mapping) for row in repository.list_categories(session)}
    for node in nodes.values():
        if node.parent_id in nodes:
            nodes[node.parent_id].children.append(node)
    return nodes


def _node(tree: Tree, category_id: UUID) -> CategoryNode:
    if category_id not in tree:
        raise NotFound("There is no such category.")
    return tree[category_id]


def _check_move(tree: Tree, node: CategoryNode, parent_id: UUID | None) -> None:
    """Refuse a new parent that is below the category, or too deep for it."""
    if parent_id == node.parent_id:
        return
    if parent_id in {each.id for each in node.subtree()}:
        message = "A category cannot be below itself."
        raise Conflict(message, details=[Problem("parent_id", message, "circle")])
    _check_depth(tree, parent_id, height=node.height)


def _check_depth(tree: Tree, parent_id: UUID | None, *, height: int) -> None:
    """Refuse to hang so many levels below a category, where that is too deep, or where there is none."""
    depth = 0
    while parent_id is not None:
        if parent_id not in tree:
            raise repository.unknown_parent()
        depth, parent_id = depth + 1, tree[parent_id].parent_id
    if depth + height > MAX_DEPTH:
        message = f"Categories are at most {MAX_DEPTH} levels deep."
        raise Conflict(message, details=[Problem("parent_id", message, "too_deep")])


def _details(node: CategoryNode) -> dict[str, str | None]:
    return _as_details({"name": node.name, "parent_id": node.parent_id})


def _as_details(values: Mapping[str, Any]) -> dict[str, str | None]:
    return {name: None if value is None else str(value) for name, value in values.items()}

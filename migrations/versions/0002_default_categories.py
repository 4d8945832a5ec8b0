"""The default categories, a tree of two levels.

Revision ID: 0002
Revises: 0001
"""

from uuid import UUID, uuid5

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

DEFAULT_CATEGORIES = {
    "Tools": ("Power tools", "Hand tools", "Ladders & scaffolding", "Measuring & surveying"),
    "Construction": ("Excavators", "Compactors", "Concrete & masonry", "Generators", "Lifting"),
    "Garden": ("Mowers", "Chainsaws", "Hedge trimmers", "Chippers & shredders"),
    "Photo & Video": ("Cameras", "Lenses", "Lighting", "Drones", "Tripods & gimbals"),
    "Audio & Stage": ("Speakers", "Microphones", "Mixers & DJ", "Stage lighting"),
    "Camping & Hiking": ("Tents", "Backpacks", "Cooking gear", "Sleeping gear"),
    "Water Sports": ("Kayaks & canoes", "Paddleboards", "Surfing", "Diving"),
    "Winter Sports": ("Skis", "Snowboards", "Snowshoes"),
    "Cycling": ("City bikes", "Mountain bikes", "E-bikes", "Cargo bikes"),
    "Party & Events": ("Party tents", "Tables & chairs", "Inflatables", "Catering"),
    "Cleaning": ("Pressure washers", "Carpet cleaners", "Floor machines"),
    "Transport": ("Trailers", "Roof boxes", "Hand trucks"),
}
# Identifiers made from the names are the same in every installation, so links to a category can be shared.
NAMESPACE = UUID("6d2f3c0e-1a54-4c57-9f0f-6a7cf1f1a0de")

categories = sa.table(
    "categories", sa.column("id", sa.Uuid), sa.column("name", sa.String), sa.column("parent_id", sa.Uuid)
)


def _rows() -> list[dict[str, object]]:
    roots: list[dict[str, object]] = []
    children: list[dict[str, object]] = []
    for root, names in DEFAULT_CATEGORIES.items():
        root_id = uuid5(NAMESPACE, root)
        roots.append({"id": root_id, "name": root, "parent_id": None})
        children += [{"id": uuid5(NAMESPACE, f"{root}/{name}"), "name": name, "parent_id": root_id} for name in names]
    return roots + children


def upgrade() -> None:
    op.bulk_insert(categories, _rows())


def downgrade() -> None:
    # Children first, for their parents' sake; one that is in use stops the downgrade rather than take listings along.
    for row in reversed(_rows()):
        op.execute(categories.delete().where(categories.c.id == row["id"]))

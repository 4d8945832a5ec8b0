"""What takes a look at every user and identity, in ways that let others read and write meanwhile.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # PostgreSQL, "CREATE INDEX": built concurrently it cannot be part of a transaction, and one that was interrupted
    # is left behind, of no use. Each of these can be done again.
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_users_admins")
        op.create_index(
            "ix_users_admins",
            "users",
            ["id"],
            postgresql_where=sa.text("role = 'admin'"),
            postgresql_concurrently=True,
        )
        op.execute("ALTER TABLE identities VALIDATE CONSTRAINT fk_identities_user_id")


def downgrade() -> None:
    op.drop_index("ix_users_admins", "users")

"""The index of login attempts by slot, which nothing reads any more.

The column stays for one release: the release before this one reads it.

Revision ID: 0010
Revises: 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Concurrently, so outside of a transaction: it can be repeated.
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_login_attempts_failing")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_login_attempts_failing")
        op.create_index(
            "ix_login_attempts_failing",
            "login_attempts",
            ["slot", "expires_at"],
            postgresql_where=sa.text("succeeded_at IS NULL"),
            postgresql_concurrently=True,
        )

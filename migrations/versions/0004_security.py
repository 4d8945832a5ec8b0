"""Login attempts, the audit log, and identities that outlive their users.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "login_attempts",
        sa.Column("account", sa.LargeBinary(length=32), nullable=False),
        sa.Column("address", sa.String(length=45), nullable=False),
        sa.Column("attempts", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("failures", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("counted_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("blocked_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("succeeded_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("slot", sa.SmallInteger(), server_default=sa.text("floor(random() * 256)"), nullable=False),
        sa.CheckConstraint("failures >= 0 AND attempts >= failures", name=op.f("ck_login_attempts_counts")),
        sa.PrimaryKeyConstraint("account", "address", name="pk_login_attempts"),
    )
    op.create_index("ix_login_attempts_expires_at", "login_attempts", ["expires_at"])
    op.create_index(
        "ix_login_attempts_failing",
        "login_attempts",
        ["slot", "expires_at"],
        postgresql_where=sa.text("succeeded_at IS NULL"),
    )
    op.create_index(
        "ix_login_attempts_familiar",
        "login_attempts",
        ["account", "succeeded_at"],
        postgresql_where=sa.text("succeeded_at IS NOT NULL"),
    )
    op.create_table(
        "audit_log",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("before", JSONB(), nullable=True),
        sa.Column("after", JSONB(), nullable=True),
        sa.Column("request_id", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_audit_log"),
    )
    # Last, and without a look at the rows (0005 has that), as these keep everybody from both tables.
    op.alter_column("identities", "user_id", nullable=True)
    op.drop_constraint("fk_identities_user_id", "identities", type_="foreignkey")
    op.create_foreign_key(
        "fk_identities_user_id",
        "identities",
        "users",
        ["user_id"],
        ["id"],
        ondelete="SET NULL",
        postgresql_not_valid=True,
    )


def downgrade() -> None:
    # Identities of deleted users cannot be kept without this revision: their tokens would make them anew.
    op.execute("DELETE FROM identities WHERE user_id IS NULL")
    op.drop_constraint("fk_identities_user_id", "identities", type_="foreignkey")
    op.create_foreign_key("fk_identities_user_id", "identities", "users", ["user_id"], ["id"], ondelete="CASCADE")
    op.alter_column("identities", "user_id", nullable=False)
    op.drop_table("audit_log")
    op.drop_table("login_attempts")

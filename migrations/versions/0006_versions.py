"""A version of each row that can be edited, counted by the database, so that a change which nobody saw is noticed.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TABLES = ("users", "owner_profiles", "renter_profiles", "equipment")
# Each is an event, and which of its rows name listings that show something else now.
PHOTO_CHANGES = (
    ("insert", "INSERT", "NEW"),
    ("delete", "DELETE", "OLD"),
    ("from", "UPDATE", "OLD"),
    ("to", "UPDATE", "NEW"),
)


def upgrade() -> None:
    # A constant default rewrites no row, so each table is locked for a moment only.
    for table in TABLES:
        op.add_column(table, sa.Column("version", sa.BigInteger(), server_default=sa.text("1"), nullable=False))
    op.execute(
        """
        CREATE FUNCTION next_version() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            NEW.version := OLD.version + 1;
            RETURN NEW;
        END
        $$
        """
    )
    for table in TABLES:
        op.execute(
            f"CREATE TRIGGER tr_{table}_version BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION next_version()"
        )
    # A listing that this very transaction has written has a version already that nobody else has seen: to fill the
    # tables costs no second write of each. The path is the migration's: a restore of the data alone runs without one.
    op.execute(
        """
        CREATE FUNCTION photos_changed() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
        BEGIN
            UPDATE equipment SET updated_at = now()
            WHERE id IN (SELECT equipment_id FROM changed) AND xmin <> pg_current_xact_id()::xid;
            RETURN NULL;
        END
        $$
        """
    )
    for name, event, rows in PHOTO_CHANGES:
        op.execute(
            f"CREATE TRIGGER tr_equipment_photos_{name} AFTER {event} ON equipment_photos "
            f"REFERENCING {rows} TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION photos_changed()"
        )


def downgrade() -> None:
    for name, _, _ in PHOTO_CHANGES:
        op.execute(f"DROP TRIGGER tr_equipment_photos_{name} ON equipment_photos")
    op.execute("DROP FUNCTION photos_changed()")
    for table in TABLES:
        op.execute(f"DROP TRIGGER tr_{table}_version ON {table}")
    op.execute("DROP FUNCTION next_version()")
    for table in TABLES:
        op.drop_column(table, "version")

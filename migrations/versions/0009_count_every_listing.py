"""The listings that were there before changes were counted.

Revision ID: 0009
Revises: 0008
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # One statement sees one moment: the listings of it, and what was counted by then. What comes later counts itself.
    op.execute(
        """
        INSERT INTO equipment_tally (category_id, is_available, listings)
        SELECT category_id, is_available, sum(listings)
        FROM (
            SELECT category_id, is_available, count(*) AS listings FROM equipment GROUP BY category_id, is_available
            UNION ALL
            SELECT category_id, is_available, -listings FROM equipment_tally
        ) AS uncounted
        GROUP BY category_id, is_available HAVING sum(listings) <> 0
        """
    )
    # A restore of the data alone brings the tally of a database whose listings it brings, too, and those are counted
    # as they come. (One of everything makes its triggers last, and one that disables triggers disables them all.)
    op.execute(
        """
        CREATE FUNCTION counted_already() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RETURN NULL;
        END
        $$
        """
    )
    op.execute(
        "CREATE TRIGGER tr_equipment_tally_restored BEFORE INSERT ON equipment_tally FOR EACH ROW "
        "WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION counted_already()"
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER tr_equipment_tally_restored ON equipment_tally")
    op.execute("DROP FUNCTION counted_already()")

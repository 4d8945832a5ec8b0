"""How many listings there are, kept by the database with each change, so that nobody has to count them.

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# Each is an event, and what its trigger calls the rows that it has made, and those that it has ended.
CHANGES = (
    ("INSERT", "REFERENCING NEW TABLE AS added"),
    ("DELETE", "REFERENCING OLD TABLE AS removed"),
    ("UPDATE", "REFERENCING NEW TABLE AS added OLD TABLE AS removed"),
    ("TRUNCATE", ""),
)


def upgrade() -> None:
    # Several rows may be of one kind: their sum counts. Half of each page is left for the versions of its rows, whose
    # indexed columns never change, so that no index grows with them.
    op.create_table(
        "equipment_tally",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("category_id", sa.Uuid(), nullable=False),
        sa.Column("is_available", sa.Boolean(), nullable=False),
        sa.Column("listings", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["category_id"], ["categories.id"], name="fk_equipment_tally_category_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_equipment_tally"),
        postgresql_with={"fillfactor": 50},
    )
    op.create_index("ix_equipment_tally_kind", "equipment_tally", ["category_id", "is_available"])
    # Nobody waits for anybody here: a row that another transaction is at is passed over, and where all are taken, there
    # is one more. So a kind has about as many rows as transactions have ever changed it at once: few.
    op.execute(
        """
        CREATE FUNCTION tally_listings(kind uuid, availability boolean, difference bigint) RETURNS void
        LANGUAGE plpgsql AS $$
        DECLARE
            free bigint;
        BEGIN
            SELECT id INTO free FROM equipment_tally
            WHERE category_id = kind AND is_available = availability
            LIMIT 1 FOR UPDATE SKIP LOCKED;
            IF found THEN
                UPDATE equipment_tally SET listings = listings + difference WHERE id = free;
            ELSE
                INSERT INTO equipment_tally (category_id, is_available, listings)
                VALUES (kind, availability, difference);
            END IF;
        END
        $$
        """
    )
    # The path is the migration's: a restore of the data alone runs without one.
    op.execute(
        """
        CREATE FUNCTION equipment_changed() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
        BEGIN
            IF TG_OP = 'INSERT' THEN
                PERFORM tally_listings(category_id, is_available, count(*))
                FROM added GROUP BY category_id, is_available;
            ELSIF TG_OP = 'DELETE' THEN
                PERFORM tally_listings(category_id, is_available, -count(*))
                FROM removed GROUP BY category_id, is_available;
            ELSIF TG_OP = 'UPDATE' THEN
                PERFORM tally_listings(category_id, is_available, sum(change))
                FROM (
                    SELECT category_id, is_available, 1 AS change FROM added
                    UNION ALL
                    SELECT category_id, is_available, -1 FROM removed
                ) AS changes
                GROUP BY category_id, is_available HAVING sum(change) <> 0;
            ELSE
                DELETE FROM equipment_tally;  -- whoever truncates waits for all writers, so none is at any row
            END IF;
            RETURN NULL;
        END
        $$
        """
    )
    # From here on every change is counted. What was there before, the next revision counts, without this lock.
    for event, rows in CHANGES:
        op.execute(
            f"CREATE TRIGGER tr_equipment_tally_{event.lower()} AFTER {event} ON equipment {rows} "
            "FOR EACH STATEMENT EXECUTE FUNCTION equipment_changed()"
        )


def downgrade() -> None:
    for event, _ in CHANGES:
        op.execute(f"DROP TRIGGER tr_equipment_tally_{event.lower()} ON equipment")
    op.execute("DROP FUNCTION equipment_changed()")
    op.execute("DROP FUNCTION tally_listings(uuid, boolean, bigint)")
    op.drop_table("equipment_tally")

"""The marketplace: users, their identities and profiles, categories, equipment and its photos.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op
from geoalchemy2 import Geography
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


EXTENSIONS = ("postgis", "citext", "unaccent")
# Words are compared without accents (Zürich, zurich); once stemmed as English, once as they are written.
PUNCTUATION = "[!-/:-@[-`{-~]"
SEARCH_CONFIGURATIONS = {"gearyard_english": "english_stem", "gearyard_simple": "simple"}


def _search_vector() -> str:
    # Punctuation counts as a space: PostgreSQL's parser would take Canoe/kayak for a file and <50 mm> for a tag.
    return " || ".join(
        f"setweight(to_tsvector('{name}'::regconfig, {_words_only(field)}), '{weight}')"
        for field, weight in (("title", "A"), ("location", "B"), ("description", "C"))
        for name in SEARCH_CONFIGURATIONS
    )


def _words_only(field: str) -> str:
    return f"regexp_replace({field}, '{PUNCTUATION}', ' ', 'g')"


def upgrade() -> None:
    for extension in EXTENSIONS:
        op.execute(f"CREATE EXTENSION IF NOT EXISTS {extension}")
    for name, dictionary in SEARCH_CONFIGURATIONS.items():
        op.execute(f"CREATE TEXT SEARCH CONFIGURATION {name} (COPY = {dictionary.removesuffix('_stem')})")
        op.execute(
            f"ALTER TEXT SEARCH CONFIGURATION {name}"
            f" ALTER MAPPING FOR hword, hword_part, word WITH unaccent, {dictionary}"
        )
    op.create_table(
        "categories",
        sa.Column("name", postgresql.CITEXT(), nullable=False),
        sa.Column("parent_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.CheckConstraint("length(name) BETWEEN 2 AND 100", name=op.f("ck_categories_name_length")),
        sa.CheckConstraint("parent_id <> id", name=op.f("ck_categories_not_its_own_parent")),
        sa.ForeignKeyConstraint(["parent_id"], ["categories.id"], name="fk_categories_parent_id", ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("id", name="pk_categories"),
        sa.UniqueConstraint("parent_id", "name", name="uq_categories_parent_id_name"),
    )
    op.create_index(
        "uq_categories_root_name", "categories", ["name"], unique=True, postgresql_where=sa.text("parent_id IS NULL")
    )
    op.create_table(
        "users",
        sa.Column("email", postgresql.CITEXT(), nullable=True),
        sa.Column("email_verified", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "role", sa.Enum("renter", "owner", "admin", name="user_role"), server_default="renter", nullable=False
        ),
        sa.Column(
            "username",
            postgresql.CITEXT(),
            server_default=sa.text("'user-' || left(translate(gen_random_uuid()::text, '-', ''), 12)"),
            nullable=False,
        ),
        sa.Column("full_name", sa.String(length=200), nullable=True),
        sa.Column("avatar_url", sa.String(), nullable=True),
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "starts_with(avatar_url, 'https://') AND length(avatar_url) <= 2048", name=op.f("ck_users_avatar_url_https")
        ),
        sa.CheckConstraint("NOT email_verified OR email IS NOT NULL", name=op.f("ck_users_verified_email_present")),
        sa.CheckConstraint("length(username) BETWEEN 3 AND 50", name=op.f("ck_users_username_length")),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("username", name="uq_users_username"),
    )
    op.create_index(
        "uq_users_verified_email", "users", ["email"], unique=True, postgresql_where=sa.text("email_verified")
    )
    op.create_geospatial_table(
        "equipment",
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("category_id", sa.Uuid(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("daily_rate", sa.Numeric(precision=10, scale=2), nullable=False),
        sa.Column("condition", sa.Enum("new", "excellent", "good", "fair", name="equipment_condition"), nullable=False),
        sa.Column("location", sa.String(), nullable=False),
        sa.Column(
            "coordinates",
            Geography(
                geometry_type="POINT",
                srid=4326,
                dimension=2,
                spatial_index=False,
                from_text="ST_GeogFromText",
                name="geography",
            ),
            nullable=True,
        ),
        sa.Column("is_available", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column(
            "search",
            postgresql.TSVECTOR(),
            sa.Computed(_search_vector(), persisted=True),
            nullable=False,
        ),
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("daily_rate > 0", name=op.f("ck_equipment_daily_rate_positive")),
        sa.CheckConstraint("length(description) BETWEEN 10 AND 10000", name=op.f("ck_equipment_description_length")),
        sa.CheckConstraint("length(location) BETWEEN 2 AND 255", name=op.f("ck_equipment_location_length")),
        sa.CheckConstraint("length(title) BETWEEN 3 AND 200", name=op.f("ck_equipment_title_length")),
        sa.ForeignKeyConstraint(
            ["category_id"], ["categories.id"], name="fk_equipment_category_id", ondelete="RESTRICT"
        ),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name="fk_equipment_owner_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_equipment"),
    )
    op.create_index(
        "ix_equipment_category_newest",
        "equipment",
        ["category_id", sa.literal_column("created_at DESC"), "id"],
        unique=False,
    )
    op.create_geospatial_index(
        "ix_equipment_coordinates",
        "equipment",
        ["coordinates"],
        unique=False,
        postgresql_using="gist",
        postgresql_ops={},
    )
    op.create_index("ix_equipment_daily_rate", "equipment", ["daily_rate", "id"], unique=False)
    op.create_index(
        "ix_equipment_lng_lat",
        "equipment",
        [sa.literal_column("(coordinates::geometry)")],
        unique=False,
        postgresql_using="gist",
    )
    op.create_index("ix_equipment_newest", "equipment", [sa.literal_column("created_at DESC"), "id"], unique=False)
    op.create_index(
        "ix_equipment_owner_newest", "equipment", ["owner_id", sa.literal_column("created_at DESC"), "id"], unique=False
    )
    op.create_index("ix_equipment_search", "equipment", ["search"], unique=False, postgresql_using="gin")
    op.create_table(
        "identities",
        sa.Column("issuer", sa.String(length=255), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_identities_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("issuer", "subject", name="pk_identities"),
    )
    op.create_index("ix_identities_user_id", "identities", ["user_id"], unique=False)
    op.create_table(
        "owner_profiles",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column(
            "business_info", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_owner_profiles_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", name="pk_owner_profiles"),
    )
    op.create_table(
        "renter_profiles",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column(
            "preferences", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column("experience_level", sa.String(length=50), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_renter_profiles_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", name="pk_renter_profiles"),
    )
    op.create_table(
        "equipment_photos",
        sa.Column("equipment_id", sa.Uuid(), nullable=False),
        sa.Column("photo_url", sa.String(), nullable=False),
        sa.Column("is_primary", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("order_index", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.CheckConstraint(
            "starts_with(photo_url, 'https://') AND length(photo_url) <= 2048",
            name=op.f("ck_equipment_photos_photo_url_https"),
        ),
        sa.ForeignKeyConstraint(
            ["equipment_id"], ["equipment.id"], name="fk_equipment_photos_equipment_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_equipment_photos"),
        sa.UniqueConstraint("equipment_id", "order_index", name="uq_equipment_photos_equipment_id_order_index"),
    )
    op.create_index(
        "uq_equipment_photos_primary",
        "equipment_photos",
        ["equipment_id"],
        unique=True,
        postgresql_where=sa.text("is_primary"),
    )


def downgrade() -> None:
    op.drop_index("uq_equipment_photos_primary", table_name="equipment_photos", postgresql_where=sa.text("is_primary"))
    op.drop_table("equipment_photos")
    op.drop_table("renter_profiles")
    op.drop_table("owner_profiles")
    op.drop_index("ix_identities_user_id", table_name="identities")
    op.drop_table("identities")
    op.drop_index("ix_equipment_search", table_name="equipment", postgresql_using="gin")
    op.drop_index("ix_equipment_owner_newest", table_name="equipment")
    op.drop_index("ix_equipment_newest", table_name="equipment")
    op.drop_index("ix_equipment_lng_lat", table_name="equipment", postgresql_using="gist")
    op.drop_index("ix_equipment_daily_rate", table_name="equipment")
    op.drop_geospatial_index(
        "ix_equipment_coordinates", table_name="equipment", postgresql_using="gist", column_name="coordinates"
    )
    op.drop_index("ix_equipment_category_newest", table_name="equipment")
    op.drop_geospatial_table("equipment")
    op.drop_index("uq_users_verified_email", table_name="users", postgresql_where=sa.text("email_verified"))
    op.drop_table("users")
    op.drop_index("uq_categories_root_name", table_name="categories", postgresql_where=sa.text("parent_id IS NULL"))
    op.drop_table("categories")
    for enum in ("equipment_condition", "user_role"):
        op.execute(f"DROP TYPE {enum}")
    for name in SEARCH_CONFIGURATIONS:
        op.execute(f"DROP TEXT SEARCH CONFIGURATION {name}")
    # The extensions stay: others in this database may use them, and creating them again is a no-op.

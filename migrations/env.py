"""Alembic's entry: migrates the database that `DATABASE_URL` names."""

from alembic import context
from geoalchemy2 import alembic_helpers
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from app.models import Base
from app.settings import database_url


def run() -> None:
    """Run the migrations that the command asks for, in one transaction."""
    engine = create_engine(database_url(), poolclass=NullPool)
    with engine.connect() as connection:
        # The helpers know PostGIS's own tables; without them autogenerate proposes to drop spatial_ref_sys.
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            include_object=alembic_helpers.include_object,
            process_revision_directives=alembic_helpers.writer,
            render_item=alembic_helpers.render_item,
        )
        with context.begin_transaction():
            context.run_migrations()


run()

"""`make lint`'s check that the migrations, run on an empty database, make exactly the tables of the models."""

import os
import sys
from pathlib import Path

from deploy.local.disposable import disposable_cluster
from deploy.local.plan import python
from deploy.local.processes import ROOT, LocalError, run_to_end

DATABASE = "migrations"
DIRECTORY = ROOT / ".local" / "lint"
CHECK_SECONDS = 300


def main() -> int:
    """Upgrade to head, then compare; the exit code."""
    try:
        with disposable_cluster(DIRECTORY) as cluster:
            cluster.drop_database(DATABASE)
            cluster.create_database(DATABASE)
            environment = os.environ | {"DATABASE_URL": cluster.url(DATABASE)}
            _alembic(environment, cluster.log.parent, "upgrade", "head")
            _alembic(environment, cluster.log.parent, "check")
    except LocalError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write("The migrations make the tables of the models.\n")
    return 0


def _alembic(environment: dict[str, str], logs: Path, *command: str) -> None:
    run_to_end(
        python("-m", "alembic", "-c", "migrations/alembic.ini", *command),
        what=f"alembic {command[0]}",
        log=logs / f"alembic-{command[0]}.log",
        timeout_seconds=CHECK_SECONDS,
        env=environment,
    )


if __name__ == "__main__":
    sys.exit(main())

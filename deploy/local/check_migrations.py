"""`make lint`'s check of the migrations: they make exactly the tables of the models, and none keeps others waiting.

The second by squawk, which knows what locks a statement takes, and which of them it keeps while it looks at every row.
"""

import os
import subprocess
import sys
from pathlib import Path

from alembic.script import Script, ScriptDirectory

from deploy.local.disposable import disposable_cluster
from deploy.local.plan import python
from deploy.local.processes import ROOT, LocalError, run_to_end

DATABASE = "migrations"
DIRECTORY = ROOT / ".local" / "lint"
CHECK_SECONDS = 300
SQUAWK = Path(sys.executable).with_name("squawk")
# Rules that are about something else than locks, or about what migrations/env.py does for all of them.
NOT_ASKED = (
    "ban-drop-constraint",
    "ban-drop-not-null",
    "prefer-bigint-over-int",
    "prefer-bigint-over-smallint",
    "prefer-robust-stmts",  # a revision is a transaction; where one cannot be, it says so
    "prefer-text-field",
    "require-lock-timeout",  # env.py sets it
    "require-statement-timeout",  # no statement keeps a lock for long, and some take long without one
)


def main() -> int:
    """Upgrade to head, then compare; the exit code."""
    try:
        with disposable_cluster(DIRECTORY) as cluster:
            cluster.drop_database(DATABASE)
            cluster.create_database(DATABASE)
            environment = os.environ | {"DATABASE_URL": cluster.url(DATABASE)}
            _alembic(environment, cluster.log.parent, "upgrade", "head")
            _alembic(environment, cluster.log.parent, "check")
        for revision in ScriptDirectory(str(ROOT / "migrations")).walk_revisions():
            _check_locks(revision)
    except LocalError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write("The migrations make the tables of the models, and keep nobody waiting.\n")
    return 0


def _check_locks(revision: Script) -> None:
    """Raise LocalError where a revision takes a lock that keeps others waiting."""
    of_this = f"{revision.down_revision or 'base'}:{revision.revision}"
    statements = DIRECTORY / f"{revision.revision}.sql"
    statements.write_bytes(_output("-m", "alembic", "-c", "migrations/alembic.ini", "upgrade", of_this, "--sql"))
    run_to_end(
        [SQUAWK, "--exclude", ",".join(NOT_ASKED), statements],
        what=f"squawk, on revision {revision.revision},",
        log=DIRECTORY / "squawk.log",
        timeout_seconds=CHECK_SECONDS,
        env=os.environ,
    )


def _output(*command: str) -> bytes:
    try:
        return subprocess.run(  # noqa: S603
            python(*command), cwd=ROOT, capture_output=True, timeout=CHECK_SECONDS, check=True
        ).stdout
    except subprocess.CalledProcessError as error:
        raise LocalError(f"{' '.join(command)} failed. {error.stderr.decode(errors='replace')}") from error


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

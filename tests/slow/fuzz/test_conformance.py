"""The running service keeps to its description, whoever asks: judged by Schemathesis, with all of its checks."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine

from app import database
from app.models import Role
from tests.support.processes.service import ServiceProcess
from tests.support.processes.tenant import TenantProcess
from tests.support.rows import add_person

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
EXAMPLES = 2  # of each operation, in each phase that makes them up
RUN_SECONDS = 300


@pytest.fixture(scope="module")
def database_url(database_url_factory: Callable[[], str]) -> str:
    """A database of the service's own."""
    return database_url_factory()


@pytest.fixture(scope="module")
def service(database_url: str, tenant: TenantProcess) -> Iterator[ServiceProcess]:
    """The service as production runs it."""
    with ServiceProcess({"DATABASE_URL": database_url, **tenant.env()}) as running:
        yield running


@pytest.fixture(scope="module")
def tokens(database_url: str, tenant: TenantProcess, engine: Engine) -> dict[str, str]:
    """A token of somebody in each role, there."""
    there = create_engine(database_url.replace("postgresql://", "postgresql+psycopg2://"))
    database.use(there)
    try:
        found = {role.value: add_person(tenant, role).token for role in Role}
    finally:
        database.use(engine, join_transaction_mode="conditional_savepoint")
        there.dispose()
    return found


@pytest.mark.attack("fuzz")
@pytest.mark.parametrize("who", ["nobody", *(role.value for role in Role)])
def test_all_checks_pass(service: ServiceProcess, tokens: dict[str, str], tmp_path: Path, who: str) -> None:
    """Examples, boundaries, made-up requests and chains of them, of right and of wrong data; the same in every run."""
    headers = [] if who == "nobody" else ["--header", f"Authorization: Bearer {tokens[who]}"]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIGURATION), "run"),
            *(service.url("/openapi.json"), "--checks", "all", "--max-examples", str(EXAMPLES), "--seed", "1"),
            *("--workers", "1", "--continue-on-failure", "--no-shrink", "--no-color", "--warnings", "off"),
            *("--generation-database", "none", *headers),
        ],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]
    operations = re.search(r"Selected: (\d+)/(\d+)\n  Tested: (\d+)", done.stdout)
    assert operations is not None, done.stdout
    assert len(set(operations.groups())) == 1, "each operation is tried"

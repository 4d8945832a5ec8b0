"""The running service keeps to its description, whoever asks: judged by Schemathesis, with all of its checks."""

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import run
from tests.support.processes.service import ServiceProcess
from tests.support.processes.tenant import TenantProcess
from tests.support.users import new_user

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
EXAMPLES = 2  # of each operation, in each phase that makes them up
RUN_SECONDS = 300


@pytest.fixture
def admin_token(service: ServiceProcess, tenant: TenantProcess, sql: Callable[..., Any]) -> str:
    """An admin may use every route."""
    admin = new_user(service, tenant)
    sql("UPDATE users SET role = 'admin' WHERE id = %s", admin.id)
    return admin.token


@pytest.mark.attack("fuzz")
@pytest.mark.parametrize("who", ["nobody", "admin"])
def test_all_checks_pass(service: ServiceProcess, admin_token: str, tmp_path: Path, who: str) -> None:
    """Examples, boundaries, made-up requests and chains of them, of right and of wrong data; the same in every run."""
    headers = [] if who == "nobody" else ["--header", f"Authorization: Bearer {admin_token}"]
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIGURATION), "run"),
        *(service.url("/openapi.json"), "--checks", "all", "--max-examples", str(EXAMPLES), "--seed", "1"),
        *("--workers", "1", "--continue-on-failure", "--no-shrink", "--no-color", "--warnings", "off"),
        *("--generation-database", "none", *headers),
    ]
    done = run(*command, env={"PATH": os.environ["PATH"]}, cwd=tmp_path, timeout=RUN_SECONDS)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]
    operations = re.search(r"Selected: (\d+)/(\d+)\n  Tested: (\d+)", done.stdout)
    assert operations is not None, done.stdout
    assert len(set(operations.groups())) == 1, "each operation is tried"

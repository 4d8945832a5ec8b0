"""A typed client of `/openapi.json` compiles under `strict` and works; `/asyncapi.json` is valid AsyncAPI."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from tests.slow.browser.page import logged_in
from tests.support import ROOT, processes
from tests.support.processes.service import ServiceProcess
from tests.support.processes.tenant import PASSWORD, TenantProcess

HERE = Path(__file__).with_name("typescript")
CACHE = ROOT / ".local" / "npm"
PROJECT = (".npmrc", "client.ts", "package.json", "package-lock.json", "tsconfig.json")
NPM_SECONDS = 300
NODE_SECONDS = 120
EMAIL = "typed@example.com"

pytestmark = pytest.mark.skipif(
    shutil.which("npm") is None or shutil.which("node") is None, reason="npm and node are not installed"
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with its packages, in a place of its own."""
    directory = tmp_path_factory.mktemp("typescript")
    for name in PROJECT:
        shutil.copy(HERE / name, directory)
    run(directory, "npm", "ci", "--no-progress", timeout=NPM_SECONDS)
    return directory


@pytest.fixture(scope="module")
def owner(service: ServiceProcess, tenant: TenantProcess) -> dict[str, str]:
    """The environment of the client: the service, and the credentials of an owner."""
    tenant.add_user(EMAIL)
    logged_in(service, EMAIL, PASSWORD).become_owner()
    return {"SERVICE": service.url(""), "EMAIL": EMAIL, "PASSWORD": PASSWORD}


def run(
    directory: Path, *command: str, timeout: float = NODE_SECONDS, environment: Mapping[str, str] | None = None
) -> str:
    """Run it to its end, with the cache inside the checkout; what it printed."""
    variables = {**os.environ, "npm_config_cache": str(CACHE), **(environment or {})}
    done = processes.run(*command, env=variables, cwd=directory, timeout=timeout)
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def typed(project: Path, service: ServiceProcess) -> Path:
    """The project with the types of the service as it runs."""
    (project / "openapi.json").write_text(service.request("GET", "/openapi.json").text)
    run(project, "node_modules/.bin/openapi-typescript", "openapi.json", "--output", "schema.ts")
    return project


def test_a_typed_client_compiles_and_does_its_job(typed: Path, owner: dict[str, str]) -> None:
    run(typed, "node_modules/.bin/tsc", "--outDir", "built")
    printed = run(typed, "node", "built/client.js", environment=owner)
    answer: dict[str, Any] = json.loads(printed.splitlines()[-1])

    assert answer.pop("created") == answer.pop("nearest")
    assert answer == {
        "email": EMAIL,
        "role": "owner",
        "rate": "38.50",
        "latitude": -43.603,
        "isNear": True,
        "total": 1,
        "refused": "VALIDATION_ERROR",
        "explained": "title",
        "missing": "NOT_FOUND",
        "missingStatus": 404,
    }


MISTAKES = (
    'await api.GET("/api/v1/equipments");',
    'await api.GET("/api/v1/equipment", { params: { query: { limit: "ten" } } });',
    'await api.GET("/api/v1/equipment", { params: { query: { condition: "broken" } } });',
    'await api.GET("/api/v1/equipment/{equipment_id}");',
    'await api.POST("/api/v1/equipment", { body: { ...listing, condition: "broken" } });',
    'await api.POST("/api/v1/equipment", { body: { title: listing.title } });',
    "const amount: number = created.daily_rate; console.log(amount);",
    "const name: string = me.full_name; console.log(name);",
    'if (me.role === "boss") console.log(me);',
    "console.log(created.colour);",
)


def test_the_types_see_what_the_service_would_refuse(typed: Path) -> None:
    """Each line is wrong; one that the compiler let through would be an error of its own (TS2578)."""
    wrong = "".join(f"// @ts-expect-error\n{mistake}\n" for mistake in MISTAKES)
    (typed / "mistakes.ts").write_text((typed / "client.ts").read_text() + wrong)
    config = json.loads((typed / "tsconfig.json").read_text()) | {"files": ["mistakes.ts"]}
    (typed / "mistakes.json").write_text(json.dumps(config))
    run(typed, "node_modules/.bin/tsc", "--noEmit", "--project", "mistakes.json")


def test_the_lock_file_names_no_registry() -> None:
    packages = json.loads((HERE / "package-lock.json").read_text())["packages"]
    assert packages
    assert not [name for name, package in packages.items() if "resolved" in package]
    assert all("integrity" in package for name, package in packages.items() if name)


def test_the_socket_s_description_is_an_asyncapi_document(project: Path, service: ServiceProcess) -> None:
    # By the schema that AsyncAPI's makers publish, which comes as a package of npm's.
    schema = json.loads((project / "node_modules/@asyncapi/specs/schemas/3.0.0.json").read_text())
    described = service.request("GET", "/asyncapi.json").json()
    assert described["asyncapi"] == "3.0.0"
    problems = [problem.message for problem in Draft7Validator(schema).iter_errors(described)]
    assert problems == []
    assert list(Draft7Validator(schema).iter_errors({**described, "operations": {"wrong": {"action": "shout"}}}))

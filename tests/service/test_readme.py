"""The README's lines work as they are printed."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import ROOT
from tests.support.processes import run
from tests.support.processes.service import ServiceProcess
from tests.support.processes.tenant import TenantProcess

README = (ROOT / "README.md").read_text()
ELIDED = "…"


@pytest.fixture(scope="module")
def tenant() -> Iterator[TenantProcess]:
    """A tenant of its own, where nobody has signed up yet."""
    with TenantProcess() as running:
        yield running


def matches(shown: Any, real: Any) -> bool:
    """Equal, but for what the README elides."""
    if shown == ELIDED:
        return isinstance(real, str)
    if isinstance(shown, dict) and isinstance(real, dict):
        return shown.keys() == real.keys() and all(matches(shown[name], real[name]) for name in shown)
    if isinstance(shown, list) and isinstance(real, list):
        return len(shown) == len(real) and all(map(matches, shown, real))
    return bool(shown == real)


def test_the_six_lines_give_the_answers_that_are_shown(service: ServiceProcess) -> None:
    block = next(block for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) if "curl" in block)
    shown = [json.loads(line.removeprefix("#> ")) for line in block.splitlines() if line.startswith("#> ")]
    commands = [line for line in block.splitlines() if line and not line.startswith("#> ")]
    script = "\n".join(f"{command}; echo" if command.startswith("curl") else command for command in commands)

    done = run("bash", "-euc", script.replace("http://127.0.0.1:8080", service.url("")).rstrip("/"))
    assert done.returncode == 0, done.stderr

    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(shown) > 0
    for expected, real in zip(shown, answers, strict=True):
        assert matches(expected, real), f"the README shows {expected}, the service answered {real}"


def test_the_settings_table_names_every_setting_of_the_example() -> None:
    example = (ROOT / "deploy/env.example").read_text()
    names = set(re.findall(r"^#? ?([A-Z][A-Z0-9_]+)=", example, re.MULTILINE))
    table = README.partition("| setting |")[2].partition("\n\n")[0]
    assert names == set(re.findall(r"`([A-Z][A-Z0-9_]+)`", table))

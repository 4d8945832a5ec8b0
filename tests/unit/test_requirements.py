"""Every package is pinned to one version and to the hashes of its files, and the files agree."""

import re
from importlib import metadata
from itertools import pairwise

import pytest
from packaging.requirements import Requirement

from tests.support import ROOT

# Each holds the ones before it: an environment of the last will do for all.
FILES = ("requirements.txt", "tests/benchmarks/requirements.txt", "tests/requirements.txt")
_PINNED = re.compile(
    r"([A-Za-z0-9._-]+)==([^\s\\;]+)(?: ; [^\\]+)? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)"
)


def pins(name: str) -> dict[str, str]:
    """The version of each package that `pip` installs from this file."""
    return {canonical(package): version for package, version, _ in _PINNED.findall((ROOT / name).read_text())}


def wanted(name: str) -> dict[str, str]:
    """The version of each package that is asked for by name."""
    lines = (line for line in (ROOT / name).read_text().splitlines() if re.match(r"[A-Za-z]", line))
    return {canonical(package): version for package, _, version in (line.partition("==") for line in lines)}


def canonical(package: str) -> str:
    """A package's name in its one form (PyPA, "Names and normalization")."""
    return re.sub(r"[-_.]+", "-", package).lower()


@pytest.mark.parametrize("name", FILES)
def test_nothing_but_pinned_packages_with_hashes_is_in_a_file(name: str) -> None:
    text = (ROOT / name).read_text()
    rest = [line for line in _PINNED.sub("", text).splitlines() if line.strip() and not line.strip().startswith("#")]
    assert rest == []
    assert len(pins(name)) == len(_PINNED.findall(text)) > 40


@pytest.mark.parametrize(("source", "name"), [(name.replace(".txt", ".in"), name) for name in FILES])
def test_what_was_asked_for_is_what_is_pinned(source: str, name: str) -> None:
    assert wanted(source)
    assert all(wanted(source).values())
    assert wanted(source).items() <= pins(name).items()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("python", ["3.11.0", "3.11.2", "3.11.3", "3.12.0", "3.13.0"])
def test_all_that_a_package_needs_on_a_python_is_pinned(name: str, python: str) -> None:
    # The files are resolved on one Python, and installed on whichever a machine has.
    environment = {"python_full_version": python, "python_version": python.rpartition(".")[0], "extra": ""}
    needed = {
        canonical(needed.name)
        for package in pins(name)
        if is_installed(package)
        for needed in map(Requirement, metadata.requires(package) or [])
        if needed.marker is None or needed.marker.evaluate(environment)
    }
    assert needed - pins(name).keys() == set()


def is_installed(package: str) -> bool:
    """Tell whether it is here: some are for other Pythons only."""
    return bool(list(metadata.distributions(name=package)))


@pytest.mark.parametrize(("fewer", "more"), list(pairwise(FILES)))
def test_tests_and_benchmarks_run_on_what_production_runs_on(fewer: str, more: str) -> None:
    assert pins(fewer).items() <= pins(more).items()


@pytest.mark.parametrize("name", FILES)
def test_no_file_names_where_packages_come_from(name: str) -> None:
    assert "://" not in (ROOT / name).read_text()


def test_the_preparation_accepts_no_package_without_its_hash() -> None:
    assert "--require-hashes" in (ROOT / "deploy/local/bootstrap.sh").read_text()

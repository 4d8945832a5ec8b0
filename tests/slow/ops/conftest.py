"""Fixtures of the tests of operation."""

from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory in which services create those of their metrics."""
    return tmp_path_factory.mktemp("metrics")

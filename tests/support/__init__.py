"""What the tests share: processes, clients, rows, checks."""

from pathlib import Path

ROOT = Path(__file__).parents[2]

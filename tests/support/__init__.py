"""What the tests share: processes, clients, rows, checks."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
# A UUID that no row has; fixed, so that the ids of parametrised tests are the same in every process.
UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"

"""Chance that falls the same way each time: on every machine, with every Python, on every day.

Only `Random.random()` is used of a generator, because its sequence is the one that Python promises never to change.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from random import Random
from typing import TypeVar
from uuid import UUID

# All identifiers of demo data are made from names in this namespace, so a link to a listing works on every machine.
NAMESPACE = UUID("0b7d5c1e-93a6-4d0e-8a53-51c2e6f0d9aa")
# Everything has happened before this day, whatever day it is.
EPOCH = datetime(2026, 6, 1, tzinfo=UTC)

_T = TypeVar("_T")


class Kind(IntEnum):
    """What a number is the number of: owner 7 and listing 7 have nothing to do with each other."""

    OWNER = 0
    LISTING = 1


def seeded(kind: Kind, number: int) -> Random:
    """The chance of one owner or listing, by its number, from 0."""
    return Random(number * len(Kind) + kind)  # noqa: S311 - nothing secret: it must be the same each time


def pick(random: Random, choices: Sequence[_T]) -> _T:
    """One of the choices, each as likely as the others."""
    return choices[int(random.random() * len(choices))]


def moment(random: Random, *, earliest_days: int, latest_days: int = 0) -> datetime:
    """A second between so many days before `EPOCH`."""
    earliest = EPOCH - timedelta(days=earliest_days)
    return earliest + timedelta(seconds=int(random.random() * 86_400 * (earliest_days - latest_days)))

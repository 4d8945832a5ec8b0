"""The data of a benchmark, and the questions asked of it: the same for the same numbers, on every machine.

Listings lie evenly over a rectangle whose area grows with their number. So a circle of one size holds as many of them
among a million as among 20,000, and what a growing table costs is not mixed up with what a longer answer costs.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import NamedTuple
from uuid import UUID, uuid5

from app.demo.catalog import CATALOG
from app.demo.generator import CATEGORY_NAMESPACE, listing

EARTH_RADIUS_KM = 6371.0
CENTRE_LONGITUDE, CENTRE_LATITUDE = 10.0, 47.0

RADIUS_KM = 5.0
HITS = 65  # of a search in that radius, on average
SHARE_WITH_COORDINATES = 0.97
KM2_OF_A_LISTING = math.pi * RADIUS_KM**2 * SHARE_WITH_COORDINATES / HITS
# A search with other filters besides looks farther, for there to be something on its page.
FILTERED_RADIUS_KM = 15.0

MOST_TEXTS = 20_000
OWNERS_OF_TEXTS = 400
LISTINGS_OF_AN_OWNER = 100
FEWEST_OWNERS = 40
MOST_MARGIN = 0.4  # of a box, at each edge
MICRODEGREES = 1_000_000  # the grid that points are drawn from: a decimetre


class Box(NamedTuple):
    """A rectangle in degrees."""

    west: float
    south: float
    east: float
    north: float

    def without_margin(self, kilometres: float) -> "Box":
        """The part of it that is so far from every edge; of a small one, the middle at least."""
        latitude = math.degrees(kilometres / EARTH_RADIUS_KM)
        longitude = latitude / math.cos(math.radians(max(abs(self.south), abs(self.north))))
        longitude = min(longitude, (self.east - self.west) * MOST_MARGIN)
        latitude = min(latitude, (self.north - self.south) * MOST_MARGIN)
        return Box(self.west + longitude, self.south + latitude, self.east - longitude, self.north - latitude)

    def microdegrees(self) -> "Box":
        """Its edges as whole numbers of the grid."""
        return Box(*(round(edge * MICRODEGREES) for edge in self))


class Words(NamedTuple):
    """What is asked for besides a place: words, a root category, a range of prices."""

    q: str
    category_id: UUID
    min_price: int
    max_price: int


class Text(NamedTuple):
    """What a listing says, taken from the demo data; many listings share one."""

    number: int
    category_id: UUID
    title: str
    description: str
    daily_rate: str
    condition: str
    location: str
    is_available: bool


@dataclass(frozen=True)
class Dataset:
    """So many listings, of one to four photos each."""

    listings: int

    @property
    def database(self) -> str:
        return f"listings_{self.listings}"

    @property
    def owners(self) -> int:
        return max(FEWEST_OWNERS, self.listings // LISTINGS_OF_AN_OWNER)

    @cached_property
    def box(self) -> Box:
        """Where the listings are: as high as it is wide at its centre, by Archimedes' theorem on the sphere's area."""
        area = self.listings * KM2_OF_A_LISTING
        middle = math.radians(CENTRE_LATITUDE)
        width = math.sqrt(area) / (EARTH_RADIUS_KM * math.cos(middle))
        rise = area / (EARTH_RADIUS_KM**2 * width) / 2
        south, north = math.asin(math.sin(middle) - rise), math.asin(math.sin(middle) + rise)
        half = math.degrees(width) / 2
        return Box(CENTRE_LONGITUDE - half, math.degrees(south), CENTRE_LONGITUDE + half, math.degrees(north))

    def points(self, number: int, *, away_from_edge_km: float) -> Iterator[tuple[float, float]]:
        """So many random places, longitude and latitude, around each of which it is as full as anywhere."""
        edges = self.box.without_margin(away_from_edge_km).microdegrees()
        random = Random(number)
        for _ in range(number):
            longitude = edges.west + random.random() * (edges.east - edges.west)
            latitude = edges.south + random.random() * (edges.north - edges.south)
            yield int(longitude) / MICRODEGREES, int(latitude) / MICRODEGREES


def texts(listings: int) -> Iterator[Text]:
    for number in range(min(MOST_TEXTS, listings)):
        item = listing(number, owners=OWNERS_OF_TEXTS)
        yield Text(
            number,
            item.category_id,
            item.title,
            item.description,
            item.daily_rate,
            item.condition.value,
            item.location,
            item.is_available,
        )


def words_of_searches() -> list[Words]:
    """One search for each root category: for its first kind of thing, by its last word, at what that costs."""
    firsts = {path.partition("/")[0]: things[0] for path, things in reversed(CATALOG.items())}
    return [
        Words(thing.kind.split()[-1], uuid5(CATEGORY_NAMESPACE, root), thing.low, thing.high)
        for root, thing in sorted(firsts.items())
    ]

"""What the search must find, by brute force in plain Python: no SQL, no PostGIS, no dictionaries of PostgreSQL's.

`WORLD` is a random data set, the same in every run. `found()` goes through all of it for every search.
"""

import random
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache, cached_property
from typing import Any
from uuid import UUID

from geographiclib.geodesic import Geodesic

# What people write → the words that are in it, each `written` or `written>english stem`; a stop word has no stem (`>`),
# a sign alone is no word. Words are in lower case and without accents, and end at any sign.
_SAID = r"""
drill → drill ; drills → drills>drill ; drilling → drilling>drill ; Drillmaster → drillmaster>drillmast ;
kayak → kayak ; kayaks → kayaks>kayak ; tent → tent ; tents → tents>tent ; lens → lens>len ; lenses → lenses>lens ;
battery → battery>batteri ; batteries → batteries>batteri ; café → cafe ; cafe → cafe ; cafés → cafes>cafe ;
Zürich → zurich ; ZURICH → zurich ; Genève → geneve>genev ; Straße → strasse>strass ; strasse → strasse>strass ;
Łódź → lodz ; e-bike → e bike ; e-bikes → e bikes>bike ; bike → bike ; CO2 → co2 ;
canoe/paddle → canoe>cano paddle>paddl ; the → the> ;
for → for> ; with → with> ; theatre → theatre>theatr ; 100% → 100 ; 50_51 → 50 51 ; c\d → c d ;
o'brien → o brien ; ab:* → ab ; !wow → wow ; salt&pepper → salt pepper ; yes|maybe → yes maybe>mayb ;
left<->right → left right ; % → ; _ → ; \ → ; ' → ; :* → ; & → ; | → ; ! → ; <-> → ; %% →
"""
# What somebody types who has not finished a word, and what no listing says.
_TYPED = r"""
dril → dril ; drilli → drilli ; KAYA → kaya ; batter → batter ; batterie → batterie>batteri ; caf → caf ; zür → zur ;
e-b → e b ; o'b → o b ; 10 → 10 ; le → le ; th → th ; zzz → zzz ; d%l → d l ; dr_ll → dr ll ; %rill → rill ;
drill-kay → drill kay ; the-dri → the> dri ; dri* → dri ; x')-- → x
"""


def _table(text: str) -> dict[str, str]:
    rows = (row.partition("→") for row in text.split(" ;"))
    return {word.strip(): parts.strip() for word, _, parts in rows}


VOCABULARY = _table(_SAID)
WORDS = VOCABULARY | _table(_TYPED)

Word = tuple[str | None, str]  # its stem (None for a stop word) and as it is written


@cache
def read(text: str) -> tuple[Word, ...]:
    parts = [part.partition(">") for written in text.split() for part in WORDS[written].split()]
    return tuple(((stem if mark else plain) or None, plain) for plain, mark, stem in parts)


@dataclass(frozen=True, kw_only=True)
class Listing:
    """One row of the data set; `photo_ids` in their order, the first of them primary."""

    id: UUID
    owner_id: UUID
    category_id: UUID
    title: str
    description: str
    location: str
    daily_rate: Decimal
    condition: str
    is_available: bool
    place: tuple[float, float] | None  # latitude, longitude
    created_at: datetime
    photo_ids: tuple[UUID, ...]

    @cached_property
    def says(self) -> frozenset[str]:
        """Every word of title, place and description, both ways."""
        words = read(f"{self.title} {self.location} {self.description}")
        return frozenset(way for word in words for way in word if way)

    def metres_from(self, lat: float, lng: float) -> float | None:
        """The geodesic on the WGS 84 ellipsoid, by Karney's own library."""
        return None if self.place is None else _geodesic(lat, lng, *self.place)

    def body(self) -> dict[str, Any]:
        """The item as the API gives it, without a distance."""
        place = None if self.place is None else {"latitude": self.place[0], "longitude": self.place[1]}
        texts = {"title": self.title, "description": self.description, "location": self.location}
        ids = {"id": str(self.id), "owner_id": str(self.owner_id), "category_id": str(self.category_id)}
        times = {"created_at": self.created_at.isoformat(), "updated_at": self.created_at.isoformat()}
        photos = [
            {"id": str(one), "photo_url": photo_url(one), "is_primary": index == 0, "order_index": index * 2}
            for index, one in enumerate(self.photo_ids)
        ]
        own = {"daily_rate": f"{self.daily_rate:.2f}", "condition": self.condition, "is_available": self.is_available}
        return {**ids, **texts, **own, **times, "coordinates": place, "photos": photos}


@cache
def _geodesic(*places: float) -> float:
    return float(Geodesic.WGS84.Inverse(*places, outmask=Geodesic.DISTANCE)["s12"])


def photo_url(photo_id: UUID) -> str:
    return f"https://photos.example.com/{photo_id}.jpg"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A search in Python's terms; None is not asked."""

    category_id: UUID | None = None
    min_price: Decimal | None = None
    max_price: Decimal | None = None
    point: tuple[float, float] | None = None
    radius_km: float | None = None
    bbox: tuple[float, float, float, float] | None = None  # west, south, east, north
    is_available: bool | None = None
    condition: str | None = None
    words: tuple[str, ...] = ()
    sort: str | None = None
    page: int | None = None
    limit: int | None = None

    @property
    def order(self) -> str:
        return self.sort or ("distance" if self.point else "newest")

    def query(self) -> dict[str, str]:
        lat, lng = self.point or (None, None)
        named = {name: value for name, value in vars(self).items() if name not in ("point", "words")}
        named |= {"lat": lat, "lng": lng, "bbox": self.bbox and ",".join(map(repr, self.bbox))}
        named |= {"q": " ".join(self.words) or None}
        return {name: str(value) for name, value in named.items() if value is not None}


def found(wanted: Wanted, ranks: Mapping[UUID, float]) -> list[tuple[Listing, float | None]]:
    """All that match with their distance in metres, in order. `ranks` are asked for by the order `relevance` alone."""
    measured = ((one, one.metres_from(*wanted.point) if wanted.point else None) for one in WORLD.listings)
    matching = [pair for pair in measured if _matches(wanted, *pair)]
    keys: dict[str, Any] = {
        "distance": lambda pair: (pair[1] is None, pair[1]),
        "newest": lambda pair: -pair[0].created_at.timestamp(),
        "price_asc": lambda pair: pair[0].daily_rate,
        "price_desc": lambda pair: -pair[0].daily_rate,
        "relevance": lambda pair: -ranks[pair[0].id],
    }
    return sorted(sorted(matching, key=lambda pair: pair[0].id), key=keys[wanted.order])


def _matches(wanted: Wanted, one: Listing, metres: float | None) -> bool:
    return (
        (wanted.radius_km is None or (metres is not None and metres <= wanted.radius_km * 1000))
        and (wanted.category_id is None or wanted.category_id in WORLD.ancestry(one.category_id))
        and (wanted.min_price is None or one.daily_rate >= wanted.min_price)
        and (wanted.max_price is None or one.daily_rate <= wanted.max_price)
        and (wanted.is_available is None or one.is_available == wanted.is_available)
        and (wanted.condition is None or one.condition == wanted.condition)
        and (wanted.bbox is None or _inside(wanted.bbox, one.place))
        and (not wanted.words or bool(asked_words(wanted.words)))
        and all(_says(one, *asked) for asked in asked_words(wanted.words))
    )


def _inside(bbox: tuple[float, float, float, float], place: tuple[float, float] | None) -> bool:
    (west, south, east, north), (lat, lng) = bbox, place or (100.0, 0.0)
    return south <= lat <= north and (west <= lng <= east if west <= east else lng >= west or lng <= east)


def asked_words(words: Sequence[str]) -> list[tuple[Word, bool]]:
    """The words that ask for something, each with whether it is a beginning: the last is. Stop words ask only alone."""
    asked = read(" ".join(words))
    last = len(asked) - 1
    return [(word, index == last) for index, word in enumerate(asked) if word[0] or last == 0]


def _says(one: Listing, ways: Word, prefix: bool) -> bool:
    """Whether it says the word, by its stem or as it is written."""
    asked = [way for way in ways if way]
    return any(said.startswith(way) if prefix else said == way for said in one.says for way in asked)


class World:
    """Listings with ties in price and time, places in clusters and at the edges of the map, and odd words."""

    def __init__(self, seed: int, size: int) -> None:
        self._random = random.Random(seed)
        self.owners = [self._uuid() for _ in range(4)]
        root, other, *rest = [self._uuid() for _ in range(8)]
        below, beside, deep, deepest = rest[:4]
        self.parents: dict[UUID, UUID | None] = {root: None, other: None, below: root, beside: root, deep: below}
        self.parents |= {deepest: deep, rest[4]: other, rest[5]: below}
        self.prices = [Decimal(price) / 4 for price in (20, 48, 49, 100, 101, 400)]
        edges = [(17.25, 180.0), (-16.5, -180.0), (52.125, 180.0), (65.75, -180.0), (0.5, 179.9999), (0.25, -179.9999)]
        edges += [(90.0, 12.0), (-90.0, 0.0), (89.9995, 100.0), (89.9991, -80.0), (-89.999, 170.0), (0.0, 0.0)]
        self.listings = [self._listing(*edges[index : index + 1]) for index in range(size)]
        self.places = [one.place for one in self.listings if one.place is not None]

    def ancestry(self, category_id: UUID | None) -> Iterator[UUID]:
        """A category and all above it."""
        while category_id is not None:
            yield category_id
            category_id = self.parents[category_id]

    def _listing(self, *edge: tuple[float, float]) -> Listing:
        pick = self._random
        title, location, description = (self._text(*sizes) for sizes in ((1, 4, 3), (1, 2, 2), (2, 6, 10)))
        return Listing(
            id=self._uuid(),
            owner_id=pick.choice(self.owners),
            category_id=pick.choice(list(self.parents)),
            title=title,
            description=description,
            location=location,
            daily_rate=pick.choice(self.prices),
            condition=pick.choices(("new", "excellent", "good", "fair"), (1, 2, 4, 1))[0],
            is_available=pick.random() < 0.7,
            place=edge[0] if edge else self._place(),
            created_at=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(microseconds=pick.randrange(60) * 999_983),
            photo_ids=tuple(self._uuid() for _ in range(pick.randrange(4))),
        )

    def _place(self) -> tuple[float, float] | None:
        pick = self._random
        if pick.random() < 0.1:
            return None
        if pick.random() < 0.2:  # where another is already
            return pick.choice([(46.948, 7.4474), (47.3769, 8.5417)])
        lat, lng, spread = pick.choice([(46.95, 7.44, 0.02), (47.37, 8.54, 0.3), (64.1, -21.9, 2), (-17, 179.5, 0.4)])
        return lat + pick.gauss(0, spread), (lng + pick.gauss(0, spread) + 180) % 360 - 180

    def _text(self, least: int, most: int, shortest: int) -> str:
        words = self._random.choices(list(VOCABULARY), k=self._random.randint(least, most))
        while len(" ".join(words)) < shortest:
            words.append(self._random.choice(list(VOCABULARY)))
        return unicodedata.normalize("NFC", " ".join(words))

    def _uuid(self) -> UUID:
        return UUID(int=self._random.getrandbits(128), version=4)


WORLD = World(seed=7, size=250)

"""Demo listings and photos from their numbers alone: the same for the same number, wherever they are made. No I/O."""

import math
from collections.abc import Iterator
from datetime import datetime
from random import Random
from typing import NamedTuple
from uuid import UUID, uuid5

from app.demo.catalog import CATALOG, Thing
from app.demo.chance import NAMESPACE, Kind, moment, pick, seeded
from app.demo.cities import City
from app.demo.owners import FIRST_LISTING_DAYS_AGO, KM_PER_DEGREE, ROOT_CATEGORIES, owner
from app.demo.phrases import NOTES, PICK_UPS
from app.models import Condition

# Migration 0002's: a default category's identifier is made of its path.
CATEGORY_NAMESPACE = UUID("6d2f3c0e-1a54-4c57-9f0f-6a7cf1f1a0de")
CATEGORY_PATHS = tuple(CATALOG)
CATEGORY_IDS = {path: uuid5(CATEGORY_NAMESPACE, path) for path in CATEGORY_PATHS}
# Coprime to their number, so that the first listings are of all sorts.
CATEGORY_STEP = 17

SCATTER_KM = 8.0
SHARE_AVAILABLE = 0.85
SHARE_WITHOUT_COORDINATES = 0.03
SHARE_OF_SPECIALTIES = 0.7
# The demo owner's come first, so that the account has some, however few listings there are.
DEMO_OWNERS_FIRST_LISTINGS = 20
MOST_PHOTOS = 4
# From here on people think in fives, not in cents.
EXPENSIVE = 90

_LEAVES = {root: tuple(path for path in CATEGORY_PATHS if path.startswith(f"{root}/")) for root in ROOT_CATEGORIES}
_CONDITIONS = ((0.12, Condition.NEW), (0.47, Condition.EXCELLENT), (0.87, Condition.GOOD), (1.0, Condition.FAIR))
_WORTH = {Condition.NEW: 1.0, Condition.EXCELLENT: 0.7, Condition.GOOD: 0.4, Condition.FAIR: 0.1}
_CENTS = ("00", "00", "50", "90")


class Listing(NamedTuple):
    """Something to rent; `place` is longitude and latitude, `thing` what it is in the catalogue."""

    id: UUID
    owner_id: UUID
    category_id: UUID
    title: str
    description: str
    daily_rate: str
    condition: Condition
    location: str
    place: tuple[float, float] | None
    is_available: bool
    created_at: datetime
    thing: Thing


class Photo(NamedTuple):
    """A picture of a listing; the first is the primary one."""

    id: UUID
    equipment_id: UUID
    photo_url: str
    is_primary: bool
    order_index: int


def listing_id(number: int) -> UUID:
    """The identifier of listing `number`, from 0."""
    return uuid5(NAMESPACE, f"listing/{number}")


def listing(number: int, *, owners: int) -> Listing:
    """Listing `number`, from 0, where so many owners share all the listings; however many those are."""
    random = seeded(Kind.LISTING, number)
    its_owner = owner(_owner_number(number, owners, random))
    path = _category(number, its_owner.specialties, random)
    thing = pick(random, CATALOG[path])
    model = pick(random, thing.models)
    condition = _condition(random)
    home = pick(random, its_owner.homes)
    return Listing(
        id=listing_id(number),
        owner_id=its_owner.account.id,
        category_id=CATEGORY_IDS[path],
        title=_title(thing, model, random),
        description=_description(thing, model, condition, home, random),
        daily_rate=_daily_rate(thing, condition, random),
        condition=condition,
        location=f"{home.name}, {home.country}",
        place=_place_near(home, random) if random.random() >= SHARE_WITHOUT_COORDINATES else None,
        is_available=random.random() < SHARE_AVAILABLE,
        created_at=moment(random, earliest_days=FIRST_LISTING_DAYS_AGO),
        thing=thing,
    )


def photos(number: int) -> Iterator[Photo]:
    """One to four photos of listing `number`."""
    equipment_id = listing_id(number)
    for index in range(1 + equipment_id.int % MOST_PHOTOS):
        yield Photo(
            id=uuid5(NAMESPACE, f"photo/{number}/{index}"),
            equipment_id=equipment_id,
            photo_url=f"https://picsum.photos/seed/gearyard-{number}-{index}/1200/800",
            is_primary=index == 0,
            order_index=index,
        )


def _owner_number(number: int, owners: int, random: Random) -> int:
    """A few have much, many have little, and each has something as soon as there is enough to go round."""
    share = random.random()
    if number < DEMO_OWNERS_FIRST_LISTINGS:
        return 0
    if number < DEMO_OWNERS_FIRST_LISTINGS + owners:
        return number - DEMO_OWNERS_FIRST_LISTINGS
    return int(owners * share**1.5)


def _category(number: int, specialties: tuple[str, ...], random: Random) -> str:
    """Each category once, and after that mostly what the owner specialises in."""
    if number < len(CATEGORY_PATHS):
        return CATEGORY_PATHS[number * CATEGORY_STEP % len(CATEGORY_PATHS)]
    if random.random() < SHARE_OF_SPECIALTIES:
        return pick(random, _LEAVES[pick(random, specialties)])
    return pick(random, CATEGORY_PATHS)


def _condition(random: Random) -> Condition:
    share = random.random()
    return next(condition for limit, condition in _CONDITIONS if share < limit)


def _title(thing: Thing, model: str, random: Random) -> str:
    share = random.random()
    if share < 0.4:
        return f"{model} {thing.kind}"
    if share < 0.75:
        between = "" if share < 0.6 else ":"
        return f"{thing.kind[0].upper()}{thing.kind[1:]}{between} {model}"
    first_included = thing.included.partition(", ")[0].partition(" and ")[0]
    return f"{model} {thing.kind} with {first_included}"


def _description(thing: Thing, model: str, condition: Condition, home: City, random: Random) -> str:
    subject = f"The {model}" if random.random() < 0.5 else f"This {thing.kind}"
    sentences = [f"{subject} {pick(random, thing.about)}."]
    if random.random() < 0.85:
        sentences.append(f"Comes with {thing.included}.")
    if random.random() < 0.5:
        sentences.append(pick(random, NOTES[condition]))
    sentences.append(pick(random, PICK_UPS).format(city=home.name))
    return " ".join(sentences)


def _daily_rate(thing: Thing, condition: Condition, random: Random) -> str:
    """Within the thing's range, the higher the newer, and such as people write on a price tag."""
    share = (_WORTH[condition] + random.random()) / 2
    rate = thing.low + share * (thing.high - thing.low)
    if thing.low >= EXPENSIVE:
        return f"{min(thing.high, round(rate / 5) * 5)}.00"
    return f"{int(rate)}.{pick(random, _CENTS)}" if rate < thing.high else f"{thing.high}.00"


def _place_near(city: City, random: Random) -> tuple[float, float]:
    """Longitude and latitude, scattered around the centre by a normal distribution of `SCATTER_KM` (Box and Muller)."""
    distance = SCATTER_KM / KM_PER_DEGREE * math.sqrt(-2 * math.log(1 - random.random()))
    direction = 2 * math.pi * random.random()
    latitude = city.latitude + distance * math.sin(direction)
    longitude = city.longitude + distance * math.cos(direction) / math.cos(math.radians(city.latitude))
    return round((longitude + 180) % 360 - 180, 6), round(latitude, 6)

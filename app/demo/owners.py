"""Demo accounts and owners: the same for the same number, wherever they are made."""

import math
import unicodedata
from datetime import datetime, timedelta
from functools import lru_cache
from random import Random
from typing import Any, NamedTuple
from uuid import UUID, uuid5

from app.demo.catalog import CATALOG
from app.demo.chance import EPOCH, NAMESPACE, Kind, moment, pick, seeded
from app.demo.cities import CITIES, City
from app.demo.people import PEOPLE
from app.demo.phrases import BUSINESS_NAMES, HAND_OVERS, HOURS
from app.models import Role

DOMAIN = "gearyard.example"
JOINED_DAYS_AGO = 1100
# Nobody lists a thing before they have joined.
FIRST_LISTING_DAYS_AGO = 730

KM_PER_DEGREE = 111.2
SECOND_HOME_WITHIN_KM = 400.0
SPECIALTIES = 3
# Coprime to the number of cities, so that each has an owner before any has two; and the default 40 go round the world.
CITY_STEP = 55

ROOT_CATEGORIES = tuple(dict.fromkeys(path.partition("/")[0] for path in CATALOG))
# Letters that Unicode does not take apart into a plain one and its accent.
_PLAIN = str.maketrans({"ø": "o", "ß": "ss", "ł": "l", "ı": "i", "æ": "ae", "đ": "d"})

RENTER_PREFERENCES = {"radius_km": 25, "languages": ["English", "German"], "interests": ["Water Sports", "Tools"]}
RENTER_EXPERIENCE = "intermediate"


class Account(NamedTuple):
    """A user, with a verified e-mail."""

    id: UUID
    email: str
    role: Role
    username: str
    full_name: str
    avatar_url: str | None
    created_at: datetime


class Owner(NamedTuple):
    """Somebody who rents things out around one or two cities, mostly of a few root categories."""

    account: Account
    homes: tuple[City, ...]
    specialties: tuple[str, ...]
    business_info: dict[str, Any]


def renter() -> Account:
    """The demo renter."""
    return _demo_account("renter", Role.RENTER, "Robin Renter")


def admin() -> Account:
    """The demo admin."""
    return _demo_account("admin", Role.ADMIN, "Alex Admin")


@lru_cache(maxsize=4096)
def owner(number: int) -> Owner:
    """Owner `number`, from 0; owner 0 is the demo account."""
    random = seeded(Kind.OWNER, number)
    homes = _homes(number, random)
    account = _demo_account("owner", Role.OWNER, "Dana Owens") if number == 0 else _account(number, homes[0], random)
    return Owner(
        account=account,
        homes=homes,
        specialties=tuple(pick(random, ROOT_CATEGORIES) for _ in range(SPECIALTIES)),
        business_info=_business_info(account.full_name, homes, random),
    )


def _demo_account(name: str, role: Role, full_name: str) -> Account:
    """One that a developer logs in with; the local tenant has the same e-mails."""
    return Account(
        id=uuid5(NAMESPACE, f"account/{name}"),
        email=f"{name}@{DOMAIN}",
        role=role,
        username=f"demo-{name}",
        full_name=full_name,
        avatar_url=f"https://i.pravatar.cc/300?u=demo-{name}",
        created_at=EPOCH - timedelta(days=JOINED_DAYS_AGO),
    )


def _account(number: int, home: City, random: Random) -> Account:
    people = PEOPLE[home.people]
    given, family = pick(random, people.given), pick(random, people.family)
    username = f"{_plain(given)}.{_plain(family)}{number}"
    return Account(
        id=uuid5(NAMESPACE, f"owner/{number}"),
        email=f"{username}@{DOMAIN}",
        role=Role.OWNER,
        username=username,
        full_name=f"{given} {family}",
        avatar_url=f"https://i.pravatar.cc/300?u={username}" if random.random() < 0.6 else None,
        created_at=moment(random, earliest_days=JOINED_DAYS_AGO, latest_days=FIRST_LISTING_DAYS_AGO),
    )


def _plain(name: str) -> str:
    """The name in a to z, as people write theirs in a username."""
    letters = unicodedata.normalize("NFKD", name.lower().translate(_PLAIN))
    return "".join(letter for letter in letters if letter.isascii() and letter.isalpha())


def _homes(number: int, random: Random) -> tuple[City, ...]:
    home = CITIES[number * CITY_STEP % len(CITIES)]
    neighbour = min((city for city in CITIES if city is not home), key=lambda city: _distance_km(home, city))
    if random.random() < 0.5 and _distance_km(home, neighbour) <= SECOND_HOME_WITHIN_KM:
        return home, neighbour
    return (home,)


def _distance_km(one: City, other: City) -> float:
    """Along a great circle of a round earth: good enough to tell who is a neighbour."""
    lat1, lat2 = math.radians(one.latitude), math.radians(other.latitude)
    lng = math.radians(other.longitude - one.longitude)
    cosine = math.sin(lat1) * math.sin(lat2) + math.cos(lat1) * math.cos(lat2) * math.cos(lng)
    return math.degrees(math.acos(max(-1.0, min(1.0, cosine)))) * KM_PER_DEGREE


def _business_info(full_name: str, homes: tuple[City, ...], random: Random) -> dict[str, Any]:
    given, _, family = full_name.partition(" ")
    delivers = random.random() < 0.6
    return {
        "business_name": pick(random, BUSINESS_NAMES).format(given=given, family=family, city=homes[0].name),
        "cities": [home.name for home in homes],
        "hours": pick(random, HOURS),
        "languages": list(PEOPLE[homes[0].people].languages),
        "pick_up": pick(random, HAND_OVERS),
        "delivery": {"offered": delivers, "radius_km": 5 + 5 * int(random.random() * 5) if delivers else 0},
    }

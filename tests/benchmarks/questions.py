"""What is asked over HTTP: requests drawn at random from a data set, the same in each run."""

from itertools import cycle
from random import Random
from urllib.parse import urlencode

import psycopg2

from tests.benchmarks.dataset import FILTERED_RADIUS_KM, RADIUS_KM, Dataset, words_of_searches
from tests.benchmarks.people import Person
from tests.benchmarks.statements import CONTENT
from tests.benchmarks.wrk import COUNTER, Request, ask

API = "/api/v1"
EQUIPMENT = f"{API}/equipment"
SEARCHES = 20_000
TAGGED = 1_000
CREATED, NOT_MODIFIED = 201, 304


def nearby(data: Dataset) -> list[Request]:
    """Searches by radius alone."""
    points = data.points(SEARCHES, away_from_edge_km=RADIUS_KM)
    return [Request(_search(lat=lat, lng=lng, radius_km=RADIUS_KM)) for lng, lat in points]


def filtered(data: Dataset) -> list[Request]:
    """Searches by radius, words, price, category and availability."""
    points = data.points(SEARCHES, away_from_edge_km=FILTERED_RADIUS_KM)
    asked = {"radius_km": FILTERED_RADIUS_KM, "is_available": "true"}
    return [
        Request(_search(lat=lat, lng=lng, **asked, **words._asdict()))
        for (lng, lat), words in zip(points, cycle(words_of_searches()), strict=False)
    ]


def newest() -> list[Request]:
    return [Request(EQUIPMENT)]


def single(database_url: str) -> list[Request]:
    """Every listing by its id."""
    with psycopg2.connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT id::text FROM equipment ORDER BY id")
        requests = [Request(f"{EQUIPMENT}/{identifier}") for (identifier,) in cursor]
    connection.close()
    Random(len(requests)).shuffle(requests)
    return requests


def unchanged(database_url: str, port: int) -> list[Request]:
    """Some listings by id, as a client asks that has them already."""
    plain = single(database_url)[:TAGGED]
    tags = [answer.headers["ETag"] for answer, _ in ask(port, plain)]
    return [
        Request(request.path, headers={"If-None-Match": tag}, status=NOT_MODIFIED)
        for request, tag in zip(plain, tags, strict=True)
    ]


def own_account(people: list[Person]) -> list[Request]:
    return [Request(f"{API}/auth/me", headers=person.headers) for person in people]


def messages(people: list[Person]) -> list[Request]:
    body = f'{{"content":"{CONTENT}","client_msg_id":"{COUNTER}"}}'
    return [
        Request(f"{_conversation(person)}/messages", "POST", person.headers, body, status=CREATED) for person in people
    ]


def histories(people: list[Person]) -> list[Request]:
    return [Request(f"{_conversation(person)}/messages?limit=20", headers=person.headers) for person in people]


def _conversation(person: Person) -> str:
    return f"{API}/conversations/{person.conversation_id}"


def _search(**query: object) -> str:
    return f"{EQUIPMENT}?{urlencode(query)}"

"""`flask seed`, through the real command line, on databases of its own."""

import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from decimal import Decimal

import psycopg2
import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from app.db.engine import blocking_waits
from app.demo.catalog import CATALOG
from app.demo.cities import CITIES
from app.demo.conversation import LINES, LISTING
from app.demo.generator import CATEGORY_IDS, listing
from app.demo.loader import SEED_LOCK
from app.demo.owners import owner, renter
from app.messages.conversations import find_or_add_conversation
from tests.support import ROOT
from tests.support.databases import LOCK_WAITS, query, scalar
from tests.support.waiting import until

LISTINGS, OWNERS = 300, 12
SEED_SECONDS = 60
TABLES = (
    "users", "owner_profiles", "renter_profiles", "equipment", "equipment_photos",
    "conversations", "conversation_participants", "messages",
)  # fmt: skip

Factory = Callable[[], str]


ENVIRONMENT = {
    **os.environ,
    "APP_ENV": "development",
    "AUTH0_ISSUER": "https://tenant.example/",
    "AUTH0_AUDIENCE": "https://api.gearyard.example",
    "AUTH0_CLIENT_ID": "client",
    "AUTH0_CLIENT_SECRET": "secret",
}


@contextmanager
def seeding(database_url: str, *options: object, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """A running `flask seed`, which is killed at the end if it has not ended."""
    command = [sys.executable, "-m", "flask", "seed", *map(str, options)]
    env = {**ENVIRONMENT, "DATABASE_URL": database_url, **settings}
    pipe = subprocess.PIPE
    # A shell ignores SIGINT in what it starts in the background, and a child would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(command, cwd=ROOT, env=env, text=True, stdout=pipe, stderr=pipe) as process:
        try:
            yield process
        finally:
            process.kill()


def seed(database_url: str, *options: object, **settings: str) -> subprocess.CompletedProcess[str]:
    with seeding(database_url, *options, **settings) as process:
        said, errors = process.communicate(timeout=SEED_SECONDS)
    return subprocess.CompletedProcess(process.args, process.returncode, said, errors)


def counts(database_url: str) -> dict[str, int]:
    return {table: scalar(database_url, f"SELECT count(*) FROM {table}") for table in TABLES}  # noqa: S608


def fingerprints(database_url: str) -> dict[str, str]:
    """A hash over the text of all rows, by table."""
    wanted = (
        "SELECT md5(string_agg(row, E'\\n' ORDER BY row)) "
        "FROM (SELECT (to_jsonb(t) - 'version')::text AS row FROM {} t) AS found"  # the version counts the edits
    )
    return {table: scalar(database_url, wanted.format(table)) for table in TABLES}


@pytest.fixture(scope="module")
def seeded(database_url_factory: Factory) -> str:
    """A database seeded once; tests leave it as it is."""
    database_url = database_url_factory()
    done = seed(database_url, "--listings", LISTINGS, "--owners", OWNERS)
    assert done.returncode == 0, done.stderr
    assert f"Added {LISTINGS} listings with" in done.stdout
    assert done.stdout.endswith(f", and {OWNERS + 2} users and a conversation.\n")
    return database_url


@pytest.fixture
def unseeded(database_url_factory: Factory) -> str:
    """A database where no demo data ever ends up."""
    return database_url_factory()


def test_so_many_listings_and_owners_are_added(seeded: str) -> None:
    expected = {"equipment": LISTINGS, "users": OWNERS + 2, "owner_profiles": OWNERS, "renter_profiles": 1}
    assert counts(seeded).items() >= expected.items()
    assert scalar(seeded, "SELECT count(DISTINCT owner_id) FROM equipment") == OWNERS
    of_demo_owner = "SELECT count(*) FROM equipment JOIN users ON users.id = owner_id WHERE username = 'demo-owner'"
    assert scalar(seeded, of_demo_owner) >= 20


def test_demo_accounts_have_their_roles_and_verified_emails(seeded: str) -> None:
    found = query(seeded, "SELECT email, role, username FROM users WHERE username LIKE 'demo-%' ORDER BY 1")
    assert [tuple(map(str, account)) for account in found] == [
        (f"{role}@gearyard.example", role, f"demo-{role}") for role in ("admin", "owner", "renter")
    ]
    unlike = "SELECT 1 FROM users WHERE NOT email_verified OR email NOT LIKE '%@gearyard.example'"
    assert query(seeded, unlike) == []


def test_every_leaf_category_is_used_and_nothing_else(seeded: str) -> None:
    leaves = "SELECT id FROM categories c WHERE NOT EXISTS (SELECT 1 FROM categories WHERE parent_id = c.id) ORDER BY 1"
    assert query(seeded, leaves) == query(seeded, "SELECT DISTINCT category_id FROM equipment ORDER BY 1")


def test_prices_lie_in_the_range_of_the_thing(seeded: str) -> None:
    rates = dict(query(seeded, "SELECT id::text, daily_rate FROM equipment"))
    for number in range(LISTINGS):
        item = listing(number, owners=OWNERS)
        assert Decimal(item.thing.low) <= rates[str(item.id)] <= Decimal(item.thing.high)
        assert item.thing in CATALOG[next(path for path, key in CATEGORY_IDS.items() if key == item.category_id)]


def test_listings_lie_around_their_owners_cities(seeded: str) -> None:
    homes = {str(who.account.id): {f"{c.name}, {c.country}" for c in who.homes} for who in map(owner, range(OWNERS))}
    centres = {f"{city.name}, {city.country}": city for city in CITIES}
    found = query(seeded, "SELECT owner_id::text, location FROM equipment")
    assert all(location in homes[owner_id] for owner_id, location in found)
    wanted = (
        "SELECT max(ST_Distance(coordinates, ST_SetSRID(ST_MakePoint(lng, lat), 4326)::geography)), count(*)"
        " FROM equipment JOIN unnest(%s, %s, %s) AS cities (name, lng, lat) ON name = location"
        " WHERE coordinates IS NOT NULL"
    )
    columns = (list(centres), [city.longitude for city in CITIES], [city.latitude for city in CITIES])
    farthest_metres, located = query(seeded, wanted, *columns)[0]
    assert farthest_metres < 60_000
    assert LISTINGS * 0.9 < located < LISTINGS


def test_each_listing_has_one_to_four_photos_in_order_and_the_first_is_primary(seeded: str) -> None:
    found = query(
        seeded,
        "SELECT array_agg(order_index::int ORDER BY order_index), array_agg(is_primary ORDER BY order_index)"
        " FROM equipment_photos GROUP BY equipment_id",
    )
    assert len(found) == LISTINGS
    for indexes, primary in found:
        assert indexes == list(range(len(indexes)))
        assert 1 <= len(indexes) <= 4
        assert primary == [True] + [False] * (len(primary) - 1)


def test_the_default_owners_live_on_all_continents_and_by_the_antimeridian() -> None:
    homes = {home.name for number in range(40) for home in owner(number).homes}
    assert homes >= {"Zürich", "São Paulo", "Málaga", "Auckland", "Suva", "Waiyevo", "Nairobi", "New York", "London"}


def test_the_antimeridian_runs_through_listings_of_waiyevo() -> None:
    places = [
        item.place
        for item in (listing(n, owners=40) for n in range(4_000))
        if item.place and "Waiyevo" in item.location
    ]
    assert {math.copysign(1, longitude) for longitude, _ in places} == {-1.0, 1.0}
    assert all(abs(longitude) > 179 for longitude, _ in places)


def test_catalogue_has_four_things_in_every_category() -> None:
    assert all(len(things) >= 4 for things in CATALOG.values())
    assert all(thing.low < thing.high for things in CATALOG.values() for thing in things)


def test_demo_renter_and_owner_have_written_about_one_of_her_listings(seeded: str) -> None:
    wanted = (
        "SELECT u.username, m.seq, m.created_at FROM messages m JOIN conversations c ON c.id = m.conversation_id"
        " JOIN equipment e ON e.id = c.equipment_id JOIN users o ON o.id = e.owner_id JOIN users u ON u.id = sender_id"
        " WHERE o.username = 'demo-owner' ORDER BY seq"
    )
    found = query(seeded, wanted)
    assert [str(name) for name, _, _ in found] == ["demo-renter", "demo-owner"] * 2
    assert [seq for _, seq, _ in found] == list(range(1, len(LINES) + 1))
    assert [moment for _, _, moment in found] == sorted(moment for _, _, moment in found)
    assert query(seeded, "SELECT last_seq, updated_at FROM conversations") == [(len(LINES), found[-1][2])]
    marks = "SELECT username::text, last_read_seq FROM conversation_participants JOIN users ON id = user_id ORDER BY 1"
    assert query(seeded, marks) == [("demo-owner", 4), ("demo-renter", 3)]
    kind = listing(LISTING, owners=OWNERS).thing.kind
    assert kind in LINES[0].content


def test_writing_to_the_owner_about_it_goes_on_in_the_same_conversation(seeded: str) -> None:
    engine = create_engine(seeded.replace("postgresql://", "postgresql+psycopg2://"))
    with blocking_waits(), Session(engine) as session:
        people = [renter().id, owner(0).account.id]
        _, is_new = find_or_add_conversation(session, people, listing(LISTING, owners=OWNERS).id)
    engine.dispose()
    assert not is_new


def test_the_conversation_is_added_with_its_listing(database_url_factory: Factory) -> None:
    database_url = database_url_factory()
    first = seed(database_url, "--listings", LISTING, "--owners", 2)
    assert first.stdout.endswith(" users.\n")
    assert counts(database_url)["conversations"] == 0
    second = seed(database_url, "--listings", LISTING + 1, "--owners", 2)
    assert second.stdout.endswith(", and 0 users and a conversation.\n")
    query(database_url, "DELETE FROM conversations")
    third = seed(database_url, "--listings", LISTING + 1, "--owners", 2)
    assert third.stdout.endswith("Added 0 listings with 0 photos, and 0 users and a conversation.\n")


def test_the_same_again_changes_nothing_and_says_so(seeded: str) -> None:
    before = fingerprints(seeded)
    done = seed(seeded, "--listings", LISTINGS, "--owners", OWNERS)
    assert done.returncode == 0
    assert "Nothing to add" in done.stdout
    assert fingerprints(seeded) == before


def test_growing_gives_the_same_rows_as_seeding_at_once(seeded: str, database_url_factory: Factory) -> None:
    grown = database_url_factory()
    assert seed(grown, "--listings", 120, "--owners", OWNERS).returncode == 0
    assert counts(grown)["equipment"] == 120
    done = seed(grown, "--listings", LISTINGS, "--owners", OWNERS)
    assert f"Added {LISTINGS - 120} listings" in done.stdout
    assert fingerprints(grown) == fingerprints(seeded)


def test_if_empty_leaves_a_database_with_users_alone(database_url_factory: Factory) -> None:
    database_url = database_url_factory()
    query(database_url, "INSERT INTO users (username) VALUES ('somebody')")
    done = seed(database_url, "--if-empty")
    assert done.returncode == 0
    assert done.stdout.count("\n") == 1
    assert counts(database_url)["users"] == 1


def test_people_who_have_the_names_already_are_left_alone(database_url_factory: Factory) -> None:
    database_url = database_url_factory()
    somebody = (
        "INSERT INTO users (email, email_verified, username) VALUES ('Owner@Gearyard.example', true, 'Demo-Admin')"
    )
    query(database_url, somebody)
    before = query(database_url, "SELECT * FROM users")
    done = seed(database_url, "--listings", 5, "--owners", 2)
    assert done.returncode == 0, done.stderr
    assert "owner@gearyard.example is somebody's already" in done.stdout
    assert query(database_url, "SELECT * FROM users WHERE username = 'demo-admin'") == before
    assert query(database_url, "SELECT email, email_verified FROM users WHERE username = 'demo-owner'") == [
        (None, False)
    ]
    assert len(query(database_url, "SELECT 1 FROM users WHERE username LIKE 'demo-admin-%'")) == 1
    assert counts(database_url)["equipment"] == 5


def test_an_edited_listing_stays_edited_and_a_deleted_one_comes_back(seeded: str) -> None:
    before = fingerprints(seeded)
    edited, deleted = (str(listing(number, owners=OWNERS).id) for number in (0, 1))
    query(seeded, "UPDATE equipment SET is_available = NOT is_available WHERE id = %s", edited)
    query(seeded, "DELETE FROM equipment WHERE id = %s", deleted)
    assert "Added 1 listings" in seed(seeded, "--listings", LISTINGS, "--owners", OWNERS).stdout
    assert fingerprints(seeded) != before
    query(seeded, "UPDATE equipment SET is_available = NOT is_available WHERE id = %s", edited)
    assert fingerprints(seeded) == before


def test_production_is_refused_in_one_line(unseeded: str) -> None:
    done = seed(unseeded, APP_ENV="production")
    assert done.returncode != 0
    assert done.stderr == "Error: Demo data does not belong in production (APP_ENV).\n"
    assert counts(unseeded)["users"] == 0


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_seed_leaves_nothing(unseeded: str, how: signal.Signals) -> None:
    copying = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'COPY equipment %'"
    with seeding(unseeded, "--listings", 100_000) as process:
        until(lambda: bool(query(unseeded, copying)))
        process.send_signal(how)
        _, errors = process.communicate(timeout=SEED_SECONDS)
    assert process.returncode != 0
    assert "Traceback" not in errors
    others = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    until(lambda: not query(unseeded, others))
    assert counts(unseeded) == dict.fromkeys(TABLES, 0)


def test_a_second_seed_waits_for_the_first_and_names_missing_categories(unseeded: str) -> None:
    with closing(psycopg2.connect(unseeded)) as first, first.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (SEED_LOCK,))
        cursor.execute("DELETE FROM categories WHERE name = 'Drones'")
        with seeding(unseeded) as second:
            until(lambda: scalar(unseeded, f"{LOCK_WAITS} AND wait_event = 'advisory'") == 1)
            first.commit()
            said, errors = second.communicate(timeout=SEED_SECONDS)
    assert said == "Another seed is at work: waiting for it.\n"
    assert second.returncode != 0
    assert "Photo & Video/Drones" in errors
    assert errors.count("\n") == 1
    assert counts(unseeded)["users"] == 0

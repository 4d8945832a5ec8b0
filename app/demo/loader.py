"""Demo data into the database: all in one transaction, and beside whatever is there already."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import exists, func, insert, select, text
from sqlalchemy.orm import Session

from app.db.engine import blocking_waits
from app.db.session import transaction
from app.demo.copying import copy_rows, point
from app.demo.generator import CATEGORY_IDS, Listing, listing, listing_id, photos
from app.demo.owners import RENTER_EXPERIENCE, RENTER_PREFERENCES, Account, admin, owner, renter
from app.errors import Conflict
from app.models import Category, Equipment, OwnerProfile, RenterProfile, User

# Any number will do, as long as nothing else in this database locks it.
SEED_LOCK = 7_216_041_529
LOCK_WAIT_SECONDS = 600
CHUNK_LISTINGS = 10_000
# The full text index takes new rows in large batches, which is a third faster, and each batch at once in memory.
PENDING_SEARCH_ENTRIES = "64MB"
WORK_MEMORY = "128MB"

_EQUIPMENT = (
    "id", "owner_id", "category_id", "title", "description", "daily_rate", "condition", "location", "coordinates",
    "is_available", "created_at", "updated_at",
)  # fmt: skip
_COORDINATES = _EQUIPMENT.index("coordinates")
_PHOTOS = ("id", "equipment_id", "photo_url", "is_primary", "order_index", "created_at")


class PeopleAdded(NamedTuple):
    """How many users were added, and which e-mails somebody else has, so that their demo accounts go without."""

    users: int
    emails_taken: list[str]


class ListingsAdded(NamedTuple):
    """How many listings were added, with how many photos."""

    listings: int = 0
    photos: int = 0


@contextmanager
def one_seed_at_a_time(on_wait: Callable[[], None]) -> Iterator[Session]:
    """The transaction of a seed, after any other seed has ended; `on_wait` is called if there is one to wait for.

    Its statements may take as long as they need.

    Raises:
        sqlalchemy.exc.OperationalError: the other one was not done within `LOCK_WAIT_SECONDS`.
    """
    with blocking_waits(), transaction() as session:
        _set_local(session, statement_timeout="0", idle_in_transaction_session_timeout="0")
        _set_local(session, lock_timeout=f"{LOCK_WAIT_SECONDS}s", gin_pending_list_limit=PENDING_SEARCH_ENTRIES)
        _set_local(session, work_mem=WORK_MEMORY, maintenance_work_mem=WORK_MEMORY)
        if not session.scalar(select(func.pg_try_advisory_xact_lock(SEED_LOCK))):
            on_wait()
            session.execute(select(func.pg_advisory_xact_lock(SEED_LOCK)))
        yield session


def has_users(session: Session) -> bool:
    """Whether anybody is in the database."""
    return bool(session.scalar(select(exists(select(User.id)))))


def add_people(session: Session, *, owners: int) -> PeopleAdded:
    """Add what is missing of the demo accounts and owners, with their profiles. Changes nobody who is there.

    Raises:
        Conflict: a default category is missing, so that listings would have nowhere to go.
    """
    _require_categories(session)
    everybody = [renter(), admin(), *(owner(number).account for number in range(owners))]
    there = set(session.scalars(select(User.id).where(User.id.in_([account.id for account in everybody]))))
    missing = [account for account in everybody if account.id not in there]
    if not missing:
        return PeopleAdded(0, [])
    emails = _taken_emails(session, missing)
    usernames = _taken_usernames(session, missing)
    session.execute(insert(User), [_user(account, emails=emails, usernames=usernames) for account in missing])
    _add_profiles(session, owners=owners, added={account.id for account in missing})
    return PeopleAdded(len(missing), sorted(emails))


def add_listings(session: Session, *, listings: int, owners: int, advance: Callable[[int], object]) -> ListingsAdded:
    """Add those of the first so many listings that are missing, with their photos; `advance` hears how many are done.

    Changes none that is there. Its owners must be there.
    """
    added = ListingsAdded()
    for start in range(0, listings, CHUNK_LISTINGS):
        chunk = range(start, min(start + CHUNK_LISTINGS, listings))
        more = _add_chunk(session, _missing(session, chunk), owners, advance)
        added = ListingsAdded(added.listings + more.listings, added.photos + more.photos)
        advance(len(chunk) - more.listings)
    return added


def settle() -> None:
    """Vacuum and analyse what was filled, after the commit, so that the first searches are fast too.

    It finishes the full text index and marks the pages that an index-only scan need not visit. Where the role may not,
    PostgreSQL says so in a warning, and autovacuum does it some minutes later.
    """
    with blocking_waits(), transaction() as session:
        session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})  # VACUUM runs in no transaction
        session.execute(text("SET statement_timeout = 0"))
        filled = "users, owner_profiles, renter_profiles, equipment, equipment_tally, equipment_photos"
        session.execute(text(f"VACUUM (ANALYZE) {filled}"))


def _set_local(session: Session, **settings: str) -> None:
    for name, value in settings.items():
        session.execute(select(func.set_config(name, value, True)))


def _require_categories(session: Session) -> None:
    there = set(session.scalars(select(Category.id).where(Category.id.in_(CATEGORY_IDS.values()))))
    missing = [path for path, category_id in CATEGORY_IDS.items() if category_id not in there]
    if missing:
        raise Conflict(f"Default categories are missing, which the migrations make: {', '.join(missing)}.")


def _taken_emails(session: Session, accounts: list[Account]) -> set[str]:
    wanted = [account.email for account in accounts]
    taken = session.scalars(select(User.email).where(User.email.in_(wanted), User.email_verified))
    return {email.lower() for email in taken if email}


def _taken_usernames(session: Session, accounts: list[Account]) -> set[str]:
    wanted = [account.username for account in accounts]
    return {name.lower() for name in session.scalars(select(User.username).where(User.username.in_(wanted)))}


def _user(account: Account, *, emails: set[str], usernames: set[str]) -> dict[str, Any]:
    """The account's row. It gives way where somebody has its verified e-mail or its name already."""
    has_email = account.email not in emails
    is_free = account.username not in usernames
    return {
        **account._asdict(),
        "email": account.email if has_email else None,
        "email_verified": has_email,
        "username": account.username if is_free else f"{account.username}-{account.id.hex[:8]}",
        "updated_at": account.created_at,
    }


def _add_profiles(session: Session, *, owners: int, added: set[UUID]) -> None:
    profiles = [
        {"user_id": who.account.id, "business_info": who.business_info, **_times(who.account)}
        for who in map(owner, range(owners))
        if who.account.id in added
    ]
    if profiles:
        session.execute(insert(OwnerProfile), profiles)
    if (account := renter()).id in added:
        wishes = {"preferences": RENTER_PREFERENCES, "experience_level": RENTER_EXPERIENCE}
        session.execute(insert(RenterProfile), {"user_id": account.id, **wishes, **_times(account)})


def _times(account: Account) -> dict[str, Any]:
    return {"created_at": account.created_at, "updated_at": account.created_at}


def _missing(session: Session, chunk: range) -> list[int]:
    ids = {listing_id(number): number for number in chunk}
    there = session.scalars(select(Equipment.id).where(Equipment.id == func.any(list(ids))))
    return sorted(set(chunk) - {ids[found] for found in there})


def _add_chunk(session: Session, numbers: list[int], owners: int, advance: Callable[[int], object]) -> ListingsAdded:
    if not numbers:
        return ListingsAdded()
    connection = session.connection().connection.driver_connection
    created_at: dict[int, datetime] = {}

    def equipment() -> Iterator[tuple[object, ...]]:
        for number in numbers:
            item = listing(number, owners=owners)
            created_at[number] = item.created_at
            yield _equipment(item)
            advance(1)

    copy_rows(connection, "equipment", _EQUIPMENT, equipment())
    pictures = ((*photo, created_at[number]) for number in numbers for photo in photos(number))
    return ListingsAdded(len(numbers), copy_rows(connection, "equipment_photos", _PHOTOS, pictures))


def _equipment(item: Listing) -> tuple[object, ...]:
    coordinates = None if item.place is None else point(*item.place)
    return (*item[:_COORDINATES], coordinates, item.is_available, item.created_at, item.created_at)

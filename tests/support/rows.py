"""Rows that tests start from, made through the models so that every constraint holds."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from itertools import count
from typing import Any
from uuid import UUID

from sqlalchemy import func, insert, select, update

from app.common.geo import Point
from app.db.session import transaction
from app.models import (
    Base,
    Category,
    Condition,
    Conversation,
    ConversationParticipant,
    Equipment,
    EquipmentPhoto,
    ExternalIdentity,
    Message,
    Role,
    User,
)
from tests.support.processes.tenant import TenantProcess

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
_number = count(1)


@dataclass(frozen=True)
class Person:
    """A user with an access token."""

    id: UUID
    email: str
    subject: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


@cache
def _token(tenant: TenantProcess, subject: str) -> str:
    return str(tenant.token(sub=subject))


def add_person(tenant: TenantProcess, role: Role = Role.RENTER) -> Person:
    number = next(_number)
    subject, email = f"auth0|person{number}", f"person{number}@example.com"
    with transaction() as session:
        user = User(email=email, email_verified=True, role=role, username=f"person-{number}")
        session.add(user)
        session.flush()
        session.add(ExternalIdentity(issuer=tenant.issuer, subject=subject, user_id=user.id))
    return Person(id=user.id, email=email, subject=subject, token=_token(tenant, subject))


def add_user() -> UUID:
    """Add a user without a token; its id."""
    with transaction() as session:
        return session.scalars(insert(User).values(username=f"user-{next(_number)}").returning(User.id)).one()


def change_user(user_id: UUID, **values: Any) -> None:
    """Change the row past the service."""
    with transaction() as session:
        session.execute(update(User).where(User.id == user_id).values(**values))


def count_rows(model: type[Base], **values: Any) -> int:
    """How many rows have these values."""
    with transaction() as session:
        return session.scalars(select(func.count()).select_from(model).filter_by(**values)).one()


def category_id(name: str = "Power tools") -> UUID:
    with transaction() as session:
        return session.scalars(select(Category.id).where(Category.name == name)).one()


def add_category(name: str | None = None, parent_id: UUID | None = None) -> UUID:
    values = {"name": name or f"Category {next(_number)}", "parent_id": parent_id}
    with transaction() as session:
        return session.execute(insert(Category).values(**values).returning(Category.id)).scalar_one()


def new_equipment(**changes: Any) -> dict[str, Any]:
    """The body of a request that adds a listing."""
    return {
        "category_id": str(category_id()),
        "title": "Cordless drill",
        "description": "18 V with two batteries and a case.",
        "daily_rate": "25.00",
        "condition": "good",
        "location": "Bern, Switzerland",
        "coordinates": {"latitude": 46.948, "longitude": 7.4474},
        **changes,
    }


def add_equipment(owner_id: UUID, *, photos: int = 0, coordinates: Point | None = None, **values: Any) -> UUID:
    """Add a listing, a minute newer than the one before; its id."""
    number = next(_number)
    defaults: dict[str, Any] = {
        "category_id": values.pop("category_id", None) or category_id(),
        "title": f"Cordless drill {number}",
        "description": "18 V with two batteries and a case.",
        "daily_rate": Decimal("25.00"),
        "condition": Condition.GOOD,
        "location": "Bern, Switzerland",
        "created_at": EPOCH + timedelta(minutes=number),
    }
    place = None if coordinates is None else coordinates.as_geography()
    with transaction() as session:
        equipment_id = session.execute(
            insert(Equipment)
            .values(owner_id=owner_id, coordinates=place, **{**defaults, **values})
            .returning(Equipment.id)
        ).scalar_one()
        for index in range(photos):
            session.add(
                EquipmentPhoto(
                    equipment_id=equipment_id,
                    photo_url=f"https://photos.example.com/{number}-{index}.jpg",
                    is_primary=index == 0,
                    order_index=index,
                )
            )
    return equipment_id


def photo_id_of(equipment_id: UUID) -> UUID:
    """The id of a listing's primary photo."""
    with transaction() as session:
        primary = EquipmentPhoto.equipment_id == equipment_id, EquipmentPhoto.is_primary
        return session.scalars(select(EquipmentPhoto.id).where(*primary)).one()


def add_conversation(*user_ids: UUID, messages: int = 0) -> UUID:
    """Add a conversation of these users, with messages of the first of them; its id."""
    with transaction() as session:
        talk = Conversation(participant_key=f"made {next(_number)}", last_seq=messages)
        session.add(talk)
        session.flush()
        session.add_all(ConversationParticipant(conversation_id=talk.id, user_id=user_id) for user_id in user_ids)
        session.add_all(
            Message(conversation_id=talk.id, seq=seq, sender_id=user_ids[0], content=f"Message {seq}")
            for seq in range(1, messages + 1)
        )
        return talk.id

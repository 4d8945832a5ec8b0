"""The tables and their constraints. Migrations create them."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, ClassVar
from uuid import UUID

import orjson
import sqlalchemy as sa
from geoalchemy2 import Geography, WKBElement
from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, UniqueConstraint, func, text
from sqlalchemy.dialects.postgresql import CITEXT, JSONB, TSVECTOR
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

# The text search configurations of the first migration: both unaccented, one with English stemming.
SEARCH_STEMMED = "gearyard_english"
SEARCH_EXACT = "gearyard_simple"
# A regular expression of the separators of words in a listing and in a query: ASCII punctuation.
PUNCTUATION = "[!-/:-@[-`{-~]"


class Role(StrEnum):
    """The permissions of a user. The database holds them, never a token."""

    RENTER = "renter"
    OWNER = "owner"
    ADMIN = "admin"


class Condition(StrEnum):
    """The condition of a piece of equipment."""

    NEW = "new"
    EXCELLENT = "excellent"
    GOOD = "good"
    FAIR = "fair"


class _Json(JSONB):
    """JSONB whose values compare as JSON. Python's `True == 1` would hide a change from the ORM."""

    def compare_values(self, x: Any, y: Any) -> bool:
        """Compare the serialised values."""
        return orjson.dumps(x, option=orjson.OPT_SORT_KEYS) == orjson.dumps(y, option=orjson.OPT_SORT_KEYS)


class Base(DeclarativeBase):
    """The base of the tables, with a name for every constraint, which migrations and errors refer to."""

    metadata = sa.MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: sa.DateTime(timezone=True),
        dict[str, Any]: _Json,
        Role: sa.Enum(Role, name="user_role", values_callable=lambda roles: [role.value for role in roles]),
        Condition: sa.Enum(
            Condition, name="equipment_condition", values_callable=lambda states: [s.value for s in states]
        ),
    }


class _HasId:
    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("gen_random_uuid()"))


class _HasTimes:
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())


class _HasVersion:
    """The number of changes of a row, counted by a trigger. A change of a photo counts as one of its listing."""

    __mapper_args__: ClassVar[dict[str, Any]] = {"eager_defaults": True}  # a flush returns the new version

    version: Mapped[int] = mapped_column(BigInteger, server_default=text("1"), server_onupdate=sa.FetchedValue())


class User(_HasId, _HasTimes, _HasVersion, Base):
    """A user. A verified e-mail is unique; an unverified one identifies no user."""

    __tablename__ = "users"
    __table_args__ = (
        Index("uq_users_verified_email", "email", unique=True, postgresql_where=text("email_verified")),
        Index("ix_users_admins", "id", postgresql_where=text("role = 'admin'")),
        CheckConstraint("length(username) BETWEEN 3 AND 50", name="username_length"),
        CheckConstraint("starts_with(avatar_url, 'https://') AND length(avatar_url) <= 2048", name="avatar_url_https"),
        CheckConstraint("NOT email_verified OR email IS NOT NULL", name="verified_email_present"),
    )

    email: Mapped[str | None] = mapped_column(CITEXT)
    email_verified: Mapped[bool] = mapped_column(server_default=text("false"))
    role: Mapped[Role] = mapped_column(server_default=Role.RENTER.value)
    # The default is random, because a username is public and must not reveal the e-mail.
    username: Mapped[str] = mapped_column(
        CITEXT, unique=True, server_default=text("'user-' || left(translate(gen_random_uuid()::text, '-', ''), 12)")
    )
    full_name: Mapped[str | None] = mapped_column(sa.String(200))
    avatar_url: Mapped[str | None]


class ExternalIdentity(Base):
    """A subject of an issuer: the only key that a bearer token is matched by (OpenID Connect Core §5.7).

    The row outlives its user, so that a valid token does not create a deleted user again.
    """

    __tablename__ = "identities"

    issuer: Mapped[str] = mapped_column(sa.String(255), primary_key=True)
    subject: Mapped[str] = mapped_column(sa.String(255), primary_key=True)
    user_id: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"), index=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class LoginAttempts(Base):
    """The attempts to log in to one account from one address, or from all addresses (an empty `address`).

    `account` is a digest of the e-mail in the request, which need not have an account. `failures` count towards the
    next lock-out and `attempts` are all attempts, both until `counted_until`. `succeeded_at` makes the address a known
    one. A row past `expires_at` is equivalent to no row.
    """

    __tablename__ = "login_attempts"
    __table_args__ = (
        CheckConstraint("failures >= 0 AND attempts >= failures", name="counts"),
        Index(
            "ix_login_attempts_familiar", "account", "succeeded_at", postgresql_where=text("succeeded_at IS NOT NULL")
        ),
    )

    account: Mapped[bytes] = mapped_column(primary_key=True)
    address: Mapped[str] = mapped_column(sa.String(45), primary_key=True)
    attempts: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    failures: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    counted_until: Mapped[datetime]
    blocked_until: Mapped[datetime | None]
    succeeded_at: Mapped[datetime | None]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    # Only the previous release reads this column; the next one drops it.
    slot: Mapped[int] = mapped_column(sa.SmallInteger, server_default=text("floor(random() * 256)"))


class OwnerProfile(_HasTimes, _HasVersion, Base):
    """The business information of an owner, or of a renter whose request to become one awaits approval."""

    __tablename__ = "owner_profiles"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    business_info: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    user: Mapped[User] = relationship(lazy="joined", innerjoin=True)


class RenterProfile(_HasTimes, _HasVersion, Base):
    """The preferences and the experience of a renter."""

    __tablename__ = "renter_profiles"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    preferences: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    experience_level: Mapped[str | None] = mapped_column(sa.String(50))


class Category(_HasId, Base):
    """A category in a tree. Siblings have different names, compared without case."""

    __tablename__ = "categories"
    __table_args__ = (
        Index("uq_categories_root_name", "name", unique=True, postgresql_where=text("parent_id IS NULL")),
        UniqueConstraint("parent_id", "name"),
        CheckConstraint("length(name) BETWEEN 2 AND 100", name="name_length"),
        CheckConstraint("parent_id <> id", name="not_its_own_parent"),
    )

    name: Mapped[str] = mapped_column(CITEXT)
    parent_id: Mapped[UUID | None] = mapped_column(ForeignKey("categories.id", ondelete="RESTRICT"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


def _search_vector() -> str:
    """The expression of `Equipment.search`: title, location and description by weight, each stemmed and literal.

    Punctuation counts as a space: PostgreSQL's parser would take Canoe/kayak for a file and <50 mm> for a tag.
    """
    return " || ".join(
        f"setweight(to_tsvector('{config}'::regconfig, regexp_replace({field}, '{PUNCTUATION}', ' ', 'g')), '{weight}')"
        for field, weight in (("title", "A"), ("location", "B"), ("description", "C"))
        for config in (SEARCH_STEMMED, SEARCH_EXACT)
    )


class Equipment(_HasId, _HasTimes, _HasVersion, Base):
    """A listing: a piece of equipment that its owner rents out by the day."""

    __tablename__ = "equipment"
    __table_args__ = (
        CheckConstraint("length(title) BETWEEN 3 AND 200", name="title_length"),
        CheckConstraint("length(description) BETWEEN 10 AND 10000", name="description_length"),
        CheckConstraint("length(location) BETWEEN 2 AND 255", name="location_length"),
        CheckConstraint("daily_rate > 0", name="daily_rate_positive"),
        Index("ix_equipment_newest", text("created_at DESC"), "id"),
        Index("ix_equipment_daily_rate", "daily_rate", "id"),
        Index("ix_equipment_category_newest", "category_id", text("created_at DESC"), "id"),
        Index("ix_equipment_owner_newest", "owner_id", text("created_at DESC"), "id"),
        Index("ix_equipment_search", "search", postgresql_using="gin"),
        Index("ix_equipment_coordinates", "coordinates", postgresql_using="gist"),
        # `&&` on geography compares boxes in space (3D), so a box in degrees needs the same point as a geometry.
        Index("ix_equipment_lng_lat", text("(coordinates::geometry)"), postgresql_using="gist"),
    )

    owner_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    category_id: Mapped[UUID] = mapped_column(ForeignKey("categories.id", ondelete="RESTRICT"))
    title: Mapped[str]
    description: Mapped[str]
    daily_rate: Mapped[Decimal] = mapped_column(sa.Numeric(10, 2))
    condition: Mapped[Condition]
    location: Mapped[str]
    coordinates: Mapped[WKBElement | None] = mapped_column(Geography("POINT", srid=4326, spatial_index=False))
    is_available: Mapped[bool] = mapped_column(server_default=text("true"))
    search: Mapped[str] = mapped_column(TSVECTOR, sa.Computed(_search_vector(), persisted=True), deferred=True)


class EquipmentTally(Base):
    """The number of listings of a category and an availability: the sum over its rows, which triggers insert.

    The sum is exact in every transaction, its own changes included. No transaction waits for another to write it.
    """

    __tablename__ = "equipment_tally"
    __table_args__ = (
        Index("ix_equipment_tally_kind", "category_id", "is_available"),
        {"postgresql_with": {"fillfactor": 50}},
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    category_id: Mapped[UUID] = mapped_column(ForeignKey("categories.id", ondelete="CASCADE"))
    is_available: Mapped[bool]
    listings: Mapped[int] = mapped_column(BigInteger)


class EquipmentPhoto(_HasId, Base):
    """A photo of a listing, by URL. At most one photo of a listing is primary."""

    __tablename__ = "equipment_photos"
    __table_args__ = (
        UniqueConstraint("equipment_id", "order_index"),
        Index("uq_equipment_photos_primary", "equipment_id", unique=True, postgresql_where=text("is_primary")),
        CheckConstraint("starts_with(photo_url, 'https://') AND length(photo_url) <= 2048", name="photo_url_https"),
    )

    equipment_id: Mapped[UUID] = mapped_column(ForeignKey("equipment.id", ondelete="CASCADE"))
    photo_url: Mapped[str]
    is_primary: Mapped[bool] = mapped_column(server_default=text("false"))
    order_index: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Conversation(_HasId, _HasTimes, Base):
    """A conversation: the only one of these participants about this listing, or about none.

    `last_seq` is the number of the latest message. It is taken under the lock of this row, so the numbers have no gaps.
    `updated_at` is the time of that message.
    """

    __tablename__ = "conversations"
    __table_args__ = (
        CheckConstraint("last_seq >= 0", name="last_seq_not_negative"),
        Index("ix_conversations_updated_at", "updated_at"),
    )

    equipment_id: Mapped[UUID | None] = mapped_column(ForeignKey("equipment.id", ondelete="SET NULL"), index=True)
    # The listing and the first participants, ordered by id.
    participant_key: Mapped[str] = mapped_column(unique=True)
    last_seq: Mapped[int] = mapped_column(server_default=text("0"))

    @staticmethod
    def key_of(user_ids: Iterable[UUID], equipment_id: UUID | None) -> str:
        """The `participant_key` of these participants about this listing, in any order."""
        return f"{equipment_id or 'no listing'}: {' '.join(sorted(map(str, user_ids)))}"


class ConversationParticipant(Base):
    """A participant of a conversation. The read mark is at message `last_read_seq`, last moved at `last_read_at`."""

    __tablename__ = "conversation_participants"
    __table_args__ = (CheckConstraint("last_read_seq >= 0", name="last_read_seq_not_negative"),)

    conversation_id: Mapped[UUID] = mapped_column(ForeignKey("conversations.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, index=True)
    last_read_seq: Mapped[int] = mapped_column(server_default=text("0"))
    last_read_at: Mapped[datetime | None]


class Message(Base):
    """A message. `seq` counts 1, 2, 3 … in its conversation. The sender is NULL once the user is deleted."""

    __tablename__ = "messages"
    __table_args__ = (
        # A repeated client_msg_id is the same message. The sender comes first to index the foreign key.
        UniqueConstraint("sender_id", "conversation_id", "client_msg_id"),
        CheckConstraint("seq >= 1", name="seq_positive"),
        CheckConstraint("length(content) BETWEEN 1 AND 5000", name="content_length"),
        CheckConstraint("length(client_msg_id) BETWEEN 1 AND 64", name="client_msg_id_length"),
    )

    conversation_id: Mapped[UUID] = mapped_column(ForeignKey("conversations.id", ondelete="CASCADE"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    id: Mapped[UUID] = mapped_column(server_default=text("gen_random_uuid()"), unique=True)
    sender_id: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    client_msg_id: Mapped[str | None]
    content: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class AuditEntry(Base):
    """A change by an admin, or by an operator (`actor_id` is NULL). No foreign keys: an entry outlives its subject."""

    __tablename__ = "audit_log"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    actor_id: Mapped[UUID | None]
    action: Mapped[str]
    subject_id: Mapped[UUID]
    before: Mapped[dict[str, Any] | None]
    after: Mapped[dict[str, Any] | None]
    request_id: Mapped[str | None]


class IdempotencyKey(Base):
    """The response to a request with an Idempotency-Key, for its repetitions until it expires.

    The key and the request are stored as digests.
    """

    __tablename__ = "idempotency_keys"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    key_digest: Mapped[bytes] = mapped_column(primary_key=True)
    fingerprint: Mapped[bytes]
    status: Mapped[int] = mapped_column(sa.SmallInteger)
    headers: Mapped[dict[str, Any]]
    body: Mapped[bytes]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime] = mapped_column(index=True)

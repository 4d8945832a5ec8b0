"""The shapes of what admins ask: filters, and a page by its number."""

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import marshmallow as ma
from marshmallow import ValidationError, fields, validate

from app.admin.criteria import AuditFilters, AuditSearch, EquipmentFilters, UserFilters
from app.audit import Action
from app.models import Role
from app.paging import MAX_CURSOR_LENGTH, PageRequest
from app.web.pagination import page_length, page_number
from app.web.schemas import Query, Text

MAX_SEARCH_LENGTH = 254  # an e-mail's (RFC 5321)
MAX_MOMENT_LENGTH = 40


class _NumberedPageQuery(Query):
    page = page_number()
    per_page = page_length()


def _search(where: str) -> Text:
    return Text(
        max_length=MAX_SEARCH_LENGTH,
        metadata={"description": f"A part of {where}, in any case; nothing is a wildcard."},
    )


class UserQuery(_NumberedPageQuery):
    """Which users."""

    search = _search("the e-mail, username or full name")
    role = fields.Enum(Role, by_value=True, metadata={"description": "In this role."})

    @ma.post_load
    def to_criteria(self, data: dict[str, Any], **_: Any) -> tuple[UserFilters, PageRequest]:
        """Give the domain's values."""
        page = _page_request(data)
        return UserFilters(**data), page


class ModeratedEquipmentQuery(_NumberedPageQuery):
    """Which listings."""

    search = _search("the title, or of the owner's e-mail")
    owner_id = fields.UUID(metadata={"description": "Of this owner."})
    category_id = fields.UUID(metadata={"description": "This category and all below it."})
    is_available = fields.Boolean(metadata={"description": "Only what is on offer, or only what is not."})

    @ma.post_load
    def to_criteria(self, data: dict[str, Any], **_: Any) -> tuple[EquipmentFilters, PageRequest]:
        """Give the domain's values."""
        page = _page_request(data)
        return EquipmentFilters(**data), page


class Moment(fields.AwareDateTime):
    """A time with its offset (RFC 3339), in UTC: Python knows offsets that PostgreSQL does not."""

    def __init__(self, **options: Any) -> None:
        super().__init__(format="iso", **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> datetime:
        if len(str(value)) <= MAX_MOMENT_LENGTH:
            with suppress(OverflowError):  # in UTC it would be of a year that there is not
                return super()._deserialize(value, attr, data, **options).astimezone(UTC)
        raise self.make_error("invalid", input=value, obj_type=self.OBJ_TYPE)


class AuditLogQuery(_NumberedPageQuery):
    """Which entries of the audit log."""

    cursor = fields.String(
        validate=validate.Length(max=MAX_CURSOR_LENGTH),
        metadata={"description": "The `next_cursor` of the page before: what is written meanwhile moves nothing."},
    )
    actor_id = fields.UUID(metadata={"description": "By whom."})
    action = fields.Enum(Action, by_value=True, metadata={"description": "What was done to what."})
    subject_id = fields.UUID(metadata={"description": "What, or who, was changed."})
    since = Moment(metadata={"description": "From this time on."})
    until = Moment(metadata={"description": "Before this time."})

    @ma.validates_schema
    def what_goes_together(self, data: dict[str, Any], **_: Any) -> None:
        """Refuse two ways of paging, and a time turned round."""
        if "page" in data and "cursor" in data:
            raise ValidationError("Give either page or cursor.", "cursor")
        if "since" in data and "until" in data and data["since"] > data["until"]:
            raise ValidationError("Must not be after until.", "since")

    @ma.post_load
    def to_search(self, data: dict[str, Any], **_: Any) -> AuditSearch:
        """Give the domain's value."""
        page = _page_request(data)
        return AuditSearch(filters=AuditFilters(**data), page=page)


def _page_request(query: dict[str, Any]) -> PageRequest:
    """Take the paging part out of a parsed query."""
    cursor = query.pop("cursor", None)
    return PageRequest(page=query.pop("page", 1), limit=query.pop("per_page"), cursor=cursor)

"""Pages at the HTTP edge: the query that asks for one, the body that gives it."""

import re
from typing import Any
from urllib.parse import urlencode

import marshmallow as ma
from flask import Request
from marshmallow import ValidationError, fields, validate

from app.paging import DEFAULT_LIMIT, MAX_CURSOR_LENGTH, MAX_LIMIT, MAX_PAGE, Page, PageRequest
from app.web.schemas import ABSENT_QUERY_VALUES, Integer, Query

PLACES = ("page", "cursor")
# What is in it stands for itself, and so it can be given back as it came.
_PLAIN_QUERY = re.compile(r"[A-Za-z0-9._~=&-]*")


def page_number() -> Integer:
    """Which page, in a query; not there, where nothing is said."""
    return Integer(
        validate=validate.Range(min=1, max=MAX_PAGE), metadata={"description": "Number of the page, from 1."}
    )


def page_length() -> Integer:
    """How many items on a page, in a query."""
    return Integer(
        load_default=DEFAULT_LIMIT,
        validate=validate.Range(min=1, max=MAX_LIMIT),
        metadata={"description": "Items on a page."},
    )


class PageQuery(Query):
    """`page` and `limit`, or `cursor` and `limit`."""

    page = page_number()
    limit = page_length()
    cursor = fields.String(
        validate=validate.Length(max=MAX_CURSOR_LENGTH),
        metadata={"description": "The `next_cursor` of the page before: goes to any depth, repeats and skips nothing."},
    )

    @ma.validates_schema
    def one_way_of_paging(self, data: dict[str, Any], **_: Any) -> None:
        """Refuse two answers to one question."""
        if "page" in data and "cursor" in data:
            raise ValidationError("Give either page or cursor.", "cursor")


def page_request(query: dict[str, Any]) -> PageRequest:
    """Take the paging part out of a parsed query."""
    return PageRequest(page=query.pop("page", 1), limit=query.pop("limit"), cursor=query.pop("cursor", None))


def page_fields(item: type[ma.Schema]) -> dict[str, Any]:
    """The fields of a page list's body, for `Schema.from_dict`."""
    return {
        "items": fields.List(fields.Nested(item), required=True),
        "total": fields.Integer(required=True, metadata={"description": "All that match, exactly."}),
        "page": fields.Integer(required=True),
        "limit": fields.Integer(required=True),
        "total_pages": fields.Integer(required=True),
        "next_cursor": fields.String(required=True, allow_none=True),
    }


def link_header(page: Page[Any], asked: Request) -> dict[str, str]:
    """`Link` (RFC 8288): `next`, by cursor, while there is a next page; `first` and `prev` on a numbered one."""
    links = {}
    if page.next_cursor is not None:
        links["next"] = {"cursor": page.next_cursor}
    if page.page > 1 and not _is_by_cursor(asked):
        links["first"] = {"page": "1"}
        links["prev"] = {"page": str(max(1, min(page.page - 1, page.total_pages)))}
    return {"Link": ", ".join(f'<{_url(asked, place)}>; rel="{rel}"' for rel, place in links.items())} if links else {}


def _is_by_cursor(asked: Request) -> bool:
    return any(value.strip() not in ABSENT_QUERY_VALUES for value in asked.args.getlist("cursor"))


def _url(asked: Request, place: dict[str, str]) -> str:
    """What was asked for, at another place of the list."""
    text = asked.query_string.decode("latin-1")
    if _PLAIN_QUERY.fullmatch(text):
        kept = [part for part in text.split("&") if part and part.partition("=")[0] not in PLACES]
    else:
        kept = [urlencode([pair]) for pair in asked.args.items(multi=True) if pair[0] not in PLACES]
    return f"{asked.path}?{'&'.join([*kept, urlencode(place)])}"

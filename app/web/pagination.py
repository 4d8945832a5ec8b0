"""Pages over HTTP: the query parameters, the fields of the body, the Link header."""

from typing import Any
from urllib.parse import urlencode

import marshmallow as ma
from flask import request
from marshmallow import ValidationError, fields, validate

from app.common.paging import DEFAULT_LIMIT, MAX_CURSOR_LENGTH, MAX_LIMIT, MAX_PAGE, Page, PageRequest
from app.web.schemas import ABSENT_QUERY_VALUES, Integer, Query

# Without a default, as a cursor may replace it.
PAGE = Integer(validate=validate.Range(min=1, max=MAX_PAGE), metadata={"description": "Number of the page, from 1."})
LIMIT = Integer(
    load_default=DEFAULT_LIMIT,
    validate=validate.Range(min=1, max=MAX_LIMIT),
    metadata={"description": "Items on a page."},
)


class PageQuery(Query):
    """`page` and `limit`, or `cursor` and `limit`."""

    page = PAGE
    limit = LIMIT
    cursor = fields.String(
        validate=validate.Length(max=MAX_CURSOR_LENGTH),
        metadata={
            "description": "The `next_cursor` of the previous page. Works at any depth, and repeats and skips no item."
        },
    )

    @ma.validates_schema
    def one_way_of_paging(self, data: dict[str, Any], **_: Any) -> None:
        """Refuse a page and a cursor together."""
        if "page" in data and "cursor" in data:
            raise ValidationError("Give either page or cursor.", "cursor")


def page_request(query: dict[str, Any]) -> PageRequest:
    """Remove the parameters of paging from a parsed query."""
    return PageRequest(page=query.pop("page", 1), limit=query.pop("limit"), cursor=query.pop("cursor", None))


def link_header(page: Page[Any]) -> dict[str, str]:
    """`Link` (RFC 8288): `next`, by cursor, unless the page is the last; `first` and `prev` of a numbered page."""
    is_by_cursor = any(value.strip() not in ABSENT_QUERY_VALUES for value in request.args.getlist("cursor"))
    links = {}
    if page.next_cursor is not None:
        links["next"] = _url(cursor=page.next_cursor)
    if page.page > 1 and not is_by_cursor:
        links["first"] = _url(page=1)
        links["prev"] = _url(page=max(1, min(page.page - 1, page.total_pages)))
    targets = ", ".join(f'<{url}>; rel="{rel}"' for rel, url in links.items())
    return {"Link": targets} if targets else {}


def _url(**place: object) -> str:
    """The path and query of the request, at another place of the list."""
    kept = [(name, value) for name, value in request.args.items(multi=True) if name not in {"page", "cursor"}]
    return f"{request.path}?{urlencode([*kept, *place.items()])}"

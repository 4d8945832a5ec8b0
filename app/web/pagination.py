"""Pages at the HTTP edge: the query that asks for one, the body that gives it."""

from typing import Any
from urllib.parse import urlencode

import marshmallow as ma
from flask import request
from marshmallow import ValidationError, fields, validate

from app.paging import DEFAULT_LIMIT, MAX_CURSOR_LENGTH, MAX_LIMIT, MAX_PAGE, Page, PageRequest
from app.web.schemas import Integer, Query


class PageQuery(Query):
    """`page` and `limit`, or `cursor` and `limit`."""

    page = Integer(
        validate=validate.Range(min=1, max=MAX_PAGE), metadata={"description": "Number of the page, from 1."}
    )
    limit = Integer(
        load_default=DEFAULT_LIMIT,
        validate=validate.Range(min=1, max=MAX_LIMIT),
        metadata={"description": "Items on a page."},
    )
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


def page_response(page: Page[Any]) -> tuple[Page[Any], dict[str, str]]:
    """The page for its schema, with `Link: <…>; rel="next"` (RFC 8288) while there is a next one."""
    if page.next_cursor is None:
        return page, {}
    query = [(name, value) for name, value in request.args.items(multi=True) if name not in ("page", "cursor")]
    next_query = urlencode([*query, ("cursor", page.next_cursor)])
    return page, {"Link": f'<{request.path}?{next_query}>; rel="next"'}

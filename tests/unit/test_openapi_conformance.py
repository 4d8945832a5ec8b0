"""What holds answers against the description notices each way in which they can differ."""

import json
from typing import Any

import pytest

from tests.support.openapi_checks import Answer, NotDescribed, described

REQUEST_ID = {"X-Request-Id": "0123456789abcdef"}
TAGGED = {**REQUEST_ID, "ETag": 'W/"7.1f09a3"', "Cache-Control": "no-store", "Content-Type": "application/json"}
USER = {"id": "5b0f6d9e-3a44-4d0c-8a56-1f9f5f3c7d21", "username": "ada", "avatar_url": None}
PATH = f"/api/v1/users/{USER['id']}"
ERROR = {
    "error": "Not Found", "message": "There is no such user.", "code": "NOT_FOUND", "request_id": "0123456789abcdef",
    "type": "about:blank", "title": "Not Found", "status": 404, "detail": "There is no such user.", "instance": PATH,
}  # fmt: skip


def check(body: Any = USER, *, method: str = "GET", path: str = PATH, status: int = 200, **headers: str | None) -> None:
    changed = {name.replace("_", "-"): value for name, value in headers.items()}
    sent = {name: value for name, value in {**TAGGED, **changed}.items() if value is not None}
    described().check(Answer(method, path, status, sent, b"" if body is None else json.dumps(body).encode()))


def test_what_is_described_passes() -> None:
    check()
    check(method="HEAD", body=None)
    check(path=f"{PATH}/")
    check(None, status=304, Content_Type=None)
    check(ERROR, status=404, ETag=None)
    check(ERROR, status=404, ETag=None, Content_Type="application/problem+json")
    check(ERROR, path="/nowhere", status=404)
    check({**ERROR, "status": 405, "code": "METHOD_NOT_ALLOWED"}, method="PATCH", status=405)


@pytest.mark.parametrize(
    ("what", "wrong"),
    [
        ("this status is not described", {"status": 202}),
        ("this status is not described", {"status": 409, "body": ERROR}),
        ("this path is not described", {"path": "/api/v1/nowhere"}),
        ("X-New is not described", {"X_New": "1"}),
        ("there is no ETag", {"ETag": None}),
        ("ETag is not as described", {"ETag": "7"}),
        ("there is no X-Request-Id", {"X_Request_Id": None}),
        ("X-RateLimit-Limit is not as described", {"X_RateLimit_Limit": "many"}),
        ("'text/html' is not described", {"Content_Type": "text/html"}),
        ("'application/geo\\+json' is not described", {"Content_Type": "application/geo+json"}),
        ("the body is not as described", {"body": {**USER, "id": "7"}}),
        ("the body is not as described", {"body": {**USER, "email": "ada@example.com"}}),
        ("the body is not as described", {"body": {"id": USER["id"], "username": "ada"}}),
        ("the body is not as described", {"body": {**ERROR, "code": "FORBIDDEN"}, "status": 404, "ETag": None}),
        ("the body is not as described", {"body": {}, "path": "/nowhere", "status": 404}),
        ("there is a body", {"status": 304}),
    ],
)
def test_what_is_not_fails(what: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(NotDescribed, match=what):
        check(**wrong)

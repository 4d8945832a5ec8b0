"""Every input is bounded, and a wrong one is the client's error: never a 500, never more than was asked for.

Each catalogue is sent in one way. Where a value meets every route, one value of a kind does; the others meet one route,
or one field of each kind. Raw requests are in `tests/service/test_hostile_input.py`, words of a search in
`test_search.py`, random input in `test_fuzz.py`.
"""

import json
import socket
import unicodedata
from collections.abc import Iterator
from contextlib import closing
from typing import Any, cast
from urllib.parse import quote
from uuid import uuid4

import marshmallow as ma
import pytest
from flask import Flask
from flask.testing import FlaskClient
from marshmallow import fields, validate
from sqlalchemy import func, select
from werkzeug.routing import UUIDConverter

from app.admin.schemas import Moment
from app.db.session import transaction
from app.equipment.schemas import EquipmentQuery
from app.messages.schemas import Cursors
from app.models import Base
from app.web.schemas import Body, JsonObject, Money, Query
from tests.support.assertions import assert_error, assert_invalid, assert_ok
from tests.support.routes import ROUTES, Route, Scene
from tests.support.rows import Person, add_equipment, new_equipment

EQUIPMENT = "/api/v1/equipment"
PROFILE = "/api/v1/users/me/renter-profile"
MAX_BODY = 256 * 1024
MAX_TEXT_LENGTH = 16 * 1024
MAX_ITEMS = 1000

FINITE = (fields.UUID, fields.Enum, fields.Boolean)
BoundingBoxField = type(EquipmentQuery().fields["bbox"])
# Fields that bound themselves, each with something too large for it.
OVERSIZED: dict[type[fields.Field[Any]], Any] = {
    JsonObject: {"a": "x" * 20_000},
    Cursors: {str(uuid4()): 1 for _ in range(MAX_ITEMS + 1)},
    BoundingBoxField: "1,2,3," + "4" * 21,
    Moment: f"2026-03-01T11:00:00.{'0' * 30}Z",
}


def incoming_schemas() -> list[type[ma.Schema]]:
    """Every shape of what comes in: by REST, in its bodies and its queries, and by sockets."""

    def below(schema: type[ma.Schema]) -> Iterator[type[ma.Schema]]:
        for each in schema.__subclasses__():
            if each.__module__.startswith("app."):
                yield each
            yield from below(each)

    return sorted({*below(Body), *below(Query)}, key=lambda schema: (schema.__module__, schema.__name__))


def is_bounded(field: fields.Field[Any]) -> bool:
    if isinstance(field, fields.Nested):
        return all(map(is_bounded, field.schema.fields.values()))
    if isinstance(field, fields.List):
        return _longest(field) <= MAX_ITEMS and is_bounded(field.inner)
    if isinstance(field, Money):
        return field._range.max is not None
    if isinstance(field, fields.Number):
        ranges = [each for each in field.validators if isinstance(each, validate.Range)]
        return any(each.min is not None and each.max is not None for each in ranges)
    if isinstance(field, (*FINITE, *OVERSIZED)):
        return True
    return isinstance(field, fields.String) and _longest(field) <= MAX_TEXT_LENGTH


def _longest(field: fields.Field[Any]) -> float:
    lengths = [each.max for each in field.validators if isinstance(each, validate.Length) and each.max is not None]
    return min(lengths, default=float("inf"))


def test_every_field_that_comes_in_has_a_bound() -> None:
    unbounded = [
        f"{schema.__module__}.{schema.__name__}.{name}"
        for schema in incoming_schemas()
        for name, field in schema().fields.items()
        if not is_bounded(field)
    ]
    assert unbounded == [], "give each a length, a range or a maximum number of items"


@pytest.mark.attack("hostile input")
@pytest.mark.parametrize("kind", OVERSIZED, ids=lambda kind: kind.__name__)
def test_a_field_that_bounds_itself_does(kind: type[fields.Field[Any]]) -> None:
    with pytest.raises(ma.ValidationError):
        kind().deserialize(OVERSIZED[kind])


def arguments_of(app: Flask, endpoint: str) -> dict[str, ma.Schema]:
    """What a route reads: {"json" or "query": schema}."""
    described = getattr(app.view_functions[endpoint], "_apidoc", {}).get("arguments", {}).get("parameters", [])
    schemas = {each["in"]: each["schema"] for each in described}
    return {place: schema() if isinstance(schema, type) else schema for place, schema in schemas.items()}


def test_every_route_reads_by_a_schema_whose_fields_have_a_bound(app: Flask) -> None:
    found = [schema for endpoint in app.view_functions for schema in arguments_of(app, endpoint).values()]
    assert found
    assert {type(schema) for schema in found} <= set(incoming_schemas())


def test_every_variable_of_a_path_is_an_id(app: Flask) -> None:
    for rule in app.url_map.iter_rules():
        if rule.endpoint != "docs.asset":  # a name below the package's directory
            assert {type(converter) for converter in rule._converters.values()} <= {UUIDConverter}, rule


def rows_that_read(app: Flask, place: str) -> list[Route]:
    return [row for row in ROUTES if place in arguments_of(app, row.endpoint)]


def fields_that_are_read(app: Flask, place: str, *, one_of_each_kind: bool) -> list[tuple[Route, str]]:
    """Every field of every route, or one for each type of field with its types of validators."""
    found = [
        (row, name, field)
        for row in rows_that_read(app, place)
        for name, field in arguments_of(app, row.endpoint)[place].fields.items()
    ]
    if one_of_each_kind:
        kinds = {(type(field), *map(type, field.validators)): (row, name) for row, name, field in found}
        return list(kinds.values())
    return [(row, name) for row, name, _ in found]


def _deep(opening: bytes, closing: bytes) -> bytes:
    return opening * 10_000 + b"1" + closing * 10_000


JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
# By status and code: name, body, its type (JSON where none is named), other headers. The first of each meets every
# route.
BODIES: dict[tuple[int, str], list[tuple[Any, ...]]] = {
    (400, "BAD_REQUEST"): [
        ("no JSON", b"{"),
        ("two documents", b"{}{}"),
        ("single quotes", b"{'a':1}"),
        ("a comma too many", b'{"a":1,}'),
        ("a zero before a number", b'{"a":01}'),
        ("a comment", b"{/**/}"),
        ("a byte order mark", b"\xef\xbb\xbf{}"),
        ("deep arrays", _deep(b"[", b"]")),
        ("deep objects", _deep(b'{"a":', b"}")),
        ("deep in both", _deep(b'[{"a":', b"}]")),
        ("deep and never closed", b"[" * 100_000),
        ("NaN", b'{"a":NaN}'),
        ("infinity", b'{"a":Infinity}'),
        ("minus infinity", b'{"a":-Infinity}'),
        ("a huge exponent", b'{"a":1e400}'),
        ("a huge negative", b'{"a":-1e999999999}'),
        ("a huge integer", b'{"a":1' + b"0" * 400 + b"}"),
        ("250,000 digits", b'{"a":' + b"9" * 250_000 + b"}"),
        ("a member twice", b'{"planted":1,"planted":2}'),
        ("a member twice further down", b'{"a":[{"b":1,"b":2}]}'),
        ("a member twice, once escaped", b'{"a":1,"\\u0061":2}'),
        ("half a pair", b'{"a":"\\ud800"}'),
        ("half a pair in a name", b'{"\\udfff":1}'),
        ("the halves turned round", b'{"a":"\\udc00\\ud800"}'),
        ("a NUL as it is", b'{"a":"\0"}'),
        ("no UTF-8", b'{"planted":"\xff"}'),
        ("an overlong NUL", b'{"a":"\xc0\x80"}'),
        ("a surrogate in UTF-8", b'{"a":"\xed\xa0\x80"}'),
        ("UTF-16", '{"a":1}'.encode("utf-16"), f"{JSON}; charset=utf-16"),
        ("UTF-7", b"+AHs-+AH0-", f"{JSON}; charset=utf-7"),
    ],
    (400, "VALIDATION_ERROR"): [
        ("an array", b"[{}]"),
        ("a string", b'"{}"'),
        ("a number", b"1"),
        ("null", b"null"),
        ("unknown members", b'{"is_admin":true,"role":0,"__proto__":{}}'),
        ("a query of another database", b'{"$where":"sleep(1000)","$ne":null}'),
        ("a NUL in a name", b'{"a\\u0000":1}'),
        ("an endless name", b'{"' + b"a" * 250_000 + b'":1}'),
        ("many members", json.dumps({f"a{n}": n for n in range(15_000)}).encode()),
    ],
    (415, "UNSUPPORTED_MEDIA_TYPE"): [
        ("no type", b"{}", None),
        ("a form", b"email=a%40b.example&password=x", FORM),
        ("a form that looks like JSON", b'{"a":"=1"}', FORM),
        ("text, which needs no pre-flight", b"{}", "text/plain"),
        ("text that says JSON", b"{}", "text/plain; application/json"),
        ("a multipart form", b"--x\r\n\r\n--x--", "multipart/form-data; boundary=x"),
        ("a multipart form without an end", b"--x\r\n" * 100, "multipart/form-data"),
        ("XML", b"<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>", "application/xml"),
        ("two types", b"{}", f"{JSON}, text/plain"),
        ("a type that only begins so", b"{}", f"{JSON}p"),
        ("any type", b"{}", "*/*"),
        ("an empty type", b"{}", ""),
        ("a body packed twice", b"{}", JSON, {"Content-Encoding": "gzip, gzip"}),
        ("an encoding that is not there", b"{}", JSON, {"Content-Encoding": "br"}),
    ],
    (413, "PAYLOAD_TOO_LARGE"): [("a byte above the limit", b" " * (MAX_BODY + 1))],
}


@pytest.mark.attack("hostile input")
@pytest.mark.parametrize("expected", BODIES, ids=lambda expected: expected[1])
def test_a_hostile_body_is_refused_by_every_route_that_takes_one(
    client: FlaskClient, admin: Person, expected: tuple[int, str]
) -> None:
    def send(row: Route, body: bytes, content_type: str | None = JSON, more: dict[str, str] | None = None) -> None:
        path, headers = row.path(Scene(actor=admin, owner=admin)), {**admin.headers, **(more or {})}
        answer = client.open(path, method=row.method, data=body, content_type=content_type, headers=headers)
        assert_error(answer, *expected)
        assert len(answer.get_data()) < 20_000
        assert b"planted" not in answer.get_data()

    rows = rows_that_read(client.application, "json")
    assert len(rows) > 10
    (_, *first), *others = BODIES[expected]
    for row in rows:
        send(row, *first)
    # No member of this one is required, so that nothing but the body is refused.
    (profile,) = [row for row in rows if row.endpoint == "users.save_renter_profile"]
    for _, *each in others:
        send(profile, *each)
    assert client.get("/health").status_code == 200


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"a":1,"a":2}', "an object has a member twice"),
        (b'{"a":NaN}', "NaN is not a JSON number"),
        (b'"\xff"', "it is not UTF-8"),
        (b"[" * 100_000, "it is nested too deeply"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_the_refusal_of_a_body_gives_its_reason(client: FlaskClient, owner: Person, body: bytes, reason: str) -> None:
    answer = client.put(PROFILE, data=body, content_type=JSON, headers=owner.headers)
    assert assert_error(answer, 400, "BAD_REQUEST")["message"] == f"The body is not valid JSON: {reason}."


@pytest.mark.parametrize(
    "content_type", ["APPLICATION/JSON", "application/json; charset=utf-8", "application/geo+json"]
)
def test_a_body_of_the_largest_size_is_read_by_any_of_its_names(
    client: FlaskClient, owner: Person, content_type: str
) -> None:
    body = json.dumps(new_equipment()).ljust(MAX_BODY)
    headers = {**owner.headers, "Content-Encoding": "identity"}
    answer = client.post(EQUIPMENT, data=body, content_type=content_type, headers=headers)
    assert answer.status_code == 201


class TestWork:
    """What is far too much is refused before any work is done on it: one request must not hold up all the others."""

    MARK, TIBETAN_MARK = "\u0301", "\u0f73"  # the second counts as no mark until it is taken apart

    @pytest.fixture
    def normalised(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """The texts that were normalised, which takes the square of the marks in a row."""
        texts: list[str] = []
        normalize = unicodedata.normalize

        def note(form: Any, text: str) -> str:
            texts.append(text)
            return normalize(form, text[:1_000])  # so that a failure ends, too

        monkeypatch.setattr(unicodedata, "normalize", note)
        return texts

    @pytest.mark.attack("hostile input")
    @pytest.mark.parametrize("mark", [MARK, TIBETAN_MARK, "\u0315\u0300"])
    @pytest.mark.parametrize("length", [31, 1_000, 5_000, 40_000])
    def test_no_heap_of_marks_is_normalised(
        self, client: FlaskClient, admin: Person, normalised: list[str], mark: str, length: int
    ) -> None:
        heap = "a" + mark * length
        sent = [
            client.post("/api/v1/auth/auth0/login", json={"email": f"{heap}@example.com", "password": "x"}),
            client.post("/api/v1/auth/auth0/signup", json={"full_name": heap}),
            client.post(EQUIPMENT, json=new_equipment(description=heap), headers=admin.headers),
            client.get(EQUIPMENT, query_string={"q": heap}),
        ]
        for answer in sent:
            assert_error(answer, 400, "VALIDATION_ERROR")
        assert heap not in normalised
        assert not [text for text in normalised if mark * 31 in text]

    def test_a_text_that_is_far_too_long_is_not_normalised(self, client: FlaskClient, normalised: list[str]) -> None:
        answer = client.get(EQUIPMENT, query_string={"q": "é" * 801})
        assert_error(answer, 400, "VALIDATION_ERROR")
        assert normalised == []

    @pytest.mark.parametrize("name", ["Ngọc Thị Hồng", "ᾧ" * 50, "Z̷̝͝a̶̛͓l̵̫̈́g̸̱̾o̵̜̍", "किशोर", "ﬀ"])
    def test_marks_that_people_write_are_taken(self, client: FlaskClient, owner: Person, name: str) -> None:
        for form in ("NFC", "NFD"):
            sent = {"full_name": f" {unicodedata.normalize(cast(Any, form), name)}\n"}
            body = assert_ok(client.put(f"/api/v1/users/{owner.id}", json=sent, headers=owner.headers))
            assert body["full_name"] == unicodedata.normalize("NFC", name)

    @pytest.mark.attack("hostile input")
    def test_too_many_members_or_items_are_refused_by_one_error(self, client: FlaskClient, owner: Person) -> None:
        members: dict[str, Any] = {f"a{number}": number for number in range(101)}
        for body in (members, new_equipment(coordinates=members)):
            answer = client.post(EQUIPMENT, json=body, headers=owner.headers)
            details = assert_error(answer, 400, "VALIDATION_ERROR")["details"]
            assert [problem["message"] for problem in details] == ["Must not have more than 100 members."]
        for item in (0, "x", {}):
            named = {"participant_ids": [item] * 21}
            assert_invalid(client.post("/api/v1/conversations", json=named, headers=owner.headers), "participant_ids")


# What no field can hold, of whatever kind it is.
NO_VALUES: list[Any] = [
    *("a\0b", "\0", "x" * 100_000, "\u202e\u0007"),
    *(10**399, -(10**398), 1e308, -1e308, 1.5e-320),
    *({"a": "\0"}, {"a": {"b": ["\0"]}}, {"\0": 1}, {"a": 1e308}, {"a": 2**64}),
    *([["\0"]], [{}] * 10_000),
]


@pytest.mark.attack("hostile input")
@pytest.mark.parametrize("value", NO_VALUES, ids=lambda value: repr(value)[:30])
def test_a_value_that_no_field_can_hold_is_refused_by_the_name_of_the_field(
    client: FlaskClient, admin: Person, value: Any
) -> None:
    is_first = value is NO_VALUES[0]
    for row, name in fields_that_are_read(client.application, "json", one_of_each_kind=not is_first):
        body = {**(row.body() if row.body else {}), name: value}
        path = row.path(Scene(actor=admin, owner=admin))
        answer = client.open(path, method=row.method, data=json.dumps(body), content_type=JSON, headers=admin.headers)
        details = assert_error(answer, 400, "VALIDATION_ERROR")["details"]
        assert any(problem["field"].split(".")[0] == name for problem in details), (row.endpoint, name, details)


@pytest.mark.attack("hostile input")
@pytest.mark.parametrize("number", ["1e300", "1e19", "-1e19", "9223372036854775808.0", "18446744073709551616"])
def test_a_profile_keeps_no_number_that_could_not_be_read_back(client: FlaskClient, owner: Person, number: str) -> None:
    for value in (number, f'[{{"b":{number}}}]'):
        body = f'{{"preferences":{{"a":{value}}}}}'
        answer = client.put(PROFILE, data=body, content_type=JSON, headers=owner.headers)
        assert_error(answer, 400, "VALIDATION_ERROR")


@pytest.mark.parametrize("number", [9e18, -9e18, 1e16, 1.5, 5e-324, 2**63, -(2**63), 2**64 - 1, 0.1])
def test_a_profile_gives_back_the_numbers_it_takes(client: FlaskClient, owner: Person, number: float) -> None:
    sent = {"preferences": {"a": [number], "b": {"a": number}}}
    assert_ok(client.put(PROFILE, json=sent, headers=owner.headers))
    assert assert_ok(client.get(PROFILE, headers=owner.headers))["preferences"] == sent["preferences"]


@pytest.mark.attack("hostile input")
@pytest.mark.parametrize("coordinates", [{}, {"latitude": 1}, {"longitude": 1}])
def test_half_a_point_is_none(client: FlaskClient, owner: Person, coordinates: dict[str, int]) -> None:
    missing = [f"coordinates.{name}" for name in {"latitude", "longitude"} - coordinates.keys()]
    path, body = f"{EQUIPMENT}/{add_equipment(owner.id)}", new_equipment(coordinates=coordinates)
    assert_invalid(client.post(EQUIPMENT, json=body, headers=owner.headers), *missing)
    assert_invalid(client.put(path, json={"coordinates": coordinates}, headers=owner.headers), *missing)


INJECTIONS = [
    *("'; DROP TABLE equipment; --", "1; SELECT pg_sleep(20)", "' || pg_sleep(20) || '", "$$; DELETE FROM users; $$"),
    *("'", "''", '"', "\\", "\\'", '"quoted" \\ and \\"', "1 OR 1=1", "' OR '1'='1", "' OR 1=1 --", "1/**/OR/**/1"),
    *("' UNION SELECT email FROM users --", "%(id)s", "%s%s%s%n", "50% of %(id)s {} /", ":id", "{0}", "E'\\x27'"),
    *("\u02bc OR 1=1 --", "＇ OR 1=1 --"),  # some databases fold these into an apostrophe
    *("created_at; --", "(SELECT 1)", "../../etc/passwd", "${jndi:ldap://127.0.0.1/a}", "{{7*7}}"),
    *("<script>alert(1)</script>", "<b>&amp; '", "\u00e9\U0001f6b2 Zürich"),
]
WORDS = {"q", "search"}  # in which any text asks for something


def counts() -> dict[str, int]:
    with transaction() as session:
        tables = Base.metadata.sorted_tables
        return {table.name: session.scalar(select(func.count()).select_from(table)) or 0 for table in tables}


@pytest.mark.attack("hostile input")
@pytest.mark.parametrize("value", INJECTIONS)
def test_sql_in_a_parameter_is_a_value_like_any_other(client: FlaskClient, admin: Person, value: str) -> None:
    fields = fields_that_are_read(client.application, "query", one_of_each_kind=value != INJECTIONS[0])
    paths = [(row.path(Scene(actor=admin, owner=admin)), name) for row, name in fields]
    before = counts()
    for path, name in paths:
        answer = client.get(path, query_string={name: value}, headers=admin.headers)
        assert answer.status_code == 200 if name in WORDS else assert_error(answer, 400, "VALIDATION_ERROR")
    for path in (f"{EQUIPMENT}/{quote(value, safe='')}", f"/api/v1/users/{quote(value, safe='')}"):
        assert_error(client.get(path, headers=admin.headers), 404, "NOT_FOUND")
    assert counts() == before


@pytest.mark.attack("hostile input")
@pytest.mark.parametrize("value", INJECTIONS)
def test_a_text_is_kept_as_it_was_written(client: FlaskClient, owner: Person, value: str) -> None:
    texts = {"title": f"A text: {value}", "location": f"In {value}", "description": f"{value} is\n\ta text\r\n."}
    created = assert_ok(client.post(EQUIPMENT, json={**new_equipment(), **texts}, headers=owner.headers), 201)
    kept = client.get(f"{EQUIPMENT}/{created['id']}").json
    assert kept == created
    assert {name: created[name] for name in texts} == texts


NO_PARAMETERS = ["%00", "a%00b", "%FF", "%C0%80", "%ED%A0%80", "x" * 3_000, "%F0%9F%98%80" * 400, "%E2%80%AE%07"]


@pytest.mark.attack("hostile input")
@pytest.mark.parametrize("raw", NO_PARAMETERS, ids=lambda raw: raw[:20])
def test_bytes_that_no_parameter_can_hold_are_refused(client: FlaskClient, admin: Person, raw: str) -> None:
    fields = fields_that_are_read(client.application, "query", one_of_each_kind=raw != NO_PARAMETERS[0])
    for row, name in fields:
        answer = client.get(f"{row.path(Scene(actor=admin, owner=admin))}?{name}={raw}", headers=admin.headers)
        assert_invalid(answer, name)


@pytest.mark.attack("hostile input")
@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("&".join(f"a{number}=1" for number in range(10_000)), 200),
        ("&" * 10_000, 200),
        ("&".join(["limit=5"] * 1_000), 200),
        ("&".join(f"limit={number}" for number in range(1, 101)), 400),
        ("lat=1&latitude=2&lng=1", 400),
        ("limit[]=5&limit[0]=6", 200),
        ("=&==&=1&%3D=%26", 200),
        ("limit=5;limit=6", 400),
        ("limit=5%26limit=6", 400),
        ("LIMIT=x", 200),
        ("other=%FF&%FF=%FF", 200),
        ("longitude=%FF&lat=1", 400),
        ("?limit=x", 200),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_parameter_counts_once_and_only_by_its_name(client: FlaskClient, query: str, status: int) -> None:
    answer = client.get(f"{EQUIPMENT}?{query}")
    assert answer.status_code == status
    if status == 400:
        assert_error(answer, 400, "VALIDATION_ERROR")


@pytest.mark.attack("hostile input")
@pytest.mark.parametrize(
    "path",
    [
        f"{EQUIPMENT}/%FF%FE",
        f"{EQUIPMENT}/%00",
        f"{EQUIPMENT}/%C0%AE%C0%AE",
        f"{EQUIPMENT}/..%2F..%2Fetc%2Fpasswd",
        f"{EQUIPMENT}/%0d%0aSet-Cookie:%20a=b",
        f"{EQUIPMENT}/not-a-uuid",
        f"{EQUIPMENT}/{'a' * 5_000}",
        f"{EQUIPMENT}/" + "../" * 1_000,
        *(f"/docs/{name}" for name in ("../__init__.py", "..%2f__init__.py", "../templates/rest.html", "%2e%2e/x", "")),
        "/docs/..%2f..%2fwsgi.py",
        "/docs/%2e%2e/%2e%2e/__init__.py",
        "/docs/..\\..\\wsgi.py",
        "/docs//etc/passwd",
        "/docs/%00",
        "/docs/swagger-ui.css%00.js",
        "/docs/.",
        "/%2e%2e/wsgi.py",
        "/static/../wsgi.py",
        "/health//",
    ],
    ids=lambda path: path[:40],
)
def test_a_path_that_leads_nowhere_is_not_found(client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    body = assert_error(answer, 404, "NOT_FOUND")
    assert "Set-Cookie" not in answer.headers
    assert body["instance"].startswith("/")


PICTURE = "https://photos.example.com/1.jpg"
BAD_URLS: list[Any] = [
    *("", " ", None, 5, [], "/1.jpg", "1.jpg", "//photos.example.com/1.jpg", "http://photos.example.com/1.jpg"),
    *("javascript:alert(1)", "JAVASCRIPT:alert(1)", "java\nscript:alert(1)", "\x01javascript:alert(1)", "vbscript:x"),
    *("data:text/html,<script>alert(1)</script>", "blob:https://photos.example.com/1", "file:///etc/passwd"),
    *("ftp://photos.example.com/1.jpg", "gopher://127.0.0.1:6379/_", "https javascript:alert(1)//photos.example.com"),
    *("https:", "https://", "https:///1.jpg", "https:photos.example.com/1.jpg", "https:\\\\photos.example.com\\1.jpg"),
    *("https://photos", "https://[::1", "https://[x]/1.jpg", "https://[fe80::1%25eth0]/1.jpg", "https://exa mple.com/"),
    *("https://photos.example.com/a b", "https://photos.example.com/\n1.jpg", "https://photos.example.com\t/1.jpg"),
    *(f"{PICTURE}\r\nX: y", "https://photos.example.com/\0", "https://photos.example.com/\u202egpj.exe"),
    *("https://user@photos.example.com/1.jpg", "https://user:password@photos.example.com/1.jpg"),
    *("https://photos.example.com@evil.com/1.jpg", "https://photos.example.com\\@evil.com/1.jpg"),
    *("https://photos%2eexample.com/1.jpg", "https://photos.example.com:port/1.jpg", "https://-photos.example.com-/<>"),
    *("https://photos.example.com/" + "x" * size for size in (2_022, 100_000)),  # the first has 2,049 in all
]


@pytest.mark.attack("hostile input")
@pytest.mark.parametrize("url", BAD_URLS, ids=lambda url: ascii(url)[:60])
def test_the_url_of_a_picture_is_https_and_nothing_else(client: FlaskClient, owner: Person, url: Any) -> None:
    photos = f"{EQUIPMENT}/{add_equipment(owner.id)}/photos"
    assert_invalid(client.post(photos, json={"photo_url": url}, headers=owner.headers), "photo_url")
    if url is not None:  # which removes the avatar
        avatar = client.put(f"/api/v1/users/{owner.id}", json={"avatar_url": url}, headers=owner.headers)
        assert_invalid(avatar, "avatar_url")


@pytest.mark.parametrize(
    ("url", "kept"),
    [(PICTURE, PICTURE), ("HTTPS://PHOTOS.example.com/A.JPG?B=C#D", "https://photos.example.com/A.JPG?B=C#D"),
     *((url, url) for url in ("https://photos.example.com:8443/1.jpg", "https://photos.example.com/" + "x" * 2_021))],
    ids=lambda url: url[:40],
)  # fmt: skip
def test_an_https_url_is_kept(client: FlaskClient, owner: Person, url: str, kept: str) -> None:
    answer = client.put(f"/api/v1/users/{owner.id}", json={"avatar_url": url}, headers=owner.headers)
    assert assert_ok(answer)["avatar_url"] == kept


@pytest.mark.attack("hostile input")
def test_no_url_of_a_picture_is_fetched(client: FlaskClient, owner: Person, trap: socket.socket) -> None:
    url = f"https://127.0.0.1:{trap.getsockname()[1]}/1.jpg"
    listing, user = f"{EQUIPMENT}/{add_equipment(owner.id)}", f"/api/v1/users/{owner.id}"
    assert_ok(client.post(f"{listing}/photos", json={"photo_url": url}, headers=owner.headers), 201)
    assert_ok(client.put(user, json={"avatar_url": url}, headers=owner.headers))
    for path in (listing, user, "/api/v1/auth/me"):
        assert_ok(client.get(path, headers=owner.headers))
    with pytest.raises(BlockingIOError):
        trap.accept()


@pytest.mark.attack("hostile input")
@pytest.mark.parametrize("name", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_header_stands_in_for_the_method(client: FlaskClient, owner: Person, name: str, method: str) -> None:
    listing = f"{EQUIPMENT}/{add_equipment(owner.id)}"
    headers = {**owner.headers, name: "DELETE"}
    answer = client.open(f"{listing}?_method=DELETE", method=method, headers=headers)
    assert answer.status_code == (200 if method == "GET" else 405)
    assert client.get(listing).status_code == 200


@pytest.mark.attack("hostile input")
@pytest.mark.parametrize(
    "value", ["bytes=0-0", "bytes=-1", "bytes=0-" + ",0-" * 1_000, "bytes=" + "9" * 400 + "-", "x=1", "bytes=a-b"]
)
def test_a_range_of_what_is_no_file_is_the_whole(client: FlaskClient, value: str) -> None:
    plain, ranged = client.get("/api/v1/categories"), client.get("/api/v1/categories", headers={"Range": value})
    assert ranged.status_code == 200
    assert ranged.get_data() == plain.get_data()


HEADERS = [
    ("Accept", "application/json;q=x, */*;q=99999999999, " + "a/b," * 2_000),
    *(("Accept", ";;;,,,q=="), ("Accept-Language", "x" * 8_000), ("User-Agent", "\xff" * 1_000)),
    *(("Cookie", "a=" + "b" * 8_000), ("Cookie", 'a="\\"; =; ;;'), ("Content-Type", "x" * 5_000)),
    *(("If-None-Match", '"' * 1_001), ("If-Modified-Since", "Mon, 99 Foo 99999 99:99:99 GMT"), ("If-Range", "\xff")),
    *(("Authorization", "\xff\xfe"), ("Authorization", "Basic " + "x" * 5_000), ("Origin", "\xff")),
    *(("Host", "a b"), ("Host", "[::1"), ("Host", "x" * 5_000), ("Host", "")),
    *(("X-Forwarded-For", "'; DROP TABLE users; --"), ("X-Forwarded-For", "1.2.3.4, " * 1_000)),
    *(("X-Forwarded-Proto", "javascript"), ("Content-Length", "-1"), ("Content-Length", "x")),
    *(("X-Request-Id", "x" * 8_000), ("X-Request-Id", "abcdefgh\x7f")),
]


@pytest.mark.attack("hostile input")
@pytest.mark.parametrize(("name", "value"), HEADERS, ids=lambda value: ascii(value)[:30])
def test_no_header_is_answered_with_a_500(client: FlaskClient, name: str, value: str) -> None:
    for path in ("/health", EQUIPMENT, "/api/v1/auth/me", "/docs/swagger-ui.css", "/nowhere"):
        with closing(client.get(path, headers={name: value})) as answer:
            assert answer.status_code < 500
            if answer.status_code >= 400:
                body: Any = answer.json
                assert_error(answer, answer.status_code, body["code"])

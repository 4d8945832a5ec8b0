"""Generated requests: none gets a 500, and each refusal has the error body. Every run has the same examples."""

import json
from typing import Any
from urllib.parse import quote

import pytest
import schemathesis
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation

from app.db.session import transaction
from app.models import OwnerProfile, Role
from tests.support.assertions import ERROR_MEMBERS
from tests.support.examples import examples
from tests.support.processes.tenant import TenantProcess
from tests.support.rows import (
    add_category,
    add_conversation,
    add_equipment,
    add_person,
    add_user,
    category_id,
    new_equipment,
    photo_id_of,
)

# What a description cannot say how to do well: it takes an account at the tenant.
NEVER_DONE = {f"POST /api/v1/auth/auth0/{action}" for action in ("signup", "login", "refresh")}
DESCRIBED_EXAMPLES = 0.15  # of each operation, for each role, in each way
RAW_EXAMPLES = 0.5  # of each operation

Operation = APIOperation[Any, Any, Any, Any]


def steady(share: float) -> settings:
    """The profile's settings with a share of its examples, and without the health checks for slow generation."""
    slow_to_make = [HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=examples(share), suppress_health_check=slow_to_make)


def make_actor(tenant: TenantProcess, role: Role | None, operation: Operation) -> tuple[dict[str, str], dict[str, Any]]:
    """The headers of a new user in a role (None: without a token), and valid values by name."""
    person = None if role is None else add_person(tenant, role)
    me, other = (add_user() if person is None else person.id), add_user()
    equipment_id = add_equipment(me, photos=1)
    if role in (Role.OWNER, Role.ADMIN):
        with transaction() as session:
            session.add(OwnerProfile(user_id=me, business_info={}))
    ids = {
        "user_id": other if role is Role.ADMIN else me,  # an admin without an account could send nothing more
        "equipment_id": equipment_id,
        "photo_id": photo_id_of(equipment_id),
        # An admin can delete a category only while it is empty.
        "category_id": add_category() if "/admin/categories" in operation.path else category_id(),
        "conversation_id": add_conversation(me, other, messages=3),
    }
    known = {"participant_ids": [str(other)], "photo_url": "https://photos.example.com/1.jpg", **new_equipment()}
    known |= {name: str(value) for name, value in ids.items()}
    return {} if person is None else person.headers, known


def operations(app: Flask) -> list[Operation]:
    described = schemathesis.openapi.from_wsgi("/openapi.json", app)
    # Of REST: what an operator asks for takes nothing.
    found = list(described.include(path_regex="^/api/").get_all_operations())
    assert all(isinstance(each, Ok) for each in found), "what the document says of each can be read"
    return [each.ok() for each in found if isinstance(each, Ok)]


def assert_orderly(status: int, body: bytes, sent: object) -> None:
    assert status < 500, (status, sent, body)
    if status >= 400:
        answer = json.loads(body)
        assert answer.keys() >= ERROR_MEMBERS, (status, sent, body)
        assert answer["status"] == status


def send_described(operation: Operation, mode: GenerationMode, headers: dict[str, str], known: Any) -> set[int]:
    """Send generated requests of one operation, to existing and unknown resources; the statuses."""
    statuses = set()
    requests = operation.as_strategy(generation_mode=mode)
    if named := {name: value for name, value in known.items() if f"{{{name}}}" in operation.path}:
        requests = operation.as_strategy(generation_mode=mode, path_parameters=named) | requests

    @steady(DESCRIBED_EXAMPLES)
    @given(case=requests, made_up=st.sets(st.sampled_from(sorted(known))))
    def each(case: Case[Any], made_up: set[str]) -> None:
        for part in (case.body, case.query):
            if isinstance(part, dict):
                part.update((name, value) for name, value in known.items() if name in part.keys() - made_up)
        answer = case.call(headers=headers)
        assert_orderly(answer.status_code, answer.content, case.as_curl_command())
        statuses.add(answer.status_code)

    each()
    return statuses


@pytest.mark.attack("fuzz")
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["valid", "invalid"])
@pytest.mark.parametrize("role", [None, *Role], ids=lambda role: role or "nobody")
def test_requests_made_from_the_description_are_done_or_refused(
    subtests: pytest.Subtests, client: FlaskClient, tenant: TenantProcess, role: Role | None, mode: GenerationMode
) -> None:
    for operation in operations(client.application):
        takes_input = any(len(place) for place in (operation.path_parameters, operation.query, operation.body))
        if mode is GenerationMode.NEGATIVE and not takes_input:
            continue
        with subtests.test(operation.label):
            statuses = send_described(operation, mode, *make_actor(tenant, role, operation))
            if role is Role.ADMIN and mode is GenerationMode.POSITIVE and operation.label not in NEVER_DONE:
                # A handful of examples may hold no valid request.
                assert any(status < 300 for status in statuses) or examples(1) < 100, statuses


# What has broken parsers elsewhere, and ever more of the same.
NASTY_TEXTS = [
    *("", "null", "NaN", "Infinity", "-0", "1e400", "1_0", "٣", "9" * 400, "true", "[]", "{}", "1,2,3,4", "A" * 6000),
    *("\0", "\ud800", "\u202e", "🏳️\u200d🌈", "ﬀ" * 60, "%", "_", "\\", "'", "' OR 1=1 --", "a & | ! :* <-> ("),
    *("../..", "{{7*7}}", "${7*7}", "https://photos.example.com/1.jpg"),
]
NASTY_NUMBERS = [2**31, 2**63, 2**64, -(2**63) - 1, 10**399, 1e308, 5e-324, -0.0]
TEXTS = st.sampled_from(NASTY_TEXTS) | st.text()
NUMBERS = st.sampled_from(NASTY_NUMBERS) | st.integers() | st.floats()
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS, inner, max_size=5),
    max_leaves=10,
)
NOT_QUITE_JSON = st.binary() | st.text('[]{}":,0123456789eE+-.\\untrfalsd ').map(str.encode)
TYPES = ["application/json", "application/json; charset=utf-16", "text/plain", "multipart/form-data", ""]


def queries(names: list[str]) -> st.SearchStrategy[str]:
    """Query strings of these names, with values that may not even be UTF-8."""
    encoded = TEXTS.map(lambda text: quote(text, errors="surrogatepass"))
    pairs = st.tuples(st.sampled_from([*names, "latitude", "longitude", "", "%FF"]), encoded | st.text("%0aF+;=,."))
    return st.lists(pairs, max_size=6).map(lambda found: "&".join(f"{name}={value}" for name, value in found))


def bodies(names: list[str], known: dict[str, Any]) -> st.SearchStrategy[str]:
    """Bodies with some of these members and others, with values of any kind, and bodies that are no objects."""
    values = VALUES | st.sampled_from(list(known.values()))
    return (st.dictionaries(st.sampled_from(names) | TEXTS, values, max_size=8) | VALUES).map(json.dumps)


def raw_requests(client: FlaskClient, operation: Operation, known: dict[str, Any], kind: str) -> Any:
    """Keyword arguments of requests of this kind, as strategies."""
    if kind == "query string":
        return {"query_string": queries([parameter.name for parameter in operation.query])}
    if kind == "bytes":
        return {"data": NOT_QUITE_JSON, "content_type": st.sampled_from(TYPES)}
    description: Any = client.get("/openapi.json").json
    body = description["paths"][operation.path][operation.method]["requestBody"]["content"]["application/json"]
    schema = description["components"]["schemas"][body["schema"]["$ref"].rpartition("/")[2]]
    return {"data": bodies(sorted(schema["properties"]), known), "content_type": st.just("application/json")}


@pytest.mark.attack("fuzz")
@pytest.mark.parametrize("kind", ["query string", "JSON", "bytes"])
def test_no_raw_input_causes_a_500(
    subtests: pytest.Subtests, client: FlaskClient, tenant: TenantProcess, kind: str
) -> None:
    def send(operation: Operation) -> None:
        headers, known = make_actor(tenant, Role.ADMIN, operation)
        path = operation.path.format_map(known)

        @steady(RAW_EXAMPLES)
        @given(request=st.fixed_dictionaries(raw_requests(client, operation, known, kind)))
        def each(request: dict[str, Any]) -> None:
            answer = client.open(path, method=operation.method, headers=headers, **request)
            assert_orderly(answer.status_code, answer.get_data(), request)

        each()

    for operation in operations(client.application):
        if len(operation.query if kind == "query string" else operation.body):
            with subtests.test(operation.label):
                send(operation)

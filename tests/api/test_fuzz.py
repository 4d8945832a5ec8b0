"""Whatever clients send, no answer is a 500, and each refusal has the one error body.

What is sent is made from `/openapi.json`: what it allows, what it does not, and then what no description speaks of. The
examples are the same in every run, and what a test stores is undone at its end.
"""

import json
from dataclasses import dataclass
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

from app.database import transaction
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


@dataclass(frozen=True)
class Actor:
    """Who sends it, and what it may hit upon: a value that is right, for some of the names in a path, query or body."""

    headers: dict[str, str]
    known: dict[str, Any]

    def known_to(self, operation: Operation) -> dict[str, Any]:
        """What is right for this operation: an admin can do something to a category only while nothing is in it."""
        is_admins = operation.path.startswith("/api/v1/admin/categories")
        return self.known | {"category_id": str(add_category())} if is_admins else self.known

    def path_of(self, operation: Operation) -> str:
        return str(operation.path.format_map(self.known_to(operation)))


def make_actor(tenant: TenantProcess, role: Role | None) -> Actor:
    """Somebody in a role (None: nobody), and things that are the actor's own."""
    person = None if role is None else add_person(tenant, role)
    me, other = (add_user() if person is None else person.id), add_user()
    equipment_id = add_equipment(me, photos=1)
    ids = {
        "user_id": other if role is Role.ADMIN else me,  # an admin who is gone could do nothing more
        "equipment_id": equipment_id,
        "photo_id": photo_id_of(equipment_id),
        "category_id": category_id(),
        "conversation_id": add_conversation(me, other, messages=3),
    }
    if role in (Role.OWNER, Role.ADMIN):
        with transaction() as session:
            session.add(OwnerProfile(user_id=me, business_info={}))
    known = {name: str(value) for name, value in ids.items()}
    right = {"participant_ids": [str(other)], "photo_url": "https://photos.example.com/1.jpg", **new_equipment()}
    return Actor({} if person is None else person.headers, {**right, **known})


def operations(app: Flask) -> list[Operation]:
    described = schemathesis.openapi.from_wsgi("/openapi.json", app)
    # Of REST: what an operator asks for takes nothing.
    found = list(described.include(path_regex="^/api/").get_all_operations())
    assert all(isinstance(each, Ok) for each in found), "what the document says of each can be read"
    return [each.ok() for each in found if isinstance(each, Ok)]


def cases(operation: Operation, mode: GenerationMode, known: dict[str, Any]) -> Any:
    """Requests of an operation: to things that exist, and to things that do not."""
    named = {name: value for name, value in known.items() if f"{{{name}}}" in operation.path}
    anything = operation.as_strategy(generation_mode=mode)
    if not named:
        return anything
    return st.one_of(operation.as_strategy(generation_mode=mode, path_parameters=named), anything)


def assert_orderly(status: int, body: bytes, sent: object) -> None:
    assert status < 500, (status, sent, body)
    if status >= 400:
        answer = json.loads(body)
        assert answer.keys() >= ERROR_MEMBERS, (status, sent, body)
        assert answer["status"] == status


def send_described(operation: Operation, mode: GenerationMode, actor: Actor) -> set[int]:
    """Send many requests of one operation, and look at each answer; their statuses."""
    statuses = set()
    known = actor.known_to(operation)

    @steady(DESCRIBED_EXAMPLES)
    @given(case=cases(operation, mode, known), made_up=st.sets(st.sampled_from(sorted(known))))
    def each(case: Case[Any], made_up: set[str]) -> None:
        for part in (case.body, case.query):
            if isinstance(part, dict):
                part.update((name, value) for name, value in known.items() if name in part.keys() - made_up)
        answer = case.call(headers=actor.headers)
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
            statuses = send_described(operation, mode, make_actor(tenant, role))
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


def member_names(client: FlaskClient, operation: Operation) -> list[str]:
    """The members that a body is described to have."""
    description: Any = client.get("/openapi.json").json
    described = description["paths"][operation.path][operation.method]["requestBody"]["content"]["application/json"]
    name = described["schema"]["$ref"].rpartition("/")[2]
    return sorted(description["components"]["schemas"][name]["properties"])


def send_raw(client: FlaskClient, operation: Operation, actor: Actor, **request: st.SearchStrategy[Any]) -> None:
    """Send many requests that are made of such parts, and look at each answer."""

    @steady(RAW_EXAMPLES)
    @given(request=st.fixed_dictionaries(request))
    def each(request: dict[str, Any]) -> None:
        path = actor.path_of(operation)
        answer = client.open(path, method=operation.method, headers=actor.headers, **request)
        assert_orderly(answer.status_code, answer.get_data(), request)

    each()


def parts(client: FlaskClient, operation: Operation, actor: Actor, kind: str) -> dict[str, st.SearchStrategy[Any]]:
    """What to send of this kind; nothing if the operation takes none."""
    if kind == "query string":
        names = [parameter.name for parameter in operation.query]
        return {"query_string": queries(names)} if names else {}
    if not operation.body:
        return {}
    if kind == "JSON":
        data = bodies(member_names(client, operation), actor.known)
        return {"data": data, "content_type": st.just("application/json")}
    return {"data": NOT_QUITE_JSON, "content_type": st.sampled_from(TYPES)}


@pytest.mark.attack("fuzz")
@pytest.mark.parametrize("kind", ["query string", "JSON", "bytes"])
def test_no_raw_input_causes_a_500(
    subtests: pytest.Subtests, client: FlaskClient, tenant: TenantProcess, kind: str
) -> None:
    for operation in operations(client.application):
        actor = make_actor(tenant, Role.ADMIN)
        if request := parts(client, operation, actor, kind):
            with subtests.test(operation.label):
                send_raw(client, operation, actor, **request)

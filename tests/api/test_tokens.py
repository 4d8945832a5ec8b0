"""Which tokens open the door: attacks, each with the answer it gets, and what must be let in."""

import json
import re
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine
from werkzeug.test import TestResponse

from app import create_app
from app.auth import key_set
from app.auth.tokens import MAX_TOKEN_BYTES
from app.settings import Settings
from tests.support.assertions import assert_error, assert_ok
from tests.support.processes.tenant import AUDIENCE, TenantProcess
from tests.support.rows import Person
from tests.support.token_attacks import CLAIMS_TEXT, DATES, attacks, dated, filled
from tests.support.tokens import Forger, published_key

ATTACKS = attacks()
MANY_LETTERS = 40  # so many are found by chance in no answer
ME = "/api/v1/auth/me"


@pytest.fixture(scope="module")
def closed_app(settings: Settings, engine: Engine, tenant: TenantProcess) -> Iterator[Flask]:
    """An app that knows no key yet. Its cool-down does not end while the module lasts: so one fetch is all there is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(key_set, "COOL_DOWN_SECONDS", float("inf"))
        yield create_app(settings)


@pytest.fixture(scope="module")
def tenant_counts(tenant: TenantProcess, closed_app: Flask) -> Callable[[], dict[str, int]]:
    """What the tenant was asked for since the first attack: a made-up key, for which the key set is fetched."""
    stranger = Forger(tenant, "nobody")
    published_key(tenant, stranger.kid())  # the forger's own question, so that it comes before
    tenant.reset()
    assert_refused(ask(closed_app.test_client(), f"Bearer {stranger.unsigned('AAAA', kid='made up')}"))
    return lambda: dict(tenant.counters()["endpoints"])


@pytest.fixture(autouse=True)
def asks_for_keys_once_in_all(tenant_counts: Callable[[], dict[str, int]], trap: socket.socket) -> Iterator[None]:
    """All these attacks together make the service fetch the key set once, and nothing from where the attacker says."""
    yield
    assert tenant_counts()["jwks"] == 1
    with pytest.raises(BlockingIOError):
        trap.accept()


@pytest.fixture
def client(closed_app: Flask, rolled_back: None) -> FlaskClient:
    return closed_app.test_client()


@pytest.fixture
def forger(tenant: TenantProcess, renter: Person, trap: socket.socket) -> Forger:
    return Forger(tenant, renter.subject, lure=f"http://127.0.0.1:{trap.getsockname()[1]}/jwks.json")


def ask(client: FlaskClient, authorization: str | None) -> TestResponse:
    """A request with exactly this header, which werkzeug's own checks would not let a test send."""
    return client.get(ME, environ_overrides={} if authorization is None else {"HTTP_AUTHORIZATION": authorization})


def assert_refused(answer: TestResponse, code: str = "INVALID_TOKEN") -> None:
    """Check for a 401 with the challenge of RFC 6750 §3.1."""
    assert_error(answer, 401, code)
    challenge = r'Bearer realm="gearyard", error="invalid_token", error_description="[ -!#-\[\]-~]+"'
    assert re.fullmatch(challenge, answer.headers["WWW-Authenticate"])


def assert_malformed(answer: TestResponse) -> None:
    """Check for the 400 of RFC 6750 §3.1 for more than one token."""
    assert (answer.status_code, answer.json and answer.json["code"]) == (400, "BAD_REQUEST")
    assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="gearyard", error="invalid_request"')


def assert_asked_for_a_token(answer: TestResponse) -> None:
    """Check for a 401 without an error code in the challenge, as no token was presented (RFC 6750 §3.1)."""
    assert_error(answer, 401, "UNAUTHORIZED")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="gearyard"'


@pytest.mark.attack("tokens over HTTP")
@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_and_not_repeated(client: FlaskClient, forger: Forger, name: str) -> None:
    token = ATTACKS[name].forge(forger)
    answer = ask(client, f"Bearer {token}")
    if "," in token:
        assert_malformed(answer)
    else:
        assert_refused(answer, ATTACKS[name].code)
    assert len(token) < MANY_LETTERS or token not in answer.text


def test_the_text_that_those_payloads_vary_is_itself_let_in(client: FlaskClient, forger: Forger) -> None:
    payload = filled("{{" + CLAIMS_TEXT + "}}", forger)
    assert ask(client, f"Bearer {forger.order(payload=payload)}").status_code == 200


def test_the_largest_token_is_let_in_and_one_beyond_is_not(client: FlaskClient, forger: Forger) -> None:
    room = (MAX_TOKEN_BYTES - len(forger.order(claims={"pad": ""}))) * 3 // 4
    largest, beyond = (forger.order(claims={"pad": "x" * size}) for size in (room - 3, room + 3))
    assert MAX_TOKEN_BYTES - 8 < len(largest) <= MAX_TOKEN_BYTES < len(beyond)
    assert ask(client, f"Bearer {largest}").status_code == 200
    assert_refused(ask(client, f"Bearer {beyond}"))


@pytest.mark.parametrize("name", [name for name, (_, code) in DATES.items() if code is None])
def test_dates_count_with_a_minute_s_leeway(client: FlaskClient, forger: Forger, name: str) -> None:
    assert_ok(ask(client, f"Bearer {dated(DATES[name][0], forger)}"))


@pytest.mark.parametrize(
    "order",
    [
        {},
        {"claims": {"aud": AUDIENCE}},
        {"claims": {"aud": [AUDIENCE]}},
        {"claims": {"aud": ["https://other.example", AUDIENCE]}},
        {"header": {"typ": "at+jwt"}},
        {"drop_header": ["typ"]},
        {"header": {"x5t": "c2hhMQ"}},
        {"key": "next"},
        {"claims": {"permissions": ["a"], "https://gearyard.example/x": {"y": [1]}}},
    ],
    ids=lambda order: json.dumps(order)[:40],
)
def test_what_a_tenant_makes_is_let_in(
    client: FlaskClient, forger: Forger, renter: Person, order: dict[str, Any]
) -> None:
    assert assert_ok(ask(client, f"Bearer {forger.order(**order)}"))["id"] == str(renter.id)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
def test_the_scheme_s_letters_may_be_of_any_case(client: FlaskClient, renter: Person, scheme: str) -> None:
    assert ask(client, f"{scheme} {renter.token}").status_code == 200


OTHER_SCHEMES = ["Basic", "Digest", "Token", "DPoP", "JWT", "Bearer:", '"Bearer"', ""]


@pytest.mark.attack("tokens over HTTP")
@pytest.mark.parametrize("header", [None, "", " ", "Bearer", "Bearer ", *(f"{each} {{}}" for each in OTHER_SCHEMES)])
def test_without_a_bearer_token_the_answer_asks_for_one(
    client: FlaskClient, renter: Person, header: str | None
) -> None:
    assert_asked_for_a_token(ask(client, header and header.format(renter.token)))


@pytest.mark.attack("tokens over HTTP")
@pytest.mark.parametrize("space", ["\t", "\xa0", "\x85", "\x0b", "\x1f", " \t", " \xa0"], ids=repr)
def test_only_blanks_part_the_scheme_from_the_token(client: FlaskClient, renter: Person, space: str) -> None:
    assert ask(client, f"Bearer{space}{renter.token}").status_code == 401  # RFC 9110 §11.4
    assert ask(client, f"Bearer   {renter.token}").status_code == 200


@pytest.mark.attack("tokens over HTTP")
@pytest.mark.parametrize(
    "way", ["query", "JSON", "form", "multipart", "cookie", "X-Access-Token", "Proxy-Authorization"]
)
def test_a_token_that_comes_by_another_way_is_not_taken(client: FlaskClient, renter: Person, way: str) -> None:
    token = f"Bearer {renter.token}" if way == "Proxy-Authorization" else renter.token
    fields = {"access_token": renter.token, "token": renter.token, "authorization": renter.token}
    headers = {"Cookie": f"access_token={token}; token={token}"} if way == "cookie" else {way: token}
    bodies: dict[str, dict[str, Any]] = {
        "query": {"query_string": fields},
        "JSON": {"json": fields},
        "form": {"data": fields, "content_type": "application/x-www-form-urlencoded"},
        "multipart": {"data": fields, "content_type": "multipart/form-data"},
    }
    assert_asked_for_a_token(client.post("/api/v1/conversations", **bodies.get(way, {"headers": headers})))


@pytest.mark.attack("tokens over HTTP")
def test_the_header_s_token_counts_whatever_the_query_says(client: FlaskClient, renter: Person, owner: Person) -> None:
    query = {"access_token": owner.token, "token": owner.token}
    assert assert_ok(client.get(ME, query_string=query, headers=renter.headers))["id"] == str(renter.id)


@pytest.mark.attack("tokens over HTTP")
@pytest.mark.parametrize(
    "header", ["Bearer {0}, Bearer {1}", "Bearer {0},{1}", "Bearer {0}, Basic {1}", "Basic {1}, Bearer {0}", "{0}, {1}"]
)
def test_more_than_one_token_is_a_malformed_request_or_no_bearer_s(
    client: FlaskClient, renter: Person, owner: Person, header: str
) -> None:
    # RFC 6750 §3.1, invalid_request: neither of two can be the one that was meant.
    both = [("Authorization", f"Bearer {person.token}") for person in (renter, owner)]
    assert_malformed(client.get(ME, headers=both))
    answer = ask(client, header.format(renter.token, owner.token))
    if header.startswith("Bearer"):
        assert_malformed(answer)
    else:
        assert_asked_for_a_token(answer)

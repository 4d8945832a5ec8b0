"""Which tokens open the door: a table of attacks, each with the answer it gets, and of what must be let in.

The attacks are in `tests/token_attacks.py`, for the socket's tests use them, too.
"""

import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.auth.tokens import MAX_TOKEN_BYTES
from tests.factories import Person
from tests.local.tenant_process import AUDIENCE, PASSWORD, TenantProcess
from tests.token_attacks import (
    CLAIMS_TEXT,
    DATES,
    FORGERIES,
    NO_TOKENS,
    ORDERS,
    PAYLOADS,
    Forger,
    dated,
    filled,
)

ME = "/api/v1/auth/me"


@pytest.fixture(autouse=True)
def asks_for_keys_once_at_most(tenant: TenantProcess) -> Iterator[None]:
    """No attack makes the service fetch the key set more than once, nor anything from where the attacker says."""
    tenant.reset()
    yield
    requests = tenant.counters()["endpoints"]
    assert requests["jwks"] <= 1
    assert requests["trap"] == 0


@pytest.fixture
def forger(tenant: TenantProcess, renter: Person) -> Forger:
    return Forger(tenant, renter.subject)


def ask(client: FlaskClient, authorization: str | None) -> TestResponse:
    """A request with exactly this header, which werkzeug's own checks would not let a test send."""
    return client.get(ME, environ_overrides={} if authorization is None else {"HTTP_AUTHORIZATION": authorization})


def assert_refused(answer: TestResponse, code: str = "INVALID_TOKEN") -> None:
    assert answer.status_code == 401, answer.text
    assert answer.json is not None
    assert answer.json["code"] == code
    assert answer.json.keys() >= {"error", "message", "request_id"}
    challenge = answer.headers["WWW-Authenticate"]  # RFC 6750 §3.1
    assert re.fullmatch(
        r'Bearer realm="gearyard", error="invalid_token", error_description="[ -!#-\[\]-~]+"', challenge
    )


def assert_asked_for_a_token(answer: TestResponse) -> None:
    assert answer.status_code == 401
    assert answer.json is not None
    assert answer.json["code"] == "UNAUTHORIZED"
    # RFC 6750 §3.1: no error code where no token was presented.
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="gearyard"'


@pytest.mark.attack("tokens over HTTP")
@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_a_token_that_the_tenant_would_not_make_is_refused_though_its_key_signed_it(
    client: FlaskClient, forger: Forger, order: dict[str, Any]
) -> None:
    assert_refused(ask(client, f"Bearer {forger.order(**order)}"))


@pytest.mark.attack("tokens over HTTP")
@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_a_payload_that_can_be_read_in_two_ways_or_in_none_is_refused(
    client: FlaskClient, forger: Forger, payload: str
) -> None:
    assert_refused(ask(client, f"Bearer {forger.order(payload=filled(payload, forger))}"))


def test_the_text_that_those_payloads_vary_is_itself_let_in(client: FlaskClient, forger: Forger) -> None:
    payload = filled("{{" + CLAIMS_TEXT + "}}", forger)
    assert ask(client, f"Bearer {forger.order(payload=payload)}").status_code == 200


@pytest.mark.attack("tokens over HTTP")
@pytest.mark.parametrize("token", NO_TOKENS.values(), ids=NO_TOKENS)
def test_what_is_no_token_at_all_is_refused(client: FlaskClient, token: str) -> None:
    assert_refused(ask(client, f"Bearer {token}"))


@pytest.mark.attack("tokens over HTTP")
@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
def test_a_forgery_is_refused(client: FlaskClient, forger: Forger, forge: Callable[[Forger], str]) -> None:
    token = forge(forger)
    answer = ask(client, f"Bearer {token}")
    assert_refused(answer)
    assert token not in answer.text


@pytest.mark.attack("tokens over HTTP")
def test_a_token_of_another_published_key_under_this_one_s_kid_is_refused(client: FlaskClient, forger: Forger) -> None:
    assert_refused(ask(client, f"Bearer {forger.order(key='next', header={'kid': forger.kid()})}"))


def test_the_largest_token_is_let_in_and_one_beyond_is_not(client: FlaskClient, forger: Forger) -> None:
    room = (MAX_TOKEN_BYTES - len(forger.order(claims={"pad": ""}))) * 3 // 4
    largest, beyond = (forger.order(claims={"pad": "x" * size}) for size in (room - 3, room + 3))
    assert MAX_TOKEN_BYTES - 8 < len(largest) <= MAX_TOKEN_BYTES < len(beyond)
    assert ask(client, f"Bearer {largest}").status_code == 200
    assert_refused(ask(client, f"Bearer {beyond}"))


@pytest.mark.attack("tokens over HTTP")
@pytest.mark.parametrize("suffix", ["", "/"], ids=["without a slash", "with two"])
def test_the_issuer_must_match_to_the_slash(client: FlaskClient, forger: Forger, suffix: str) -> None:
    issuer = forger.tenant.issuer.rstrip("/") + suffix * 2
    assert_refused(ask(client, f"Bearer {forger.order(claims={'iss': issuer})}"))


@pytest.mark.parametrize(
    ("dates", "code"),
    [
        pytest.param(*row, id=name, marks=[pytest.mark.attack("tokens over HTTP")] if row[1] else [])
        for name, row in DATES.items()
    ],
)
def test_dates_count_with_a_minute_s_leeway(
    client: FlaskClient, forger: Forger, dates: dict[str, float], code: str | None
) -> None:
    answer = ask(client, f"Bearer {dated(dates, forger)}")
    if code is None:
        assert answer.status_code == 200, answer.text
    else:
        assert_refused(answer, code)


@pytest.mark.parametrize(
    "order",
    [
        {"drop": ["nbf"]},
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
    answer = ask(client, f"Bearer {forger.order(**order)}")
    assert answer.status_code == 200, answer.text
    assert answer.json is not None
    assert answer.json["id"] == str(renter.id)


def test_a_tenant_s_usual_token_names_userinfo_as_audience_too_and_no_nbf(tenant: TenantProcess) -> None:
    claims = tenant.mint()["claims"]
    assert claims["aud"] == [AUDIENCE, tenant.issuer + "userinfo"]
    assert "nbf" not in claims


@pytest.mark.attack("tokens over HTTP")
def test_an_id_token_is_no_access_token(client: FlaskClient, tenant: TenantProcess) -> None:
    email = f"id-token-{time.time_ns()}@example.com"
    tenant.add_user(email, PASSWORD)
    tokens = client.post("/api/v1/auth/auth0/login", json={"email": email, "password": PASSWORD}).json
    assert tokens is not None
    assert_refused(ask(client, f"Bearer {tokens['id_token']}"))
    assert ask(client, f"Bearer {tokens['access_token']}").status_code == 200


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
def test_the_scheme_s_letters_may_be_of_any_case(client: FlaskClient, renter: Person, scheme: str) -> None:
    assert ask(client, f"{scheme} {renter.token}").status_code == 200


@pytest.mark.attack("tokens over HTTP")
@pytest.mark.parametrize("scheme", ["Basic", "Digest", "Token", "DPoP", "JWT", "Bearer:", '"Bearer"', ""])
def test_another_scheme_is_answered_with_the_one_to_use(client: FlaskClient, renter: Person, scheme: str) -> None:
    assert_asked_for_a_token(ask(client, f"{scheme} {renter.token}"))


@pytest.mark.parametrize("header", [None, "", " ", "Bearer", "Bearer "])
def test_without_a_token_the_answer_says_to_send_one(client: FlaskClient, header: str | None) -> None:
    assert_asked_for_a_token(ask(client, header))


@pytest.mark.attack("tokens over HTTP")
@pytest.mark.parametrize("parameter", ["access_token", "token", "authorization"])
def test_a_token_in_the_query_is_not_taken(client: FlaskClient, renter: Person, parameter: str) -> None:
    assert_asked_for_a_token(client.get(ME, query_string={parameter: renter.token}))


@pytest.mark.attack("tokens over HTTP")
@pytest.mark.parametrize(
    "header", ["Bearer {0}, Bearer {0}", "Bearer {0},{0}", "Bearer {0},", 'Bearer {{"payload":"a","signature":"b"}}']
)
def test_more_than_one_token_is_a_malformed_request(client: FlaskClient, renter: Person, header: str) -> None:
    # RFC 6750 §3.1, invalid_request: neither of two can be the one that was meant.
    answer = ask(client, header.format(renter.token))
    assert (answer.status_code, answer.json and answer.json["code"]) == (400, "BAD_REQUEST")


@pytest.mark.attack("tokens over HTTP")
def test_two_authorization_headers_are_a_malformed_request(client: FlaskClient, renter: Person, owner: Person) -> None:
    both = [("Authorization", f"Bearer {person.token}") for person in (renter, owner)]
    answer = client.get(ME, headers=both)
    assert (answer.status_code, answer.json and answer.json["code"]) == (400, "BAD_REQUEST")


@pytest.mark.attack("tokens over HTTP")
def test_two_hundred_made_up_keys_cost_one_fetch_and_keep_nobody_out(
    client: FlaskClient, tenant: TenantProcess, forger: Forger
) -> None:
    good = forger.order()
    assert ask(client, f"Bearer {good}").status_code == 200
    fetched = tenant.counters()["endpoints"]["jwks"]
    for number in range(200):
        assert_refused(ask(client, f"Bearer {forger.own(kid=f'made-up-{number}')}"))
        assert ask(client, f"Bearer {good}").status_code == 200
    assert tenant.counters()["endpoints"]["jwks"] <= fetched + 1

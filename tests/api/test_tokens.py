"""Which tokens open the door: a table of attacks, each with the answer it gets, and of what must be let in.

Tokens are signed by the tenant's real keys wherever the attack allows it, so that what is wrong with one is what
refuses it.
"""

import base64
import json
import re
import time
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from flask.testing import FlaskClient
from joserfc.jwk import RSAKey
from werkzeug.test import TestResponse

from app.auth.tokens import MAX_LIFETIME_SECONDS, MAX_TOKEN_BYTES
from tests.factories import Person
from tests.local.tenant_process import AUDIENCE, CLIENT_ID, PASSWORD, TenantProcess

ME = "/api/v1/auth/me"
DAY = 86_400


@pytest.fixture(autouse=True)
def asks_for_keys_once_at_most(tenant: TenantProcess) -> Iterator[None]:
    """No attack makes the service fetch the key set more than once, nor anything from where the attacker says."""
    tenant.reset()
    yield
    requests = tenant.counters()["endpoints"]
    assert requests["jwks"] <= 1
    assert requests["trap"] == 0


class Forger:
    """Tokens for a user that the service knows: by the tenant's own keys, or by the forger's."""

    def __init__(self, tenant: TenantProcess, subject: str) -> None:
        self.tenant = tenant
        self.subject = subject
        self.now = int(time.time())

    def order(self, *, claims: dict[str, Any] | None = None, **order: Any) -> str:
        """A token signed by the tenant."""
        return str(self.tenant.mint(claims={"sub": self.subject, **(claims or {})}, **order)["token"])

    def good(self) -> tuple[str, str, str]:
        """The three parts of a token that would be let in."""
        header, payload, signature = self.order().split(".")
        return header, payload, signature

    def kid(self) -> str:
        """What the tenant calls its current key."""
        return str(self.tenant.mint()["header"]["kid"])

    def own(self, **header: Any) -> str:
        """A token that is good but for its signature, which is by the forger's own key."""
        signed = f"{_part({'alg': 'RS256', 'typ': 'JWT', 'kid': self.kid(), **header})}.{self.good()[1]}"
        signature = _private_key().sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_base64url(signature)}"


@cache
def _private_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _public_jwk() -> dict[str, Any]:
    return dict(RSAKey.import_key(_private_key().public_key()).as_dict(private=False))


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _part(value: Any) -> str:
    return _base64url(json.dumps(value).encode())


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


ORDERS: dict[str, dict[str, Any]] = {
    **{f"alg {alg}": {"header": {"alg": alg}} for alg in ("none", "None", "NONE", "nOnE", "nonE")},
    "HS256 keyed with the public key": {"header": {"alg": "HS256"}},
    **{f"alg {alg}": {"header": {"alg": alg}} for alg in ("RS384", "RS512", "PS256", "ES256", "rs256", "", "RS256 ")},
    "alg that is a list": {"header": {"alg": ["RS256"]}},
    "alg that is null": {"header": {"alg": None}},
    "no alg": {"drop_header": ["alg"]},
    "no kid": {"drop_header": ["kid"]},
    **{
        f"kid {kid!r:.30}": {"header": {"kid": kid}}
        for kid in ("", None, 7, ["a"], {"a": 1}, "a" * 4096, "../../../../dev/null", "' OR 1=1 --", "x\0", "unknown")
    },
    "a key that the tenant never published": {"key": "unpublished"},
    **{
        f"header {name}": {"header": {name: value}}
        for name, value in {
            "crit": ["exp"],
            "crit of nothing": [],
            "b64": False,
            "zip": "DEF",
            "enc": "A256GCM",
            "jwk": {},
            "x5c": [],
            "jku": "https://evil.example/jwks.json",
            "x5u": "https://evil.example/key.pem",
            "typ": "dpop+jwt",
        }.items()
    },
    **{f"typ {typ!r}": {"header": {"typ": typ}} for typ in (7, None, "JWE", "id_token")},
    **{f"no {claim}": {"drop": [claim]} for claim in ("iss", "aud", "sub", "iat", "exp")},
    **{f"{claim} null": {"claims": {claim: None}} for claim in ("iss", "aud", "sub", "iat", "exp", "nbf")},
    **{
        f"aud {aud!r:.40}": {"claims": {"aud": aud}}
        for aud in (
            "https://other.example",
            "",
            [],
            ["https://other.example"],
            [[AUDIENCE]],
            [AUDIENCE, 7],
            {"aud": AUDIENCE},
            7,
            True,
            AUDIENCE + "/",
            AUDIENCE.upper(),
            CLIENT_ID,
        )
    },
    **{
        f"iss {iss!r:.40}": {"claims": {"iss": iss}}
        for iss in ("https://other.eu.auth0.com/", "https://other.eu.auth0.com", "", 7, ["https://other.example/"])
    },
    **{
        f"sub {sub!r:.20}": {"claims": {"sub": sub}}
        for sub in ("", "x" * 300, 7, ["auth0|1"], True, "auth0|\0", "auth0|\n1", "auth0|\x7f", "auth0|\u202e1")
    },
    **{
        f"{claim} {value!r:.20}": {"claims": {claim: value}}
        for claim in ("exp", "iat", "nbf")
        for value in ("9999999999", [9999999999], True, {}, -1, -(10**400), 10**400, 2**53 + 2)
    },
}


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_a_token_that_the_tenant_would_not_make_is_refused_though_its_key_signed_it(
    client: FlaskClient, forger: Forger, order: dict[str, Any]
) -> None:
    assert_refused(ask(client, f"Bearer {forger.order(**order)}"))


CLAIMS_TEXT = '"iss":"{iss}","aud":"{aud}","sub":"{sub}","iat":{now},"exp":{later}'
PAYLOADS = {
    "sub twice": "{{" + CLAIMS_TEXT + ',"sub":"auth0|other"}}',
    "sub twice, once escaped": "{{" + CLAIMS_TEXT + r',"\u0073ub":"auth0|other"}}',
    "exp twice": "{{" + CLAIMS_TEXT + ',"exp":9999999999}}',
    "a member twice further down": "{{" + CLAIMS_TEXT + ',"x":{{"y":1,"y":2}}}}',
    "exp NaN": '{{"exp":NaN,' + CLAIMS_TEXT.rpartition(",")[0] + "}}",
    "exp Infinity": '{{"exp":Infinity,' + CLAIMS_TEXT.rpartition(",")[0] + "}}",
    "exp 1e400": '{{"exp":1e400,' + CLAIMS_TEXT.rpartition(",")[0] + "}}",
    "a number of 5,000 digits": "{{" + CLAIMS_TEXT + ',"x":' + "9" * 5000 + "}}",
    "5,000 deep": "{{" + CLAIMS_TEXT + ',"x":' + "[" * 5000,
    "2,500 deep, closed": "{{" + CLAIMS_TEXT + ',"x":' + "[" * 2500 + "]" * 2500 + "}}",
    "a lone surrogate, escaped": "{{" + CLAIMS_TEXT + r',"x":"\ud800"}}',
    "a lone surrogate in a name": "{{" + CLAIMS_TEXT + r',"\udfff":1}}',
    "a lone surrogate in UTF-8's form": "{{" + CLAIMS_TEXT + ',"x":"\ud800"}}',
    "a list": "[{{" + CLAIMS_TEXT + "}}]",
    "text": '"claims"',
    "null": "null",
    "nothing": "",
    "no JSON": "{{" + CLAIMS_TEXT,
    "a comment": "{{" + CLAIMS_TEXT + "}}//",
}


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_a_payload_that_can_be_read_in_two_ways_or_in_none_is_refused(
    client: FlaskClient, forger: Forger, payload: str
) -> None:
    values = {"iss": forger.tenant.issuer, "aud": AUDIENCE, "sub": forger.subject}
    filled = payload.format(**values, now=forger.now, later=forger.now + 60)
    assert_refused(ask(client, f"Bearer {forger.order(payload=filled)}"))


def test_the_text_that_those_payloads_vary_is_itself_let_in(client: FlaskClient, forger: Forger) -> None:
    values = {"iss": forger.tenant.issuer, "aud": AUDIENCE, "sub": forger.subject}
    payload = f"{{{CLAIMS_TEXT.format(**values, now=forger.now, later=forger.now + 60)}}}"
    assert ask(client, f"Bearer {forger.order(payload=payload)}").status_code == 200


FORGERIES: dict[str, Callable[[Forger], str]] = {
    "the forger's key under the tenant's kid": lambda f: f.own(),
    "the forger's key, embedded": lambda f: f.own(jwk=_public_jwk()),
    "the forger's key, embedded, under its own kid": lambda f: f.own(kid="own", jwk=_public_jwk() | {"kid": "own"}),
    "the forger's key, by jku": lambda f: f.own(jku=f.tenant.url("_control/trap")),
    "the forger's key, by x5u": lambda f: f.own(x5u=f.tenant.url("_control/trap")),
    "the forger's key, by x5c": lambda f: f.own(x5c=[base64.b64encode(b"certificate").decode()]),
    "the forger's key by jku under an unknown kid": lambda f: f.own(kid="own", jku=f.tenant.url("_control/trap")),
    "alg none over the old signature": lambda f: ".".join([_part({"alg": "none", "kid": f.kid()}), *f.good()[1:]]),
    "another user's claims under the signature": lambda f: _with_claims(f, sub="auth0|other"),
    "a later end under the signature": lambda f: _with_claims(f, exp=f.now + 7 * DAY),
    "an all-zero signature": lambda f: _with_signature(f, lambda s: _base64url(bytes(len(s) * 3 // 4))),
    "a truncated signature": lambda f: _with_signature(f, lambda s: s[:-4]),
    "one character of a signature": lambda f: _with_signature(f, lambda s: s[:1]),
    "an empty signature": lambda f: _with_signature(f, lambda s: s[:0]),
    "a longer signature": lambda f: _with_signature(f, lambda s: s + "AAAA"),
    "a changed signature": lambda f: _with_signature(f, lambda s: ("B" if s[0] == "A" else "A") + s[1:]),
    "a member twice in the header": lambda f: _with_header(f, f'{{"alg":"none","alg":"RS256","kid":"{f.kid()}"}}'),
    "a header that is a list": lambda f: _with_header(f, "[]"),
    "a header that is no JSON": lambda f: _with_header(f, "{"),
    "a header 4,000 deep": lambda f: _with_header(f, '{"alg":' + "[" * 4000),
    "a header with NaN": lambda f: _with_header(f, f'{{"alg":"RS256","kid":"{f.kid()}","x":NaN}}'),
    "a header with a lone surrogate": lambda f: _with_header(f, r'{"alg":"RS256","kid":"\ud800"}'),
    "a header that is not UTF-8": lambda f: ".".join([_base64url(b'{"alg":"RS256","kid":"\xff"}'), *f.good()[1:]]),
    "one part": lambda f: f.good()[1],
    "two parts": lambda f: ".".join(f.good()[:2]),
    "four parts": lambda f: f.order() + ".AAAA",
    "five parts, as of encryption": lambda f: f.order() + ".AAAA.AAAA",
    "padding": lambda f: ".".join(part + "=" * (-len(part) % 4) for part in f.good()),
    "padding at the end": lambda f: f.order() + "==",
    "the other base64": lambda f: f.order().replace("-", "+").replace("_", "/") + "/",
    "a line break at the end": lambda f: f.order() + "\n",
    "a line break within": lambda f: "\n".join([f.order()[:50], f.order()[50:]]),
    "a folded line": lambda f: ".\r\n ".join(f.good()),
    "a space within": lambda f: " .".join(f.good()),
    "a space at the end": lambda f: f.order() + " ",
    "a NUL at the end": lambda f: f.order() + "\0",
    "letters beyond ASCII": lambda f: f.order() + "é",
    "quotes": lambda f: f'"{f.order()}"',
}


NO_TOKENS = {
    "a word": "null",
    "empty parts": "..",
    "only dots": "....",
    "one byte too many": "a" * (MAX_TOKEN_BYTES + 1),
    "a megabyte": "a" * 1024 * 1024,
    "a megabyte of dots": "." * 1024 * 1024,
    "a megabyte in three parts": ".".join(["A" * 349_525] * 3),
}


@pytest.mark.parametrize("token", NO_TOKENS.values(), ids=NO_TOKENS)
def test_what_is_no_token_at_all_is_refused(client: FlaskClient, token: str) -> None:
    assert_refused(ask(client, f"Bearer {token}"))


def _with_claims(forger: Forger, **changes: Any) -> str:
    header, payload, signature = forger.good()
    claims = json.loads(base64.urlsafe_b64decode(payload + "==="))
    return f"{header}.{_part(claims | changes)}.{signature}"


def _with_header(forger: Forger, header: str) -> str:
    return ".".join([_base64url(header.encode()), *forger.good()[1:]])


def _with_signature(forger: Forger, change: Callable[[str], str]) -> str:
    header, payload, signature = forger.good()
    return f"{header}.{payload}.{change(signature)}"


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
def test_a_forgery_is_refused(client: FlaskClient, forger: Forger, forge: Callable[[Forger], str]) -> None:
    token = forge(forger)
    answer = ask(client, f"Bearer {token}")
    assert_refused(answer)
    assert token not in answer.text


def test_a_token_of_another_published_key_under_this_one_s_kid_is_refused(client: FlaskClient, forger: Forger) -> None:
    assert_refused(ask(client, f"Bearer {forger.order(key='next', header={'kid': forger.kid()})}"))


def test_the_largest_token_is_let_in_and_one_beyond_is_not(client: FlaskClient, forger: Forger) -> None:
    room = (MAX_TOKEN_BYTES - len(forger.order(claims={"pad": ""}))) * 3 // 4
    largest, beyond = (forger.order(claims={"pad": "x" * size}) for size in (room - 3, room + 3))
    assert MAX_TOKEN_BYTES - 8 < len(largest) <= MAX_TOKEN_BYTES < len(beyond)
    assert ask(client, f"Bearer {largest}").status_code == 200
    assert_refused(ask(client, f"Bearer {beyond}"))


@pytest.mark.parametrize("suffix", ["", "/"], ids=["without a slash", "with two"])
def test_the_issuer_must_match_to_the_slash(client: FlaskClient, forger: Forger, suffix: str) -> None:
    issuer = forger.tenant.issuer.rstrip("/") + suffix * 2
    assert_refused(ask(client, f"Bearer {forger.order(claims={'iss': issuer})}"))


# Seconds from now for each date, and the code of the refusal; None: it is let in.
DATES: dict[str, tuple[dict[str, float], str | None]] = {
    "expired an hour ago": ({"iat": -7200, "exp": -3600}, "TOKEN_EXPIRED"),
    "expired just beyond the leeway": ({"iat": -120, "exp": -61}, "TOKEN_EXPIRED"),
    "expired in 1970": ({"iat": -(10**9), "exp": -(10**9) + 60}, "TOKEN_EXPIRED"),
    "expired 30 s ago, by another clock": ({"iat": -120, "exp": -30}, None),
    "ends at a fraction of a second": ({"exp": 60.5}, None),
    "not before an hour from now": ({"nbf": 3600}, "INVALID_TOKEN"),
    "not before 30 s from now, by another clock": ({"nbf": 30}, None),
    "not before an hour ago": ({"nbf": -3600}, None),
    "issued an hour from now": ({"iat": 3600, "exp": 7200}, "INVALID_TOKEN"),
    "issued 30 s from now, by another clock": ({"iat": 30}, None),
    "lives 31 days": ({"exp": 31 * DAY}, "INVALID_TOKEN"),
    "lives 31 days, of which it has 29 left": ({"iat": -2 * DAY, "exp": 29 * DAY}, "INVALID_TOKEN"),
    "lives 30 days": ({"iat": 0, "exp": MAX_LIFETIME_SECONDS}, None),
}


@pytest.mark.parametrize(("dates", "code"), DATES.values(), ids=DATES)
def test_dates_count_with_a_minute_s_leeway(
    client: FlaskClient, forger: Forger, dates: dict[str, float], code: str | None
) -> None:
    claims = {"iat": forger.now} | {name: forger.now + seconds for name, seconds in dates.items()}
    answer = ask(client, f"Bearer {forger.order(claims=claims)}")
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


@pytest.mark.parametrize("scheme", ["Basic", "Digest", "Token", "DPoP", "JWT", "Bearer:", '"Bearer"', ""])
def test_another_scheme_is_answered_with_the_one_to_use(client: FlaskClient, renter: Person, scheme: str) -> None:
    assert_asked_for_a_token(ask(client, f"{scheme} {renter.token}"))


@pytest.mark.parametrize("header", [None, "", " ", "Bearer", "Bearer "])
def test_without_a_token_the_answer_says_to_send_one(client: FlaskClient, header: str | None) -> None:
    assert_asked_for_a_token(ask(client, header))


@pytest.mark.parametrize("parameter", ["access_token", "token", "authorization"])
def test_a_token_in_the_query_is_not_taken(client: FlaskClient, renter: Person, parameter: str) -> None:
    assert_asked_for_a_token(client.get(ME, query_string={parameter: renter.token}))


@pytest.mark.parametrize(
    "header", ["Bearer {0}, Bearer {0}", "Bearer {0},{0}", "Bearer {0},", 'Bearer {{"payload":"a","signature":"b"}}']
)
def test_more_than_one_token_is_a_malformed_request(client: FlaskClient, renter: Person, header: str) -> None:
    # RFC 6750 §3.1, invalid_request: neither of two can be the one that was meant.
    answer = ask(client, header.format(renter.token))
    assert (answer.status_code, answer.json and answer.json["code"]) == (400, "BAD_REQUEST")


def test_two_authorization_headers_are_a_malformed_request(client: FlaskClient, renter: Person, owner: Person) -> None:
    both = [("Authorization", f"Bearer {person.token}") for person in (renter, owner)]
    answer = client.get(ME, headers=both)
    assert (answer.status_code, answer.json and answer.json["code"]) == (400, "BAD_REQUEST")

"""Which web pages may read answers: those of an exact list of origins (Fetch, "CORS protocol"), and no other."""

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.settings import Settings
from tests.support.failing_app import make_failing_app

ALLOWED = "https://app.example.com"
ALSO_ALLOWED = "http://localhost:3000"
OWN = "/api/v1/users/me/owner-profile"
SENDABLE = {"authorization", "content-type", "x-request-id", "if-match", "if-none-match", "idempotency-key"}
HOSTILE_ORIGINS = [
    *("null", "*", "", " ", ".*", "https://.*", "(https://app.example.com)"),
    *("https://evil.example.com", "https://example.com", "https://evilapp.example.com", "https://app.example.co"),
    *("https://app.example.com.evil.com", "https://app.example.com@evil.com", "https://app.example.com:443@evil.com"),
    *("https://evil.com/https://app.example.com", "https://evil.com?https://app.example.com"),
    *("https://evil.com https://app.example.com", "https://app.example.com https://evil.com"),
    *("https://app.example.com,https://evil.com", "http://app.example.com", "file://app.example.com"),
    *("https//app.example.com", "app.example.com", "//app.example.com", "https://user:password@app.example.com"),
    *(f"https://app.example.com{end}" for end in (":444", ":443", ":", ".", "/", "#", "\t", "%0a")),
    *(f"https://app.example.com{sign}.evil.com" for sign in ("%00", "\\", "`", "_")),
    *("https://APP.example.com", "HTTPS://app.example.com", "https://appXexample.com", "https://app.exampleXcom"),
    "https://аpp.example.com".encode().decode("latin-1"),  # a Cyrillic а, as a client would send it
    *("http://localhost", "http://localhost:30000", "http://localhost:3001", "http://127.0.0.1:3000"),
]


@pytest.fixture(scope="module")
def open_app(settings: Settings) -> Flask:
    return make_failing_app(settings, cors_allowed_origins=(ALLOWED, ALSO_ALLOWED))


@pytest.fixture
def web(open_app: Flask, rolled_back: None) -> FlaskClient:
    return open_app.test_client()


def assert_closed(answer: TestResponse) -> None:
    assert not [name for name, _ in answer.headers.items() if name.startswith("Access-Control-")]
    assert "Origin" in answer.vary


def ask_before(web: FlaskClient, origin: str, method: str, headers: str = "", path: str = OWN) -> TestResponse:
    """What a browser asks before a request that a form could not send (Fetch, "CORS-preflight fetch")."""
    asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers}
    return web.options(path, headers={"Origin": origin, **asked})


@pytest.mark.parametrize("origin", [ALLOWED, ALSO_ALLOWED])
def test_an_allowed_origin_may_read(web: FlaskClient, origin: str) -> None:
    answer = web.get("/api/v1/equipment", headers={"Origin": origin})
    assert answer.headers.getlist("Access-Control-Allow-Origin") == [origin]
    assert "Origin" in answer.vary
    assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.attack("origins of REST")
@pytest.mark.parametrize("origin", HOSTILE_ORIGINS)
def test_no_other_origin_may_read_or_is_told_that_it_may_ask(web: FlaskClient, origin: str) -> None:
    for path in ("/health", OWN, "/fail/bug"):
        assert_closed(web.get(path, headers={"Origin": origin}))
    assert_closed(ask_before(web, origin, "PUT", "authorization"))


def test_without_an_origin_nothing_is_said_but_that_it_would_matter(web: FlaskClient) -> None:
    for path in ("/health", OWN, "/nowhere", "/fail/bug"):
        assert_closed(web.get(path))


@pytest.mark.attack("origins of REST")
def test_two_origins_are_none(web: FlaskClient) -> None:
    assert_closed(web.get("/health", headers=[("Origin", ALLOWED), ("Origin", "https://evil.com")]))


class TestPreFlight:
    """The question before the request: answered without a token, which it cannot carry (Fetch §3.2.2)."""

    @pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE"])
    def test_allows_the_methods_there_are(self, web: FlaskClient, method: str) -> None:
        answer = ask_before(web, ALLOWED, method, ", ".join(sorted(SENDABLE)))
        assert (answer.status_code, answer.get_data()) == (200, b"")
        assert answer.headers["Access-Control-Allow-Origin"] == ALLOWED
        assert method in answer.headers["Access-Control-Allow-Methods"].split(", ")
        allowed = answer.headers["Access-Control-Allow-Headers"].lower().split(", ")
        assert set(allowed) == SENDABLE
        assert int(answer.headers["Access-Control-Max-Age"]) <= 7200
        assert "Access-Control-Allow-Credentials" not in answer.headers

    @pytest.mark.attack("origins of REST")
    @pytest.mark.parametrize("method", ["PATCH", "TRACE", "CONNECT", "OPTIONS", "PROPFIND", "*", ""])
    def test_allows_no_others(self, web: FlaskClient, method: str) -> None:
        answer = ask_before(web, ALLOWED, method)
        allowed = answer.headers.get("Access-Control-Allow-Methods", "").split(", ")
        assert not {method, "*"} & (set(allowed) - {""})

    @pytest.mark.attack("origins of REST")
    @pytest.mark.parametrize(
        "name", ["cookie", "x-forwarded-for", "x-http-method-override", "*", "authorization2", ".*"]
    )
    def test_allows_no_other_headers(self, web: FlaskClient, name: str) -> None:
        answer = ask_before(web, ALLOWED, "PUT", f"authorization, {name}")
        assert answer.headers["Access-Control-Allow-Headers"].lower() == "authorization"

    @pytest.mark.attack("origins of REST")
    def test_lets_nobody_into_a_private_network(self, web: FlaskClient) -> None:
        asked = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Private-Network": "true"}
        answer = web.options(OWN, headers={"Origin": ALLOWED, **asked})
        assert answer.headers.get("Access-Control-Allow-Private-Network") != "true"


def test_by_default_no_origin_is_allowed(client: FlaskClient) -> None:
    assert_closed(client.get("/health", headers={"Origin": ALLOWED}))
    assert_closed(ask_before(client, ALLOWED, "PUT"))


@pytest.mark.attack("origins of REST")
@pytest.mark.parametrize(
    "origin", ["https://appXexample.com", "https://xn--app-example.com", "https://app.example.com"]
)
def test_characters_of_a_pattern_stand_for_themselves(settings: Settings, origin: str) -> None:
    odd = "https://app[.]example.com"  # no origin; but if it came through, it would be read as it stands
    web = make_failing_app(settings, cors_allowed_origins=(odd,)).test_client()
    assert_closed(web.get("/health", headers={"Origin": origin}))

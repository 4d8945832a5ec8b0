"""Redaction of log records: texts that look like secrets, keys that name secrets, control characters, exceptions."""

from typing import Any

import pytest

from app.observability.exceptions import safe_text
from app.observability.redaction import REDACTED, escaped, keep_secret, redact, redact_event, withhold_requests

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJwbGFudGVkIn0.c2lnbmF0dXJlLXBsYW50ZWQ"


@pytest.mark.attack("secrets")
@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"token {JWT} refused", JWT),
        (f"'{JWT}'", JWT),
        (f"GET /ws?v=2&token={JWT}", JWT),
        (JWT.rpartition(".")[0], "eyJzdWIi"),
        ("Authorization: Bearer planted-opaque.token", "planted"),
        ("authorization: bearer   planted", "planted"),
        ("Authorization: Basic cGxhbnRlZDpwbGFudGVk", "cGxhbnRlZDpwbGFudGVk"),
        ("postgresql://gearyard:planted@db:5432/gearyard", "planted"),
        ("redis://:planted@redis:6379/0", "planted"),
        ("/callback?access_token=planted&x=1", "planted"),
        ("refresh_token=planted", "planted"),
        ("password=planted&email=x", "planted"),
        ("client_secret=planted", "planted"),
    ],
)
def test_what_looks_like_a_secret_is_taken_out_of_a_text(text: str, secret: str) -> None:
    assert secret in text
    assert secret not in redact(text)
    assert REDACTED in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "unexpected_error",
        "/api/v1/users/0b3c5a52-57c1-4c53-8d8a-9a2a6d4c1e11",
        "/api/v1/conversations/<uuid:conversation_id>/messages",
        'connection to server at "127.0.0.1", port 5432 failed: Connection refused',
        "http://127.0.0.1:8081/.well-known/jwks.json",
        "Listening at: http://127.0.0.1:8080 (4711)",
        "2026-01-01T12:00:00.000000Z",
        "expected version 0003, found 0002",
    ],
)
def test_what_helps_stays(text: str) -> None:
    assert redact(text) == text


@pytest.mark.attack("secrets")
@pytest.mark.parametrize(
    "key",
    [
        *("Authorization", "password", "passwd", "new_password", "refresh_token", "token", "access-token", "api_key"),
        *("client_secret", "Cookie", "Set-Cookie", "HTTP_AUTHORIZATION", "sentry_dsn", "credentials"),
    ],
)
@pytest.mark.parametrize("value", ["planted", ["planted"], {"x": "planted"}, b"planted", 4711])
def test_a_key_that_names_a_secret_gives_nothing_away(key: str, value: Any) -> None:
    event = redact_event(None, "info", {"event": "x", key: value, "inner": [{"deep": {key: value}}]})
    assert event == {"event": "x", key: REDACTED, "inner": [{"deep": {key: REDACTED}}]}


@pytest.mark.attack("secrets")
@pytest.mark.parametrize("wrap", [list, tuple, set, frozenset, lambda texts: {"a": texts}, lambda texts: {texts[0]: 1}])
def test_a_secret_is_found_however_deep_it_is(wrap: Any) -> None:
    assert JWT not in str(redact_event(None, "info", {"event": "x", "value": {"more": wrap([f"Bearer {JWT}"])}}))


@pytest.mark.attack("secrets")
def test_an_object_is_shown_without_its_secrets() -> None:
    assert JWT not in str(redact_event(None, "info", {"event": "x", "value": ValueError(JWT)}))


def test_numbers_and_nothing_stay_what_they_are() -> None:
    event = {"event": "x", "status": 200, "duration_ms": 1.5, "route": None, "ok": True}
    assert redact_event(None, "info", event) == event


@pytest.mark.attack("secrets")
def test_a_secret_of_the_settings_is_taken_out_wherever_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.observability.redaction._kept_secret", set())
    keep_secret("pl@nted/secret", None, "", "abc")
    for text in ("because of pl@nted/secret!", "invalid token: pl%40nted%2Fsecret"):
        assert "nted" not in redact(text)
    assert redact("abc") == "abc"


@pytest.mark.attack("secrets")
@pytest.mark.parametrize("address", ["127.0.0.1", "::1", ""])
def test_of_a_request_that_gunicorn_cannot_read_the_kind_is_told_and_no_more(address: str) -> None:
    try:
        raise UnicodeError("planted")
    except UnicodeError:
        event = withhold_requests(
            None, "warning", {"event": f"Invalid request from ip={address}: Invalid Header: 'planted'"}
        )
    assert event == {"event": "Invalid request", "client_address": address, "reason": "UnicodeError"}


def test_letters_of_every_alphabet_stay() -> None:
    text = "Zürich 北京 Ελλάδα 🚲"
    assert escaped(text) is text


def raised(statement: str) -> BaseException:
    try:
        exec(statement, {"planted": "planted-value", "stranger": type("Stranger", (), {})()})  # noqa: S102
    except Exception as error:  # noqa: BLE001
        return error
    raise AssertionError(statement)


@pytest.mark.attack("secrets")
@pytest.mark.parametrize(
    "statement",
    [
        *("int(planted)", "{}[planted]", "raise RuntimeError(planted)", "raise TypeError(planted)", "float(planted)"),
        *("raise AttributeError(f'no {planted}')", "open(planted)", "import uuid; uuid.UUID(planted)"),
        *("import json; json.loads(planted)", "planted.encode('ascii').decode('utf-16')"),
        "(planted + 'é').encode('ascii')",
        *("getattr(stranger, planted)", "[].index(planted)", "raise KeyError(planted)", "assert 0, planted"),
        "from app.errors import InvalidInput; raise InvalidInput.of(planted, planted)",
    ],
)
def test_the_text_of_an_exception_is_not_told_where_it_may_hold_a_value(statement: str) -> None:
    assert "planted-value" not in safe_text(raised(statement))


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("stranger.nothing", "'Stranger' object has no attribute 'nothing'"),
        ("None.nothing", "'NoneType' object has no attribute 'nothing'"),
        ("nowhere", "name 'nowhere' is not defined"),
        ("import nowhere", "No module named 'nowhere'"),
        ("[][0]", "list index out of range"),
        ("1 / 0", "division by zero"),
        ("open('/nowhere')", "ENOENT"),
        ("raise RuntimeError('12345')", "(text withheld, 5 characters)"),
    ],
)
def test_the_text_of_an_exception_is_told_where_it_is_about_the_program(statement: str, told: str) -> None:
    assert safe_text(raised(statement)) == told

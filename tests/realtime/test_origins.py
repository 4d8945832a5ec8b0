"""Which pages may open a socket: exactly those listed, and programs, which send no `Origin` (RFC 6455 §10.2)."""

from collections.abc import Callable

import pytest

from tests.support.assertions import assert_error
from tests.support.http_raw import RawAnswer
from tests.support.processes.service import ServiceProcess
from tests.support.users import ChatUser
from tests.support.ws_raw import RawSocket, upgrade

ORIGIN, LOCAL = "https://good.example.com", "http://localhost:3000"
PATHS = ("/ws", "/api/ws", "/api/v1/ws")
HOSTILE = {
    "another site": "https://evil.example.com",
    "null, as of a sandboxed frame": "null",
    "nothing": "",
    "any": "*",
    "another scheme": "http://good.example.com",
    "the socket's scheme": "wss://good.example.com",
    "another scheme of a local page": "https://localhost:3000",
    "an extension": "chrome-extension://good.example.com",
    "a file": "file://",
    "its port, said": f"{ORIGIN}:443",
    "another port": f"{ORIGIN}:8443",
    "a longer port": f"{LOCAL}1",
    "a port that is left out": "http://localhost",
    "another name of this machine": "http://127.0.0.1:3000",
    "a suffix": f"{ORIGIN}.evil.com",
    "a suffix without a dot": f"{ORIGIN}evil.com",
    "a suffix cut off": "https://good.example.co",
    "a prefix": "https://evilgood.example.com",
    "a subdomain": "https://evil.good.example.com",
    "a parent": "https://example.com",
    "another letter for a dot": "https://good-example.com",
    "a letter for a dot, as a pattern would take it": "https://goodxexample.com",
    "capitals in the host": "https://GOOD.example.com",
    "capitals in the scheme": "HTTPS://good.example.com",
    "a dot at the end": f"{ORIGIN}.",
    "a slash at the end": f"{ORIGIN}/",
    "a path": f"{ORIGIN}/evil",
    "a query": f"{ORIGIN}?evil",
    "a fragment": f"{ORIGIN}#evil",
    "userinfo": "https://evil@good.example.com",
    "as userinfo": f"{ORIGIN}@evil.com",
    "as userinfo with a password": f"{ORIGIN}:x@evil.com",
    "a back slash": f"{ORIGIN}\\@evil.com",
    "in a path": f"https://evil.com/{ORIGIN}",
    "in a query": f"https://evil.com?{ORIGIN}",
    "no scheme": "good.example.com",
    "two slashes alone": "//good.example.com",
    "a Cyrillic letter": "https://g\N{CYRILLIC SMALL LETTER O}od.example.com",
    "the same in Punycode": "https://xn--gd-jlca.example.com",
    "full stops of another script": "https://good\N{FULLWIDTH FULL STOP}example\N{FULLWIDTH FULL STOP}com",
    "percent signs": "https://good%2Eexample.com",
    "a blank that breaks nowhere, behind": f"{ORIGIN}\N{NO-BREAK SPACE}",
    "a line of its own, behind": f"{ORIGIN}\N{NEXT LINE}",
    "a blank within": f"{ORIGIN} https://evil.com",
    "two in one, with a comma": f"{ORIGIN}, https://evil.com",
    "two in one, the good one last": f"https://evil.com, {ORIGIN}",
    "two headers": f"{ORIGIN}\r\nOrigin: https://evil.com",
    "two headers, the good one last": f"https://evil.com\r\nOrigin: {ORIGIN}",
    "the good one twice": f"{ORIGIN}\r\nOrigin: {ORIGIN}",
    "both that are listed": f"{ORIGIN},{LOCAL}",
    "quotes": f'"{ORIGIN}"',
    "a long one": "https://" + "a" * 8000 + ".example.com",
}
# What is no header of HTTP at all.
MALFORMED = {
    "a NUL behind": f"{ORIGIN}\0.evil.com",
    "a line feed behind": f"{ORIGIN}\nX: y",
    "a carriage return behind": f"{ORIGIN}\r.evil.com",
    "a folded line": f"{ORIGIN}\r\n .evil.com",
    "an escape": f"{ORIGIN}\x1b",
}


@pytest.fixture(scope="module")
def service_settings() -> dict[str, str]:
    return {"CORS_ALLOWED_ORIGINS": f"{ORIGIN},{LOCAL}"}


def ask(service: ServiceProcess, origin: str | None, path: str = "/ws", token: str | None = None) -> RawAnswer:
    in_latin_1 = origin if origin is None else origin.encode().decode("latin-1")  # its bytes, as `upgrade` takes them
    with RawSocket(service.port) as raw:
        authorization = None if token is None else f"Bearer {token}"
        return raw.ask(upgrade(path, {"Origin": in_latin_1, "Authorization": authorization}))


def assert_refused(answer: RawAnswer) -> None:
    assert_error(answer, 403, "FORBIDDEN")
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert "Upgrade" not in answer.headers


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("origin", [ORIGIN, LOCAL, None])
def test_listed_pages_and_programs_open_sockets(service: ServiceProcess, origin: str | None, path: str) -> None:
    assert ask(service, origin, path).status == 101


@pytest.mark.attack("origins of sockets")
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", HOSTILE)
def test_another_page_opens_none_with_or_without_a_good_token(
    service: ServiceProcess, ada: ChatUser, name: str, path: str
) -> None:
    assert_refused(ask(service, HOSTILE[name], path, ada.token))
    assert_refused(ask(service, HOSTILE[name], path))


@pytest.mark.attack("origins of sockets")
@pytest.mark.parametrize("name", MALFORMED)
def test_an_origin_that_is_no_header_is_a_malformed_request(service: ServiceProcess, name: str) -> None:
    assert ask(service, MALFORMED[name]).status == 400


OTHER_HEADERS = ("Sec-WebSocket-Origin", "X-Origin", "Referer", "X-Forwarded-Origin", "Host")


@pytest.mark.attack("origins of sockets")
@pytest.mark.parametrize(
    "headers",
    [
        *({name: "https://evil.com"} for name in ("origin", "ORIGIN", "oRiGiN")),
        *({"Origin": "https://evil.com", name: ORIGIN.removeprefix("https://")} for name in OTHER_HEADERS),
    ],
)
def test_the_origin_is_in_one_header_of_any_case(service: ServiceProcess, headers: dict[str, str]) -> None:
    with RawSocket(service.port) as raw:
        assert_refused(raw.ask(upgrade("/ws", headers)))


@pytest.mark.attack("origins of sockets")
@pytest.mark.parametrize("origin", [ORIGIN, "null", "", "*", "https://127.0.0.1", "http://gearyard.test"])
def test_where_no_page_is_listed_none_opens_a_socket(
    start_service: Callable[[dict[str, str]], ServiceProcess], origin: str
) -> None:
    unlisted = start_service({})
    assert_refused(ask(unlisted, origin))
    assert ask(unlisted, None).status == 101

"""What only raw bytes can send: each request is answered once and in order, and the worker goes on serving.

A request is smuggled past a proxy where two readers of one stream disagree about its end (RFC 9112 §11.2). So an
ambiguous request is refused, and the bytes after it are not answered.
"""

import gzip
from collections.abc import Iterator

import pytest

from app.web.errors import codes_by_status
from tests.support.assertions import assert_error
from tests.support.http_raw import RawAnswer, exchange
from tests.support.processes.service import ServiceProcess
from tests.support.security_headers import assert_secure
from tests.support.ws_raw import upgrade

MAX_BODY = 256 * 1024
HOST = b"Host: gearyard.test\r\n"
CLOSE = b"Connection: close"
JSON = b"Content-Type: application/json\r\n"
SMUGGLED = b"GET /api/v1/categories HTTP/1.1\r\n" + HOST + b"\r\n"
# Of the statuses that the server answers with by itself.
SERVER_CODES = {"BAD_REQUEST", "INTERNAL_ERROR"}
SOFTWARE = ("gunicorn/", "werkzeug", "flask", "python", "gevent", "postgres", "sqlalchemy", "traceback")


def ask(method: bytes, path: bytes, *headers: bytes) -> bytes:
    return method + b" " + path + b" HTTP/1.1\r\n" + HOST + b"".join(line + b"\r\n" for line in headers) + b"\r\n"


def get(*headers: bytes, path: bytes = b"/health") -> bytes:
    return ask(b"GET", path, CLOSE, *headers)


def login(*headers: bytes, body: bytes = b"", version: bytes = b"HTTP/1.1", kind: bytes = JSON) -> bytes:
    lines = b"".join(line + b"\r\n" for line in headers)
    return b"POST /api/v1/auth/auth0/login " + version + b"\r\n" + HOST + kind + lines + b"\r\n" + body


def chunked(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))


SIZE = b"Content-Length: %d"
CHUNKED = b"Transfer-Encoding: chunked"
EMPTY = b"0\r\n\r\n"
LIST = b"/api/v1/equipment"

AMBIGUOUS = {
    "a length and chunks": login(SIZE % 5, CHUNKED, body=EMPTY + SMUGGLED),
    "chunks and a length": login(CHUNKED, SIZE % (len(EMPTY) + len(SMUGGLED)), body=EMPTY + SMUGGLED),
    "two lengths": login(SIZE % 2, SIZE % (2 + len(SMUGGLED)), body=b"{}" + SMUGGLED),
    "one length twice": login(SIZE % 2, SIZE % 2, body=b"{}" + SMUGGLED),
    "a list of lengths": login(b"Content-Length: 2, 2", body=b"{}" + SMUGGLED),
    "a length with a sign": login(b"Content-Length: +2", body=b"{}" + SMUGGLED),
    "a length below zero": login(b"Content-Length: -2", body=b"{}" + SMUGGLED),
    "a length in hexadecimal": login(b"Content-Length: 0x2", body=b"{}" + SMUGGLED),
    "a length with an underscore": login(b"Content-Length: 1_0", body=b"{}" + SMUGGLED),
    "a length in other digits": login("Content-Length: ²".encode("latin-1"), body=b"{}" + SMUGGLED),
    "a length without digits": login(b"Content-Length:", body=b"{}" + SMUGGLED),
    "chunks twice": login(CHUNKED, CHUNKED, body=EMPTY + SMUGGLED),
    "chunks in chunks": login(b"Transfer-Encoding: chunked, chunked", body=EMPTY + SMUGGLED),
    "chunks, but not last": login(b"Transfer-Encoding: chunked, gzip", body=EMPTY + SMUGGLED),
    "no chunks": login(b"Transfer-Encoding: identity", body=EMPTY + SMUGGLED),
    "nearly chunks": login(b"Transfer-Encoding: xchunked", body=EMPTY + SMUGGLED),
    "chunks in quotes": login(b'Transfer-Encoding: "chunked"', body=EMPTY + SMUGGLED),
    "chunks behind a control": login(b"Transfer-Encoding: \x0bchunked", body=EMPTY + SMUGGLED),
    "chunks of a name with a space": login(b"Transfer-Encoding : chunked", body=EMPTY + SMUGGLED),
    "chunks in HTTP/1.0": login(CHUNKED, version=b"HTTP/1.0", body=EMPTY + SMUGGLED),
    "a folded header": login(b"X-Folded: a\r\n b", SIZE % 2, body=b"{}" + SMUGGLED),
    "a folded length": login(b"Content-Length:\r\n 2", body=b"{}" + SMUGGLED),
    "a folded first header": b"GET /health HTTP/1.1\r\n " + HOST + b"\r\n" + SMUGGLED,
    "line feeds alone": get().replace(b"\r\n", b"\n") + SMUGGLED,
    "a line feed in a header": get(b"X-Split: a\nX-Other: b") + SMUGGLED,
    "a carriage return in a header": get(b"X-Split: a\rX-Other: b") + SMUGGLED,
    "a NUL in a header": get(b"X-Nul: a\0b") + SMUGGLED,
    "a NUL in a name": get(b"X-Nul\0: a") + SMUGGLED,
    "a name that is no token": get(b"X(Odd): a") + SMUGGLED,
    "a name that is not ASCII": get(b"X-\xe9: a") + SMUGGLED,
    "a header without a name": get(b": a") + SMUGGLED,
    "a header without a colon": get(b"X-Odd") + SMUGGLED,
    "two hosts": get(b"Host: evil.example.com") + SMUGGLED,
    "two types": login(JSON.strip(), SIZE % 2, body=b"{}" + SMUGGLED),
    "two spaces": b"GET  /health HTTP/1.1\r\n" + HOST + b"\r\n" + SMUGGLED,
    "a tab": b"GET\t/health\tHTTP/1.1\r\n" + HOST + b"\r\n" + SMUGGLED,
    "a space in the path": get(path=b"/health /x") + SMUGGLED,
    "a NUL in the path": get(path=b"/health\0") + SMUGGLED,
    "a byte that is not ASCII in the path": get(path=b"/health\xff") + SMUGGLED,
    "a byte that is not ASCII in the query": get(path=LIST + b"?q=\xff") + SMUGGLED,
    "a method in small letters": get().replace(b"GET", b"get", 1) + SMUGGLED,
    "an odd method": get().replace(b"GET", b"GE(T", 1) + SMUGGLED,
    "no version": b"GET /health\r\n" + HOST + b"\r\n" + SMUGGLED,
    "another version": get().replace(b"1.1", b"1.10", 1) + SMUGGLED,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SMUGGLED,
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n\r\n" + SMUGGLED,
    "a proxy's protocol": b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n" + get() + SMUGGLED,
    "a chunk of no size": login(CHUNKED, body=b"\r\n{}\r\n" + EMPTY + SMUGGLED),
    "a chunk of a size with a sign": login(CHUNKED, body=b"+2\r\n{}\r\n" + EMPTY + SMUGGLED),
    "a chunk of a size with a prefix": login(CHUNKED, body=b"0x2\r\n{}\r\n" + EMPTY + SMUGGLED),
    "a chunk of an underscored size": login(CHUNKED, body=b"0_2\r\n{}\r\n" + EMPTY + SMUGGLED),
    "a chunk below zero": login(CHUNKED, body=b"-2\r\n{}\r\n" + EMPTY + SMUGGLED),
    "a chunk longer than its size": login(CHUNKED, body=b"2\r\n{}{}\r\n" + EMPTY + SMUGGLED),
    "a chunk with a line feed alone": login(CHUNKED, body=b"2\n{}\n0\n\n" + SMUGGLED),
    "a chunk that never comes": login(CHUNKED, body=b"FFFFFFFFFFFFFFFF\r\n{}"),
    "a body that never comes": login(SIZE % 1_000, body=b"{}"),
    "chunks that are no chunks": login(CHUNKED, body=b"ZZZ\r\n{}\r\n" + EMPTY),
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "one word": b"GARBAGE\r\n\r\n",
}

# A request with the statuses, or the codes of errors, that it is answered with.
CLEAR: dict[str, tuple[bytes, list[int | str]]] = {
    "a packed body": (login(b"Content-Encoding: gzip", SIZE % 22, body=gzip.compress(b"{}", mtime=0)), [415]),
    "a body that unpacks to 50 MB": (
        login(b"Content-Encoding: gzip", CHUNKED, body=chunked(gzip.compress(b" " * 50_000_000, 1))),
        [415],
    ),
    "packed chunks": (login(b"Transfer-Encoding: gzip, chunked", body=chunked(gzip.compress(b"{}"))), [400]),
    "an expected body": (login(b"Expect: 100-continue", SIZE % 2, body=b"{}"), [100, 400]),
    "a body too large to expect": (login(b"Expect: 100-continue", SIZE % (2 * MAX_BODY)), [100, 413]),
    "a strange expectation": (login(b"Expect: 100-continue, 100-continue", SIZE % 2, body=b"{}"), [417]),
    "another method in a header": (login(b"X-HTTP-Method-Override: DELETE", SIZE % 2, body=b"{}"), [400]),
    "GET with a body": (get(SIZE % 2) + b"{}", [200]),
    "GET with chunks": (get(CHUNKED) + chunked(b"x" * 65_536), [200]),
    "names with underscores": (get(b"X_Forwarded_For: 1.2.3.4", b"Content_Length: 100", b"HTTP_HOST: x"), [200]),
    "thousands of ranges": (get(b"Range: bytes=0-0," + b"0-0," * 2_000), [200]),
    "thousands of cookies": (get(b"Cookie: " + b"a=b; " * 2_000), [200]),
    "a request id with a tab": (get(b"X-Request-Id: abcdefgh\tX-Injected: 1"), [200]),
    "a request id with a line break": (get(b"X-Request-Id: abcdefgh%0d%0aX-Injected: 1"), [200]),
    "a path with a line break": (get(path=b"/%0d%0aX-Injected:%201"), [404]),
    "many parameters": (get(path=LIST + b"?" + b"&".join(b"a%d=1" % number for number in range(900))), [200]),
    "a parameter a thousand times": (get(path=LIST + b"?" + b"&".join([b"limit=1"] * 1_000)), [200]),
    "a parameter of nearly a URL's length": (get(path=LIST + b"?q=" + b"a" * 7_900), [400]),
    "a URL too long": (get(path=LIST + b"?q=" + b"a" * 9_000), [414]),
    "a query that is not UTF-8": (get(path=LIST + b"?q=%FF"), [400]),
    "a URL of another host": (get(path=b"http://evil.example.com/health"), [200]),
    "two slashes and a host": (get(path=b"//evil.example.com/health"), [404]),
    "a way up": (get(path=b"/../../etc/passwd"), [404]),
    "a way up from the assets": (get(path=b"/docs/../../../../etc/passwd"), [404]),
    "OPTIONS of all": (ask(b"OPTIONS", b"*", CLOSE), [404]),
    "CONNECT": (ask(b"CONNECT", b"evil.example.com:443") + SMUGGLED, [404]),
    "TRACE": (ask(b"TRACE", b"/health", CLOSE, b"Cookie: a=b"), [405]),
    "an empty line before": (b"\r\n" + get(), [200]),
    "a body a byte above the limit": (login(SIZE % (MAX_BODY + 1), CLOSE, body=b" " * (MAX_BODY + 1)), [413]),
    "a body of 20 MB": (login(SIZE % (80 * MAX_BODY), CLOSE, body=b" " * (80 * MAX_BODY)), [413]),
    "an exabyte that never comes": (login(SIZE % 10**18, CLOSE, body=b"{}"), [413]),
    "a chunk a byte above the limit": (login(CHUNKED, CLOSE, body=chunked(b" " * (MAX_BODY + 1))), [413]),
    "20 MB in chunks": (login(CHUNKED, CLOSE, body=chunked(*[b" " * 65_536] * 320)), [413]),
    "too much text": (
        login(CHUNKED, CLOSE, body=chunked(b" " * (MAX_BODY + 1)), kind=b"Content-Type: text/plain\r\n"),
        [413],
    ),
    "one chunk": (login(CHUNKED, CLOSE, body=chunked(b"{}")), ["VALIDATION_ERROR"]),
    "two chunks": (login(CHUNKED, CLOSE, body=chunked(b'{"em', b'ail":1}')), ["VALIDATION_ERROR"]),
    "three chunks": (login(CHUNKED, CLOSE, body=chunked(b"{", b"}", b" " * 65_536)), ["VALIDATION_ERROR"]),
    "a token too large": (get(b"Authorization: Bearer " + b"x" * 9_000, path=b"/api/v1/auth/me"), ["INVALID_TOKEN"]),
    # Headers of a proxy, where there is none.
    "a proxy's path": (get(b"SCRIPT_NAME: /elsewhere"), [200]),
    "a proxy's schemes": (get(b"X-Forwarded-Proto: https", b"X-Forwarded-Protocol: http"), [200]),
    "a proxy's addresses": (get(b"X-Forwarded-For: 203.0.113.9", b"Forwarded: for=203.0.113.9"), [200]),
    # One of each way to answer.
    "a file": (get(path=b"/docs/start.js"), [200]),
    "part of a file": (get(b"Range: bytes=0-9", path=b"/docs/swagger-ui.css"), [206]),
    "a list": (get(path=LIST), [200]),
    "HEAD": (ask(b"HEAD", LIST, CLOSE), [200]),
    "OPTIONS": (ask(b"OPTIONS", LIST, CLOSE), [200]),
    "HTTP/1.0": (b"GET /health HTTP/1.0\r\n\r\n", [200]),
    "no token": (get(path=b"/api/v1/auth/me"), [401]),
    "an unknown method": (ask(b"BREW", b"/health", CLOSE), [405]),
    "an unknown expectation": (get(b"Expect: a-miracle"), [417]),
    "too large a header": (get(b"X-Large: " + b"a" * 20_000), [431]),
    "too many headers": (get(*(b"X-%d: x" % number for number in range(200))), [431]),
    "an unknown transfer coding": (get(b"Transfer-Encoding: nonsense"), [501]),
    "no upgrade": (get(path=b"/ws"), [426]),
    "another version of sockets": (upgrade(headers={"Sec-WebSocket-Version": "8"}), [426]),
    "a socket without a key": (upgrade(headers={"Sec-WebSocket-Key": None}), [400]),
    "a socket of another page": (upgrade(headers={"Origin": "https://evil.example.com"}), [403]),
    "a socket with a bad token": (upgrade("/ws?token=nonsense"), [401]),
}


@pytest.fixture(autouse=True)
def lives_on(service: ServiceProcess) -> Iterator[None]:
    """Check that the same workers answer afterwards, and that nothing took them by surprise."""
    workers = service.worker_pids()
    yield
    for _ in workers:
        assert service.request("GET", "/api/v1/categories").status_code == 200
    assert service.worker_pids() == workers
    assert "Traceback" not in service.log()


def assert_sound(answer: RawAnswer) -> None:
    """Check the security headers, and the one error body if it is an error."""
    assert_secure(dict(answer.headers.items()))
    names = [name.lower() for name in answer.headers if name.lower() != "vary"]
    assert len(names) == len(set(names)), names
    assert answer.headers.get("Server") in (None, "gunicorn")
    assert not {"X-Powered-By", "X-Injected"} & set(answer.headers)
    assert "evil.example.com" not in str(answer.headers)
    shown = (str(answer.headers) + answer.body.decode("latin-1")).lower()
    assert not [name for name in SOFTWARE if name in shown]
    if answer.status >= 400:
        body = answer.json()
        assert body["code"] in codes_by_status().get(answer.status, set()) | SERVER_CODES
        assert_error(answer, answer.status, body["code"])
        assert body["error"].upper() == answer.phrase.upper()
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.attack("hostile input")
@pytest.mark.parametrize("request_bytes", AMBIGUOUS.values(), ids=AMBIGUOUS.keys())
def test_what_could_be_read_in_two_ways_is_read_in_none(service: ServiceProcess, request_bytes: bytes) -> None:
    (answer,) = exchange(service.port, request_bytes)  # and none for what was smuggled along
    assert 400 <= answer.status < 500 or answer.status == 501, answer
    assert_sound(answer)


@pytest.mark.attack("hostile input")
@pytest.mark.parametrize(("request_bytes", "expected"), CLEAR.values(), ids=CLEAR.keys())
def test_what_is_odd_but_clear_is_answered_for_what_it_is(
    service: ServiceProcess, request_bytes: bytes, expected: list[int | str]
) -> None:
    answers = exchange(service.port, request_bytes, is_head=request_bytes.startswith(b"HEAD"))
    assert len(answers) == len(expected)
    pairs = zip(answers, expected, strict=True)
    assert [answer.json()["code"] if isinstance(one, str) else answer.status for answer, one in pairs] == expected
    assert_sound(answers[-1])


@pytest.mark.attack("hostile input")
@pytest.mark.parametrize(
    "refused",
    [login(SIZE % 1, body=b"{"), login(SIZE % 2, body=b"{}", kind=b""), get(path=b"/x")],
    ids=["broken", "no type", "nowhere"],
)
def test_two_requests_on_one_connection_stay_two(service: ServiceProcess, refused: bytes) -> None:
    first = refused.replace(CLOSE + b"\r\n", b"")
    answers = exchange(service.port, first + first + get(path=b"/api/v1/categories"))
    assert [answer.status < 400 for answer in answers] == [False, False, True]
    assert answers[-1].body.startswith(b"[")

"""What only raw sockets can send: requests that no client builds. Each is refused in order, and the worker lives on.

Who smuggles a request past a proxy needs two readers of one stream to disagree about where a request ends (RFC 9112
§11.2). So whatever is ambiguous must be refused, and what follows it must not be answered.
"""

import gzip
from collections.abc import Iterator

import pytest

from tests.support.http_raw import RawAnswer, exchange
from tests.support.processes.service import ServiceProcess

MEGABYTE = 1024 * 1024
HOST = b"Host: gearyard.test\r\n"
CLOSE = b"Connection: close\r\n"
JSON = b"Content-Type: application/json\r\n"
SMUGGLED = b"GET /api/v1/categories HTTP/1.1\r\n" + HOST + b"\r\n"
ERROR_MEMBERS = {"error", "message", "code", "request_id"}


def get(*headers: bytes, path: bytes = b"/health") -> bytes:
    return b"GET " + path + b" HTTP/1.1\r\n" + HOST + CLOSE + b"".join(line + b"\r\n" for line in headers) + b"\r\n"


def login(*headers: bytes, body: bytes = b"", version: bytes = b"HTTP/1.1", kind: bytes = JSON) -> bytes:
    lines = b"".join(line + b"\r\n" for line in headers)
    return b"POST /api/v1/auth/auth0/login " + version + b"\r\n" + HOST + kind + lines + b"\r\n" + body


def chunked(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))


SIZE = b"Content-Length: %d"
CHUNKED = b"Transfer-Encoding: chunked"
EMPTY = b"0\r\n\r\n"
LIST = b"/api/v1/equipment?"

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
    "a byte that is not ASCII in the query": get(path=b"/api/v1/equipment?q=\xff") + SMUGGLED,
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
}


@pytest.fixture(autouse=True)
def lives_on(service: ServiceProcess) -> Iterator[None]:
    """Whatever was sent, the same workers answer the next who ask, and nothing took them by surprise."""
    workers = service.worker_pids()
    yield
    for _ in workers:
        assert service.request("GET", "/api/v1/categories").status_code == 200
    assert service.worker_pids() == workers
    assert "Traceback" not in service.log()


def assert_refused(answer: RawAnswer) -> None:
    assert 400 <= answer.status < 500 or answer.status == 501, answer
    body = answer.json()
    assert body.keys() >= ERROR_MEMBERS
    assert body["status"] == answer.status
    assert body["error"].upper() == answer.phrase.upper()
    assert body["request_id"] == answer.headers["X-Request-Id"]


@pytest.mark.attack("hostile input")
@pytest.mark.parametrize("request_bytes", AMBIGUOUS.values(), ids=AMBIGUOUS.keys())
def test_what_could_be_read_in_two_ways_is_read_in_none(service: ServiceProcess, request_bytes: bytes) -> None:
    answers = exchange(service.port, request_bytes)
    assert len(answers) == 1, "what was smuggled along is no request"
    assert_refused(answers[0])


@pytest.mark.attack("hostile input")
@pytest.mark.parametrize(
    "request_bytes",
    [
        login(SIZE % (MEGABYTE + 1), CLOSE.strip(), body=b" " * (MEGABYTE + 1)),
        login(SIZE % (20 * MEGABYTE), CLOSE.strip(), body=b" " * (20 * MEGABYTE)),
        login(SIZE % 10**18, CLOSE.strip(), body=b"{}"),
        login(CHUNKED, CLOSE.strip(), body=chunked(b" " * (MEGABYTE + 1))),
        login(CHUNKED, CLOSE.strip(), body=chunked(*[b" " * 65_536] * 320)),
        login(CHUNKED, CLOSE.strip(), body=chunked(b" " * (MEGABYTE + 1)), kind=b"Content-Type: text/plain\r\n"),
    ],
    ids=["a byte more", "20 MB", "an exabyte that never comes", "a chunk", "20 MB in chunks", "text"],
)
def test_a_body_above_a_megabyte_is_refused_however_it_comes(service: ServiceProcess, request_bytes: bytes) -> None:
    (answer,) = exchange(service.port, request_bytes)
    assert answer.status == 413
    assert_refused(answer)
    assert answer.json()["code"] == "PAYLOAD_TOO_LARGE"


@pytest.mark.parametrize("chunks", [[b'{"em', b'ail":1}'], [b"{}"], [b"{", b"}", b" " * 65_536]])
def test_a_body_in_chunks_is_read_as_any_other(service: ServiceProcess, chunks: list[bytes]) -> None:
    (answer,) = exchange(service.port, login(CHUNKED, CLOSE.strip(), body=chunked(*chunks)))
    assert answer.status == 400
    assert answer.json()["code"] == "VALIDATION_ERROR"


ODD = {
    "a packed body": (login(b"Content-Encoding: gzip", SIZE % 22, body=gzip.compress(b"{}", mtime=0)), [415]),
    "a body that unpacks to 50 MB": (
        login(b"Content-Encoding: gzip", CHUNKED, body=chunked(gzip.compress(b" " * 50_000_000, 1))),
        [415],
    ),
    "packed chunks": (login(b"Transfer-Encoding: gzip, chunked", body=chunked(gzip.compress(b"{}"))), [400]),
    "an expected body": (login(b"Expect: 100-continue", SIZE % 2, body=b"{}"), [100, 400]),
    "a body too large to expect": (login(b"Expect: 100-continue", SIZE % (2 * MEGABYTE)), [100, 413]),
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
    "many parameters": (get(path=LIST + b"&".join(b"a%d=1" % number for number in range(900))), [200]),
    "a parameter a thousand times": (get(path=LIST + b"&".join([b"limit=1"] * 1_000)), [200]),
    "a parameter of nearly a URL's length": (get(path=LIST + b"q=" + b"a" * 7_900), [400]),
    "a URL too long": (get(path=LIST + b"q=" + b"a" * 9_000), [414]),
    "a query that is not UTF-8": (get(path=LIST + b"q=%FF"), [400]),
    "a URL of another host": (get(path=b"http://evil.example.com/health"), [200]),
    "two slashes and a host": (get(path=b"//evil.example.com/health"), [404]),
    "a way up": (get(path=b"/../../etc/passwd"), [404]),
    "a way up from the assets": (get(path=b"/docs/../../../../etc/passwd"), [404]),
    "OPTIONS of all": (b"OPTIONS * HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n", [404]),
    "CONNECT": (b"CONNECT evil.example.com:443 HTTP/1.1\r\n" + HOST + b"\r\n" + SMUGGLED, [404]),
    "TRACE": (b"TRACE /health HTTP/1.1\r\n" + HOST + CLOSE + b"Cookie: a=b\r\n\r\n", [405]),
    "an empty line before": (b"\r\n" + get(), [200]),
}


@pytest.mark.attack("hostile input")
@pytest.mark.parametrize(("request_bytes", "statuses"), ODD.values(), ids=ODD.keys())
def test_what_is_odd_but_clear_is_answered_for_what_it_is(
    service: ServiceProcess, request_bytes: bytes, statuses: list[int]
) -> None:
    answers = exchange(service.port, request_bytes)
    assert [answer.status for answer in answers] == statuses
    last = answers[-1]
    assert "X-Injected" not in last.headers
    assert "evil.example.com" not in str(last.headers)
    if last.status >= 400:
        assert_refused(last)


@pytest.mark.attack("hostile input")
@pytest.mark.parametrize(
    "refused",
    [login(SIZE % 1, body=b"{"), login(SIZE % 2, body=b"{}", kind=b""), get(path=b"/x")],
    ids=["broken", "no type", "nowhere"],
)
def test_two_requests_on_one_connection_stay_two(service: ServiceProcess, refused: bytes) -> None:
    first = refused.replace(CLOSE, b"")
    answers = exchange(service.port, first + first + SMUGGLED.replace(b"\r\n\r\n", b"\r\n" + CLOSE + b"\r\n"))
    assert [answer.status < 400 for answer in answers] == [False, False, True]
    assert answers[-1].body.startswith(b"[")

"""No token that REST refuses opens a socket or keeps one, in any of the five ways of sending it.

Before the 101 the refusal is a status; where HTTP cannot carry such a token, it is the HTTP server's own. In an `auth`
frame it is an `error` and a close code. Every attack is tried in one of the ways, some in every way.
"""

import socket
import time
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any
from uuid import uuid4

import pytest

from app.auth.key_set import COOL_DOWN_SECONDS
from app.messages.schemas import MAX_TOKEN_LENGTH
from app.realtime.websocket import MAX_MESSAGE_BYTES
from tests.realtime.token_transports import MOST_URL_BYTES, ROOM_FOR_THE_REST, WAYS, Headers, ask, can_travel
from tests.support import UNKNOWN_ID
from tests.support.assertions import assert_error
from tests.support.databases import scalar
from tests.support.http_raw import RawAnswer
from tests.support.processes.service import ServiceProcess
from tests.support.processes.tenant import TenantProcess
from tests.support.token_attacks import attacks
from tests.support.tokens import Forger, published_key
from tests.support.users import ChatUser
from tests.support.waiting import key_fetches
from tests.support.ws_raw import RawSocket, open_socket

ATTACKS = attacks()
TROUBLE = ("Traceback", "unexpected_error", '"status": 500', "eyJ", "token=")
# Of each kind: an order, an ambiguous payload, a foreign key, a tampered signature, more than HTTP carries, an end.
IN_EVERY_WAY = (
    "order: alg none",
    "order: kid None",
    "payload: sub twice",
    "forgery: the forger's key under the tenant's kid",
    "forgery: HS256 keyed with the public key, PEM",
    "forgery: a changed signature",
    "forgery: twice, with a comma",
    "no token: a word",
    "no token: a megabyte",
    "dates: expired an hour ago",
)
# HTTP takes blanks off the end of a header, which leaves the good token (RFC 9110 §5.5).
NO_ATTACKS = {(way, "forgery: a space at the end") for way in ("header", "subprotocol")}
EVERY_WAY = (*WAYS, "auth frame", "renewal")
TRIED = {(EVERY_WAY[number % len(EVERY_WAY)], name) for number, name in enumerate(ATTACKS)}
TRIED |= set(product(EVERY_WAY, IN_EVERY_WAY))


@pytest.fixture(scope="module")
def tenant() -> Iterator[TenantProcess]:
    """An identity provider of the module's own, which counts its fetches."""
    with TenantProcess() as running:
        yield running


@pytest.fixture(scope="module")
def service(
    database_url_factory: Callable[[], str], tenant: TenantProcess, trap: socket.socket
) -> Iterator[ServiceProcess]:
    """One worker, so that all fetches are for one key set; it must survive every attack."""
    published_key(tenant, Forger(tenant, "nobody").kid())  # the forger fetches it before the count begins
    tenant.reset()
    environment = {"DATABASE_URL": database_url_factory(), "WS_MAX_SOCKETS_PER_USER": "1000", **tenant.env()}
    with ServiceProcess(environment, workers=1) as running:
        workers, began_at = running.worker_pids(), time.monotonic()
        yield running
        # One at first, and one for made-up keys in each cool-down.
        assert key_fetches(tenant) <= 2 + (time.monotonic() - began_at) // COOL_DOWN_SECONDS
        with pytest.raises(BlockingIOError):
            trap.accept()
        assert running.worker_pids() == workers
        assert [trouble for trouble in TROUBLE if trouble in running.log()] == []
        made_up = "SELECT count(*) FROM identities WHERE subject !~ '^auth0[|][0-9a-f]{32}$'"
        assert scalar(running.database_url, made_up) == 0, "an attack has made a user"


@pytest.fixture(scope="module")
def forger(tenant: TenantProcess, trap: socket.socket) -> Forger:
    return Forger(tenant, f"auth0|{uuid4().hex}", lure=f"http://127.0.0.1:{trap.getsockname()[1]}/jwks.json")


@pytest.fixture(scope="module", autouse=True)
def victim(service: ServiceProcess, forger: Forger) -> ChatUser:
    user = ChatUser("", forger.order(), service)
    return ChatUser(user.call("GET", "/auth/me").json()["id"], user.token, service)


def assert_refused(answer: RawAnswer | None, status: int, code: str) -> None:
    assert_error(answer, status, code)
    assert answer is not None
    error = "invalid_request" if status == 400 else "invalid_token"  # RFC 6750 §3.1
    assert f'Bearer realm="gearyard", error="{error}"' in answer.headers["WWW-Authenticate"]


def assert_ended_by(raw: RawSocket, token: str) -> None:
    """An `auth` frame with this token must get an error and end the socket."""
    raw.say("auth", token=token, v=2)
    if len(token) > MAX_MESSAGE_BYTES:
        assert raw.close_code() == 1009
        return
    error = raw.hear().json()
    assert error["type"] == "error"
    assert token not in error["payload"]["message"]
    assert (error["payload"]["code"], raw.close_code()) == ("UNAUTHORIZED", 4500)


@pytest.mark.attack("tokens over the socket")
@pytest.mark.parametrize(("way", "name"), sorted(TRIED - NO_ATTACKS))
def test_an_invalid_token_opens_and_keeps_no_socket(
    service: ServiceProcess, forger: Forger, victim: ChatUser, way: str, name: str
) -> None:
    attack = ATTACKS[name]
    token = attack.forge(forger)
    if way == "auth frame":
        with RawSocket(service.port) as raw:
            raw.open()
            assert_ended_by(raw, token)
        return
    if way == "renewal":
        with open_socket(victim) as raw:
            assert_ended_by(raw, token)
        return
    answer = ask(service, *WAYS[way](token))
    if not can_travel(way, token):
        is_large = len(token) + ROOM_FOR_THE_REST > MOST_URL_BYTES
        assert answer.status in (400, 401, 414, 431) if answer is not None else is_large
    elif way == "header" and "," in token:
        assert_refused(answer, 400, "BAD_REQUEST")
    else:
        assert_refused(answer, 401, attack.code)


@pytest.mark.attack("tokens over the socket")
@pytest.mark.parametrize(
    "token", [None, "", 7, True, [], {}, "x" * (MAX_TOKEN_LENGTH + 1)], ids=lambda it: repr(it)[:9]
)
def test_what_is_no_token_by_its_form_is_no_auth_frame(service: ServiceProcess, victim: ChatUser, token: Any) -> None:
    with RawSocket(service.port) as stranger, open_socket(victim) as known:
        stranger.open()
        for raw in (stranger, known):
            raw.say("auth", token=token)
            assert raw.hear().json()["payload"]["code"] == "BAD_MESSAGE"
        assert stranger.close_code() == 4502
        known.say("ping")
        assert known.hear().json() == {"type": "pong"}


@pytest.mark.attack("tokens over the socket")
def test_a_good_token_of_another_user_ends_the_socket_and_not_that_user_s(
    victim: ChatUser, newcomer: Callable[..., ChatUser]
) -> None:
    with open_socket(victim) as theirs, open_socket(newcomer()) as raw:
        assert_ended_by(raw, victim.token)
        theirs.say("ping")
        assert theirs.hear().json() == {"type": "pong"}


TWO_AT_ONCE: dict[str, tuple[str, Headers, int]] = {
    "in one Authorization header": ("", {"Authorization": "Bearer {0}, Bearer {1}"}, 400),
    "in two of them": ("", {"Authorization": "Bearer {0}\r\nAuthorization: Bearer {1}"}, 400),
    "of two schemes": ("", {"Authorization": "Bearer {0}\r\nAuthorization: Basic {1}"}, 400),
    "of two schemes, the other first": ("", {"Authorization": "Basic {0}\r\nAuthorization: Bearer {1}"}, 401),
    "in one list of subprotocols": ("", {"Sec-WebSocket-Protocol": "bearer, {0}, {1}"}, 401),
    "in two lists of them": ("", {"Sec-WebSocket-Protocol": "bearer, {0}\r\nSec-WebSocket-Protocol: bearer, {1}"}, 401),
    "in two parameters": ("?token={0}&token={1}", {}, 400),
}


@pytest.mark.attack("tokens over the socket")
@pytest.mark.parametrize(("query", "headers", "status"), TWO_AT_ONCE.values(), ids=TWO_AT_ONCE)
def test_two_good_tokens_in_one_way_open_no_socket(
    service: ServiceProcess,
    victim: ChatUser,
    newcomer: Callable[..., ChatUser],
    query: str,
    headers: Headers,
    status: int,
) -> None:
    tokens = (victim.token, newcomer().token)
    filled = {name: (value or "").format(*tokens) for name, value in headers.items()}
    answer = ask(service, f"/ws{query.format(*tokens)}", {**filled})
    assert answer is not None
    assert answer.status == status


@pytest.mark.attack("tokens over the socket")
@pytest.mark.parametrize(("first", "later"), [("header", "subprotocol"), ("header", "query"), ("subprotocol", "query")])
def test_of_two_ways_the_first_counts_whatever_the_other_has(
    service: ServiceProcess, victim: ChatUser, forger: Forger, newcomer: Callable[..., ChatUser], first: str, later: str
) -> None:
    assert can_travel(first, victim.token)
    assert can_travel(later, victim.token)

    def both(one: str, other: str) -> tuple[str, Headers]:
        (_, of_first), (path, of_later) = WAYS[first](one), WAYS[later](other)
        return f"{path}{'&' if '?' in path else '?'}v=2", of_first | of_later

    assert_refused(ask(service, *both(forger.own(), victim.token)), 401, "INVALID_TOKEN")
    for other in (newcomer().token, forger.own()):
        with RawSocket(service.port) as raw:
            raw.open(*both(victim.token, other))
            assert raw.hear().json()["payload"]["user_id"] == victim.id


NO_WAYS: dict[str, tuple[str, Headers]] = {
    "?access_token=": ("?access_token={0}", {}),
    "?TOKEN=": ("?TOKEN={0}", {}),
    "a cookie": ("", {"Cookie": "token={0}; access_token={0}"}),
    "Proxy-Authorization": ("", {"Proxy-Authorization": "Bearer {0}"}),
    "X-Access-Token": ("", {"X-Access-Token": "{0}"}),
    "another subprotocol": ("", {"Sec-WebSocket-Protocol": "Bearer, {0}"}),
}


@pytest.mark.attack("tokens over the socket")
@pytest.mark.parametrize(("query", "headers"), NO_WAYS.values(), ids=NO_WAYS)
def test_a_token_sent_in_another_way_is_ignored(
    service: ServiceProcess, victim: ChatUser, query: str, headers: Headers
) -> None:
    filled = {name: (value or "").format(victim.token) for name, value in headers.items()}
    with RawSocket(service.port) as raw:
        raw.open(f"/ws{query.format(victim.token)}", {**filled})
        raw.say("sync", conversation_id=UNKNOWN_ID, after_seq=0)
        assert raw.hear().json()["payload"]["code"] == "UNAUTHORIZED"

"""No token that REST refuses opens a socket or keeps one, in whichever of the five ways it comes.

Before the 101 the answer is a status; where HTTP itself cannot carry such a token, it is HTTP's own. In an `auth` frame
it is an `error` and a close code. All of it, against one service, costs hardly a fetch of the key set.
"""

import json
import socket
import time
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any
from uuid import uuid4

import pytest

from app.auth.tokens import COOL_DOWN_SECONDS
from app.messages.schemas import MAX_TOKEN_LENGTH
from app.realtime.meter import MAX_MESSAGE_BYTES
from deploy.local.cluster import PostgresCluster
from tests.realtime.token_transports import MOST_URL_BYTES, ROOM_FOR_THE_REST, WAYS, Headers, ask, can_travel
from tests.support.members import Member
from tests.support.processes.service import ServiceProcess
from tests.support.processes.tenant import TenantProcess
from tests.support.signing import base64url
from tests.support.token_attacks import attacks
from tests.support.tokens import Forger, published_key
from tests.support.ws_raw import Answer, RawSocket

ATTACKS = attacks()
TROUBLE = ("Traceback", "unexpected_error", '"status": 500', "eyJ", "token=")


@pytest.fixture(scope="module")
def database_url(database_url_factory: Callable[[], str]) -> str:
    return database_url_factory()


@pytest.fixture(scope="module")
def service(
    cluster: PostgresCluster, database_url: str, tenant: TenantProcess, trap: socket.socket
) -> Iterator[ServiceProcess]:
    """One worker, so that the fetches are those of one key set; it must come through all of this unharmed."""
    published_key(tenant, Forger(tenant, "nobody").kid())  # the forger's own question, so that it comes before
    tenant.reset()
    environment = {"DATABASE_URL": database_url, "WS_MAX_SOCKETS_PER_USER": "1000", **tenant.env()}
    with ServiceProcess(environment, workers=1) as running:
        workers, began_at = running.worker_pids(), time.monotonic()
        yield running
        # One to begin with, and one for made-up keys each time that a cool-down is over.
        assert fetches(tenant) <= 2 + (time.monotonic() - began_at) // COOL_DOWN_SECONDS
        with pytest.raises(BlockingIOError):
            trap.accept()
        assert running.worker_pids() == workers
        assert [trouble for trouble in TROUBLE if trouble in running.log()] == []
        made_up = "SELECT count(*) FROM identities WHERE subject !~ '^auth0[|][0-9a-f]{32}$'"
        name = database_url.split("/")[3].partition("?")[0]
        assert cluster.psql(made_up, name).strip() == "0", "an attack has made a user"


def fetches(tenant: TenantProcess) -> int:
    return int(tenant.counters()["endpoints"]["jwks"])


@pytest.fixture(scope="module")
def forger(tenant: TenantProcess, trap: socket.socket) -> Forger:
    return Forger(tenant, f"auth0|{uuid4().hex}", lure=f"http://127.0.0.1:{trap.getsockname()[1]}/jwks.json")


@pytest.fixture(scope="module", autouse=True)
def victim(service: ServiceProcess, forger: Forger) -> Member:
    """Somebody whom the service knows, and whom the forger would like to be."""
    token = forger.order()
    answer = service.request("GET", "/api/v1/auth/me", headers={"Authorization": f"Bearer {token}"})
    assert answer.ok
    return Member(id=answer.json()["id"], token=token, service=service)


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    """The attacks' tokens, each made once."""
    return {}


@pytest.fixture
def token(request: pytest.FixtureRequest, made: dict[str, str], forger: Forger) -> str:
    """The token of the attack that is tried."""
    name = request.node.callspec.params["name"]
    if name not in made:
        made[name] = ATTACKS[name].forge(forger)
    return made[name]


def assert_refused(answer: Answer | None, status: int, code: str) -> None:
    assert answer is not None
    assert (answer.status, answer.json()["code"]) == (status, code)
    error = "invalid_request" if status == 400 else "invalid_token"  # RFC 6750 §3.1
    assert f'Bearer realm="gearyard", error="{error}"' in answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize("way", WAYS)
def test_the_token_that_the_attacks_vary_is_itself_let_in(service: ServiceProcess, forger: Forger, way: str) -> None:
    token = forger.order()
    assert can_travel(way, token)
    answer = ask(service, *WAYS[way](token))
    assert answer is not None
    assert answer.status == 101


# HTTP takes blanks off the end of a header: that is the good token (RFC 9110 §5.5).
NO_ATTACKS = {(way, "forgery: a space at the end") for way in ("header", "subprotocol")}


@pytest.mark.attack("tokens over the socket")
@pytest.mark.parametrize(("way", "name"), [it for it in product(WAYS, ATTACKS) if it not in NO_ATTACKS])
def test_a_token_that_does_not_hold_opens_no_socket(service: ServiceProcess, token: str, name: str, way: str) -> None:
    answer = ask(service, *WAYS[way](token))
    if not can_travel(way, token):
        is_large = len(token) + ROOM_FOR_THE_REST > MOST_URL_BYTES
        assert answer.status in (400, 401, 414, 431) if answer is not None else is_large
    elif way == "header" and "," in token:
        assert_refused(answer, 400, "BAD_REQUEST")
    else:
        assert_refused(answer, 401, ATTACKS[name].code)


def assert_ended_by(raw: RawSocket, token: str) -> None:
    """An `auth` frame with this token must be told so, and end the socket."""
    raw.say("auth", token=token, v=2)
    if len(token) > MAX_MESSAGE_BYTES:
        assert raw.close_code() == 1009
        return
    error = raw.hear().json()
    assert error["type"] == "error"
    assert token not in error["payload"]["message"]
    assert (error["payload"]["code"], raw.close_code()) == ("UNAUTHORIZED", 4500)


@pytest.mark.attack("tokens over the socket")
@pytest.mark.parametrize("name", ATTACKS)
def test_in_an_auth_frame_it_ends_the_socket(service: ServiceProcess, token: str, name: str) -> None:
    with RawSocket(service.port) as raw:
        raw.open()
        assert_ended_by(raw, token)


@pytest.mark.attack("tokens over the socket")
@pytest.mark.parametrize("name", ATTACKS)
def test_it_does_not_renew_a_socket_but_ends_it(service: ServiceProcess, victim: Member, token: str, name: str) -> None:
    with RawSocket(service.port) as raw:
        raw.open("/ws?v=2", {"Authorization": f"Bearer {victim.token}"})
        assert raw.hear().json()["payload"]["user_id"] == victim.id
        assert_ended_by(raw, token)


@pytest.mark.attack("tokens over the socket")
@pytest.mark.parametrize(
    "token", [None, "", 7, True, [], {}, "x" * (MAX_TOKEN_LENGTH + 1)], ids=lambda it: repr(it)[:9]
)
def test_what_is_no_token_by_its_form_is_no_auth_frame(service: ServiceProcess, victim: Member, token: Any) -> None:
    with RawSocket(service.port) as stranger, RawSocket(service.port) as known:
        stranger.open()
        known.open("/ws?v=2", {"Authorization": f"Bearer {victim.token}"})
        assert known.hear().json()["type"] == "ready"
        for raw in (stranger, known):
            raw.say("auth", token=token)
            assert raw.hear().json()["payload"]["code"] == "BAD_MESSAGE"
        assert stranger.close_code() == 4502
        known.say("ping")
        assert known.hear().json() == {"type": "pong"}


@pytest.mark.attack("tokens over the socket")
def test_a_good_token_of_somebody_else_ends_it_and_not_their_sockets(
    service: ServiceProcess, victim: Member, newcomer: Callable[..., Member]
) -> None:
    other = newcomer()
    with RawSocket(service.port) as theirs, RawSocket(service.port) as raw:
        for socket_, member in ((theirs, victim), (raw, other)):
            socket_.open("/ws?v=2", {"Authorization": f"Bearer {member.token}"})
            assert socket_.hear().json()["payload"]["user_id"] == member.id
        assert_ended_by(raw, victim.token)
        theirs.say("ping")
        assert theirs.hear().json() == {"type": "pong"}


TWO_AT_ONCE: dict[str, tuple[str, Headers, int]] = {
    "in one Authorization header": ("", {"Authorization": "Bearer {0}, Bearer {1}"}, 400),
    "in two of them": ("", {"Authorization": "Bearer {0}\r\nAuthorization: Bearer {1}"}, 400),
    "of two schemes": ("", {"Authorization": "Bearer {0}\r\nAuthorization: Basic {1}"}, 400),
    "of two schemes, the other first": ("", {"Authorization": "Basic {0}\r\nAuthorization: Bearer {1}"}, 401),
    "in one list of subprotocols": ("", {"Sec-WebSocket-Protocol": "bearer, {0}, {1}"}, 401),
    "in two lists of them": (
        "",
        {"Sec-WebSocket-Protocol": "bearer, {0}\r\nSec-WebSocket-Protocol: bearer, {1}"},
        401,
    ),
    "in two parameters": ("?token={0}&token={1}", {}, 400),
}


@pytest.mark.attack("tokens over the socket")
@pytest.mark.parametrize(("query", "headers", "status"), TWO_AT_ONCE.values(), ids=TWO_AT_ONCE)
def test_two_good_tokens_in_one_way_open_no_socket(
    service: ServiceProcess, victim: Member, newcomer: Callable[..., Member], query: str, headers: Headers, status: int
) -> None:
    tokens = (victim.token, newcomer().token)
    filled = {name: (value or "").format(*tokens) for name, value in headers.items()}
    answer = ask(service, f"/ws{query.format(*tokens)}", {**filled})
    assert answer is not None
    assert answer.status == status


@pytest.mark.attack("tokens over the socket")
@pytest.mark.parametrize(("first", "later"), [("header", "subprotocol"), ("header", "query"), ("subprotocol", "query")])
def test_of_two_ways_the_first_counts_and_the_other_does_not_mend_it(
    service: ServiceProcess, victim: Member, forger: Forger, newcomer: Callable[..., Member], first: str, later: str
) -> None:
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
def test_a_token_that_comes_by_another_way_is_nobody_s(
    service: ServiceProcess, victim: Member, query: str, headers: Headers
) -> None:
    filled = {name: (value or "").format(victim.token) for name, value in headers.items()}
    with RawSocket(service.port) as raw:
        raw.open(f"/ws{query.format(victim.token)}", {**filled})
        raw.say("sync", conversation_id=str(uuid4()), after_seq=0)
        assert raw.hear().json()["payload"]["code"] == "UNAUTHORIZED"


@pytest.mark.attack("tokens over the socket")
def test_two_hundred_made_up_keys_cost_one_fetch_in_a_cool_down(
    service: ServiceProcess, tenant: TenantProcess, forger: Forger
) -> None:
    before, began_at = fetches(tenant), time.monotonic()
    _, payload, signature = forger.good()
    for number in range(200):
        header = base64url(json.dumps({"alg": "RS256", "typ": "JWT", "kid": f"made-up-{number}"}).encode())
        way = [*WAYS.values()][number % len(WAYS)]
        assert_refused(ask(service, *way(f"{header}.{payload}.{signature}")), 401, "INVALID_TOKEN")
    assert fetches(tenant) - before <= 1 + (time.monotonic() - began_at) // COOL_DOWN_SECONDS

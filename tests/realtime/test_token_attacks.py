"""No token that REST refuses opens a socket, in whichever of the four ways it comes."""

import json
import re
from collections.abc import Callable, Iterator
from urllib.parse import quote
from uuid import uuid4

import pytest

from tests.local.tenant_process import PASSWORD, TenantProcess
from tests.realtime.people import Member, new_member
from tests.realtime.raw_socket import RawSocket, upgrade
from tests.service_process import ServiceProcess
from tests.token_attacks import Forge, Forger, attacks

ATTACKS = dict(attacks())
# The compact serialisation is the only one of an access token; in a header, a comma would part it in two.
SERIALISATIONS: dict[str, Forge] = {
    "flattened JSON serialisation": lambda f: json.dumps(_flattened(f)),
    "general JSON serialisation": lambda f: json.dumps(
        {"payload": f.good()[1], "signatures": [{name: _flattened(f)[name] for name in ("protected", "signature")}]}
    ),
}
REFUSALS = {400, 401, 414, 431}
# What can be a header's word and a part of a URL as it is, and is no longer than gunicorn lets in.
PLAIN = re.compile(r"[A-Za-z0-9._~-]{1,4000}", re.ASCII)
TOO_LARGE_FOR_A_FRAME = 64 * 1024
MOST_FETCHES = 1


def _flattened(forger: Forger) -> dict[str, str]:
    return dict(zip(("protected", "payload", "signature"), forger.good(), strict=True))


@pytest.fixture(scope="module")
def service(database_url_factory: Callable[[], str], tenant: TenantProcess) -> Iterator[ServiceProcess]:
    """One worker, so that the fetches of one key set are counted; it must come through all of this unharmed."""
    environment = {"DATABASE_URL": database_url_factory(), "WS_MAX_SOCKETS_PER_USER": "1000", **tenant.env()}
    with ServiceProcess(environment, workers=1) as running:
        workers = running.worker_pids()
        yield running
        assert running.worker_pids() == workers
        for trouble in ("Traceback", "unexpected_error", '"status": 500', "eyJ"):
            assert trouble not in running.log()


@pytest.fixture(scope="module")
def subject(service: ServiceProcess, tenant: TenantProcess) -> str:
    """Somebody whom the service knows."""
    found = f"auth0|{uuid4().hex}"
    answer = service.request("GET", "/api/v1/auth/me", headers={"Authorization": f"Bearer {tenant.token(sub=found)}"})
    assert answer.ok
    return found


@pytest.fixture
def forger(tenant: TenantProcess, subject: str) -> Iterator[Forger]:
    tenant.reset()
    yield Forger(tenant, subject)
    requests = tenant.counters()["endpoints"]
    assert requests["jwks"] <= MOST_FETCHES
    assert requests["trap"] == 0


def refusal(service: ServiceProcess, path: str, headers: dict[str, str | None]) -> int:
    """The status that a request for a socket is refused with; the connection may end without one."""
    with RawSocket(service.port) as raw:
        request = upgrade(path, headers)
        try:
            return raw.ask(request).status
        except (EOFError, OSError):
            return 400


def way_in(service: ServiceProcess, token: str) -> dict[str, int]:
    """How each way of the handshake ends."""
    in_latin_1 = token.encode().decode("latin-1")
    return {
        "header": refusal(service, "/ws", {"Authorization": f"Bearer {in_latin_1}"}),
        "subprotocol": refusal(service, "/ws", {"Sec-WebSocket-Protocol": f"bearer, {in_latin_1}"}),
        "query": refusal(service, f"/ws?token={quote(token)}", {}),
    }


def assert_frame_ends_it(service: ServiceProcess, token: str) -> None:
    with RawSocket(service.port) as raw:
        raw.open()
        raw.say("auth", token=token, v=2)
        if len(token) >= TOO_LARGE_FOR_A_FRAME:
            assert raw.close_code() == 1009
            return
        heard = raw.hear().json()
        assert heard["type"] == "error"
        code = raw.close_code()
        # What is no token by its form alone is a frame that breaks the protocol.
        assert (heard["payload"]["code"], code) in {("UNAUTHORIZED", 4500), ("BAD_MESSAGE", 4502)}
        if PLAIN.fullmatch(token):
            assert code == 4500


@pytest.mark.attack("tokens over the socket")
@pytest.mark.parametrize("name", ATTACKS)
def test_a_token_that_does_not_hold_opens_no_socket(service: ServiceProcess, forger: Forger, name: str) -> None:
    token = ATTACKS[name](forger)
    ends = way_in(service, token)
    if token != token.strip(" "):  # HTTP takes blanks off the end of a header (RFC 9110 §5.5)
        del ends["header"], ends["subprotocol"]
    assert set(ends.values()) <= REFUSALS, ends
    if PLAIN.fullmatch(token):
        assert set(ends.values()) == {401}, ends
    assert_frame_ends_it(service, token)


@pytest.mark.attack("tokens over the socket")
@pytest.mark.parametrize("name", SERIALISATIONS)
def test_a_token_in_another_serialisation_opens_no_socket(service: ServiceProcess, forger: Forger, name: str) -> None:
    token = SERIALISATIONS[name](forger)
    assert set(way_in(service, token).values()) <= REFUSALS
    assert_frame_ends_it(service, token)


@pytest.mark.attack("tokens over the socket")
def test_an_id_token_opens_no_socket(service: ServiceProcess, tenant: TenantProcess) -> None:
    email = f"{uuid4().hex[:12]}@example.com"
    tenant.add_user(email)
    answer = service.request("POST", "/api/v1/auth/auth0/login", json={"email": email, "password": PASSWORD})
    id_token = answer.json()["id_token"]
    assert set(way_in(service, id_token).values()) == {401}
    assert_frame_ends_it(service, id_token)


@pytest.mark.attack("tokens over the socket")
@pytest.mark.parametrize("name", ["forgery: another user's claims under the signature", "order: alg none"])
def test_a_socket_is_not_renewed_by_a_token_that_does_not_hold(
    service: ServiceProcess, forger: Forger, name: str
) -> None:
    with RawSocket(service.port) as raw:
        raw.open()
        raw.say("auth", token=forger.order(), v=2)
        assert raw.hear().json()["type"] == "ready"
        raw.say("auth", token=ATTACKS[name](forger))
        assert raw.hear().json()["payload"]["code"] == "UNAUTHORIZED"
        assert raw.close_code() == 4500


@pytest.mark.attack("tokens over the socket")
def test_a_socket_does_not_change_hands(service: ServiceProcess, tenant: TenantProcess) -> None:
    ada, ben = new_member(service, tenant), new_member(service, tenant)
    with RawSocket(service.port) as raw:
        raw.open()
        raw.say("auth", token=ada.token, v=2)
        assert raw.hear().json()["payload"]["user_id"] == ada.id
        raw.say("auth", token=ben.token)
        assert raw.hear().json()["type"] == "error"
        assert raw.close_code() == 4500


@pytest.mark.attack("tokens over the socket")
@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer {ada}, Bearer {ben}"},
        {"Authorization": "Bearer {ada}\r\nAuthorization: Bearer {ben}"},
        {"Sec-WebSocket-Protocol": "bearer, {ada}, {ben}"},
        {"Sec-WebSocket-Protocol": "bearer, {ada}\r\nSec-WebSocket-Protocol: bearer, {ben}"},
    ],
    ids=["one header", "two headers", "one list", "two lists"],
)
def test_two_tokens_at_once_open_no_socket(
    service: ServiceProcess, tenant: TenantProcess, headers: dict[str, str]
) -> None:
    ada, ben = new_member(service, tenant), new_member(service, tenant)
    assert refusal(service, "/ws", _with_tokens(headers, ada, ben)) in {400, 401}


def _with_tokens(headers: dict[str, str], ada: Member, ben: Member) -> dict[str, str | None]:
    return {name: value.format(ada=ada.token, ben=ben.token) for name, value in headers.items()}


@pytest.mark.attack("tokens over the socket")
def test_made_up_keys_cost_one_fetch_however_many_sockets_try_them(
    service: ServiceProcess, tenant: TenantProcess, subject: str
) -> None:
    tenant.reset()
    forger = Forger(tenant, subject)
    for number in range(50):
        token = forger.own(kid=f"made-up-{number}-{uuid4().hex}")
        assert refusal(service, "/ws", {"Authorization": f"Bearer {token}"}) == 401
    assert tenant.counters()["endpoints"]["jwks"] <= MOST_FETCHES

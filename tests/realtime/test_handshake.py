"""The opening of a socket: refused with an HTTP status before the 101, with a frame and a close code after it."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from tests.support import UNKNOWN_ID
from tests.support.assertions import assert_error
from tests.support.http_raw import RawAnswer
from tests.support.processes.service import ServiceProcess
from tests.support.processes.tenant import TenantProcess
from tests.support.users import ChatUser, new_user
from tests.support.waiting import until
from tests.support.ws_raw import RawSocket, close, upgrade

PATHS = ("/ws", "/api/ws", "/api/v1/ws")
Headers = Mapping[str, str | None]
StartService = Callable[[dict[str, str]], ServiceProcess]


@pytest.fixture(scope="module")
def production(start_service: StartService) -> ServiceProcess:
    """A service in production behind one proxy, with an identity provider that does not exist."""
    environment = {"APP_ENV": "production", "AUTH0_ISSUER": "https://tenant.invalid/", "TRUSTED_PROXY_COUNT": "1"}
    return start_service(environment)


@pytest.fixture(scope="module")
def small(start_service: StartService) -> ServiceProcess:
    """One worker with room for four sockets, two a user, which must authenticate within a second."""
    limits = {"USER": "2", "WORKER": "4"}
    environment = {f"WS_MAX_SOCKETS_PER_{name}": limit for name, limit in limits.items()}
    return start_service({"WEB_CONCURRENCY": "1", "WS_AUTH_TIMEOUT_SECONDS": "1", **environment})


def ask(service: ServiceProcess, path: str = "/ws", headers: Headers | None = None, **options: Any) -> RawAnswer:
    with RawSocket(service.port) as raw:
        return raw.ask(upgrade(path, headers, **options))


def subprotocol(token: str) -> Headers:
    return {"Sec-WebSocket-Protocol": f"bearer, {token}"}


def authenticate(raw: RawSocket, token: str) -> dict[str, Any]:
    """Send an `auth` frame; the next frame."""
    raw.say("auth", token=token, v=2)
    return raw.hear().json()


UPGRADE_REQUIRED: list[Headers] = [
    {"Upgrade": None, "Connection": None, "Sec-WebSocket-Version": None},
    *({"Upgrade": value} for value in (None, "h2c")),
    *({"Connection": value} for value in (None, "keep-alive", "upgraded")),
    *({"Sec-WebSocket-Version": value} for value in (None, "", "8", "12", "14", "013", "13, 8", "x")),
]
BAD_REQUESTS: list[Headers] = [
    # Keys that are not 16 bytes in base64: without padding, of 15 bytes, of 17 bytes, not in its alphabet.
    *({"Sec-WebSocket-Key": value} for value in (None, "", "x", "A" * 22, "A" * 20, "A" * 23 + "=")),
    *({"Sec-WebSocket-Key": f"{value}=="} for value in ("A" * 11 + " " + "A" * 11, "Ä" + "A" * 21, "-_" + "A" * 20)),
    *({"Sec-WebSocket-Protocol": value} for value in ("bearer, é", "a b", "bearer,,x", "(x)", ",")),
    {"Content-Length": "5"},
    {"Transfer-Encoding": "chunked"},
]


class TestForm:
    @pytest.mark.parametrize("connection", ["Upgrade", "keep-alive, Upgrade", "UPGRADE", "upgrade,close"])
    @pytest.mark.parametrize("path", PATHS)
    def test_every_path_opens_a_socket(self, service: ServiceProcess, path: str, connection: str) -> None:
        with RawSocket(service.port) as raw:
            answer = raw.open(path, {"Connection": connection, "Upgrade": "WebSocket"})
            assert (answer.headers["Upgrade"], answer.headers["Connection"]) == ("websocket", "Upgrade")
            assert "Sec-WebSocket-Protocol" not in answer.headers
            assert len(answer.headers["X-Request-Id"]) == 32
            raw.say("ping")
            assert raw.hear().json() == {"type": "pong"}

    @pytest.mark.parametrize("path", PATHS)
    @pytest.mark.parametrize("headers", UPGRADE_REQUIRED, ids=ascii)
    def test_an_incomplete_upgrade_is_refused_with_426(
        self, service: ServiceProcess, path: str, headers: Headers
    ) -> None:
        answer = ask(service, path, headers)
        assert_error(answer, 426, "BAD_REQUEST")
        assert (answer.headers["Upgrade"], answer.headers["Connection"].lower()) == ("websocket", "upgrade")
        assert answer.headers["Sec-WebSocket-Version"] == "13"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"

    @pytest.mark.parametrize("headers", BAD_REQUESTS, ids=ascii)
    def test_a_malformed_upgrade_is_refused_with_400(self, service: ServiceProcess, headers: Headers) -> None:
        assert_error(ask(service, "/ws", headers), 400, "BAD_REQUEST")

    def test_http_1_0_is_refused(self, service: ServiceProcess) -> None:
        assert_error(ask(service, version="1.0"), 400, "BAD_REQUEST")

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
    @pytest.mark.parametrize("upgrade_header", ["websocket", None])
    def test_only_get_opens_a_socket(self, service: ServiceProcess, method: str, upgrade_header: str | None) -> None:
        answer = ask(service, "/ws", {"Content-Length": "0", "Upgrade": upgrade_header}, method=method)
        assert_error(answer, 405, "METHOD_NOT_ALLOWED")
        assert "GET" in answer.headers["Allow"]

    @pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
    def test_head_and_options_open_no_socket(self, service: ServiceProcess, method: str) -> None:
        with RawSocket(service.port) as raw:
            raw.send(upgrade("/ws", {"Connection": "Upgrade, close"}, method=method))
            assert raw.connection.recv(12) == b"HTTP/1.1 400"

    @pytest.mark.parametrize("host", ["é.example.com", "xn--a", "a" * 300, "a..b", "[::1", "x y", "x:99999", "-", None])
    def test_no_host_is_an_error_of_the_service(self, service: ServiceProcess, host: str | None) -> None:
        assert ask(service, "/ws", {"Host": host}).status in ((101, 400) if host else (400,))


class TestToken:
    @pytest.mark.parametrize("way", ["header", "subprotocol", "query"])
    def test_a_good_token_opens_a_socket_of_its_user(self, service: ServiceProcess, ada: ChatUser, way: str) -> None:
        headers: dict[str, Headers] = {"header": ada.headers, "subprotocol": subprotocol(ada.token), "query": {}}
        path = f"/ws?v=2&token={ada.token}" if way == "query" else "/ws?v=2"
        with RawSocket(service.port) as raw:
            answer = raw.open(path, {**headers[way], "X-Request-Id": "chosen-by-the-client"})
            assert answer.headers["X-Request-Id"] == "chosen-by-the-client"
            assert answer.headers.get("Sec-WebSocket-Protocol") == ("bearer" if way == "subprotocol" else None)
            ready = raw.hear().json()
            assert (ready["type"], ready["payload"]["user_id"]) == ("ready", ada.id)
            assert ready["payload"]["connection_id"] == "chosen-by-the-client"

    @pytest.mark.parametrize("value", ["Basic {}", "Token {}", "{}", "bearer", "Bearer ", "", "é {}"])
    def test_an_authorization_header_without_a_bearer_token_is_refused(
        self, service: ServiceProcess, ada: ChatUser, value: str
    ) -> None:
        headers = {"Authorization": value.format(ada.token), **subprotocol(ada.token)}
        answer = ask(service, f"/ws?token={ada.token}", headers)
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="gearyard"')

    @pytest.mark.parametrize(
        ("offered", "chosen"),
        [("bearer, {0}", "bearer"), ("{0},bearer", "bearer"), ("bearer", "bearer"), ("chat", None)],
    )
    def test_the_subprotocol_is_answered_without_a_token_and_may_leave_it_to_the_query(
        self, service: ServiceProcess, ada: ChatUser, offered: str, chosen: str | None
    ) -> None:
        with RawSocket(service.port) as raw:
            answer = raw.open(f"/ws?v=2&token={ada.token}", {"Sec-WebSocket-Protocol": offered.format(ada.token)})
            assert answer.headers.get("Sec-WebSocket-Protocol") == chosen
            assert raw.hear().json()["payload"]["user_id"] == ada.id

    def test_an_auth_frame_authenticates_even_after_a_refused_frame(
        self, service: ServiceProcess, ada: ChatUser
    ) -> None:
        with RawSocket(service.port) as raw:
            raw.open()
            raw.say("typing", conversation_id=UNKNOWN_ID)
            assert raw.hear().json()["payload"]["code"] == "UNAUTHORIZED"
            assert authenticate(raw, ada.token)["payload"]["user_id"] == ada.id


class TestTokensEnd:
    def test_it_is_announced_and_ends_the_socket(
        self, service: ServiceProcess, newcomer: Callable[..., ChatUser]
    ) -> None:
        ends_at = int(time.time()) + 3
        ada = newcomer(exp=ends_at)
        with RawSocket(service.port) as new, RawSocket(service.port) as old:
            new.open("/ws?v=2", ada.headers)
            old.open("/ws", ada.headers)
            assert new.hear().json()["payload"]["token_expires_in"] <= 3
            expiring = new.hear().json()
            assert (expiring["type"], expiring["payload"]["in"] <= 3) == ("token_expiring", True)
            assert old.hear().payload[:2] == new.hear().payload[:2] == (4001).to_bytes(2)
            assert time.time() >= ends_at

    def test_a_new_token_keeps_the_socket_beyond_the_end_of_the_first(
        self, service: ServiceProcess, tenant: TenantProcess
    ) -> None:
        user = "auth0|renews"
        short = tenant.token(sub=user, exp=int(time.time()) + 3)
        with RawSocket(service.port) as kept, RawSocket(service.port) as other:
            for raw in (kept, other):
                raw.open("/ws?v=2", {"Authorization": f"Bearer {short}"})
                assert [raw.hear().json()["type"] for _ in range(2)] == ["ready", "token_expiring"]
            renewed = authenticate(kept, tenant.token(sub=user))
            assert renewed["type"] == "ready"
            assert renewed["payload"]["token_expires_in"] > 60
            assert other.close_code() == 4001
            kept.say("ping")
            assert kept.hear().json() == {"type": "pong"}


@pytest.mark.parametrize("proto", [None, "http", "https, http"])
def test_in_production_a_socket_without_tls_is_refused(production: ServiceProcess, proto: str | None) -> None:
    assert_error(ask(production, "/ws", {"X-Forwarded-Proto": proto}), 400, "BAD_REQUEST")
    assert ask(production, "/ws", {"X-Forwarded-Proto": "https"}).status == 101


@pytest.fixture(scope="module")
def guests(small: ServiceProcess, tenant: TenantProcess) -> list[ChatUser]:
    """Two users, who may have two sockets each: all that the worker has room for."""
    return [new_user(small, tenant) for _ in range(2)]


class TestRoom:
    @pytest.fixture(autouse=True)
    def has_room(self, small: ServiceProcess, guests: list[ChatUser]) -> None:
        """The sockets of the last test have ended: all that may be open can be opened."""

        def is_empty() -> bool:
            with ExitStack() as stack:
                sockets = [stack.enter_context(RawSocket(small.port)) for _ in range(4)]
                asked = zip(sockets, guests * 2, strict=True)
                if {raw.ask(upgrade("/ws", guest.headers)).status for raw, guest in asked} != {101}:
                    return False
                for raw in sockets:
                    raw.send(close(1000))
                    raw.close_body()  # ends when there is room for another
            return True

        until(is_empty)

    def test_a_user_with_too_many_sockets_is_refused_until_one_closes(
        self, small: ServiceProcess, tenant: TenantProcess
    ) -> None:
        ada, ben = new_user(small, tenant), new_user(small, tenant)
        with ExitStack() as stack:
            first, second, bens = (stack.enter_context(RawSocket(small.port)) for _ in range(3))
            for raw in (first, second):
                raw.open("/ws", ada.headers)
            assert_error(ask(small, "/ws", ada.headers), 429, "RATE_LIMITED")
            bens.open("/ws", ben.headers)
            first.reset()
            until(lambda: ask(small, "/ws", ada.headers).status == 101)

    def test_a_user_with_too_many_sockets_is_refused_in_an_auth_frame(
        self, small: ServiceProcess, tenant: TenantProcess
    ) -> None:
        ada = new_user(small, tenant)
        with ExitStack() as stack:
            first, second, third = (stack.enter_context(RawSocket(small.port)) for _ in range(3))
            for raw in (first, second):
                raw.open()
                assert authenticate(raw, ada.token)["type"] == "ready"
            third.open()
            error = authenticate(third, ada.token)
            assert (error["type"], error["payload"]["code"]) == ("error", "RATE_LIMITED")
            assert third.close_code() == 4504
            assert authenticate(first, ada.token)["type"] == "ready", "a renewal takes no room"

    def test_a_socket_that_does_not_authenticate_ends(self, small: ServiceProcess) -> None:
        with RawSocket(small.port) as raw:
            raw.open()
            raw.say("ping")
            assert raw.hear().json() == {"type": "pong"}
            assert raw.close_code() == 4501

    def test_unauthenticated_sockets_may_take_a_quarter_of_the_room(
        self, small: ServiceProcess, guests: list[ChatUser]
    ) -> None:
        with RawSocket(small.port) as unauthenticated, RawSocket(small.port) as known:
            unauthenticated.open()
            assert_error(ask(small), 503, "SERVICE_UNAVAILABLE")
            known.open("/ws", guests[0].headers)

    def test_a_full_worker_refuses_sockets_and_still_answers(
        self, small: ServiceProcess, tenant: TenantProcess
    ) -> None:
        users = [new_user(small, tenant) for _ in range(4)]
        with ExitStack() as stack:
            sockets = [stack.enter_context(RawSocket(small.port)) for _ in users]
            for raw, user in zip(sockets, users, strict=True):
                raw.open("/ws", user.headers)
            assert_error(ask(small), 503, "SERVICE_UNAVAILABLE")
            assert small.request("GET", "/api/v1/categories").status_code == 200
            sockets[0].send(close(1000))
            assert sockets[0].close_code() == 1000
            until(lambda: ask(small, "/ws", users[0].headers).status == 101)

    def test_a_worker_does_not_take_more_at_once_than_one_by_one(
        self, small: ServiceProcess, tenant: TenantProcess
    ) -> None:
        users = [new_user(small, tenant) for _ in range(10)]
        with ExitStack() as stack, ThreadPoolExecutor(20) as threads:
            sockets = [stack.enter_context(RawSocket(small.port)) for _ in range(20)]
            asked = [
                threads.submit(raw.ask, upgrade("/ws", user.headers))
                for raw, user in zip(sockets, users * 2, strict=True)
            ]
            statuses = sorted(answer.result().status for answer in asked)
        assert statuses == [101] * 4 + [503] * 16

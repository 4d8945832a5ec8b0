"""Who gets a socket, and how it is told why not: an HTTP status before the 101, a frame and a close code after it."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from deploy.local.processes import wait_until
from tests.support.members import Member, new_member
from tests.support.processes.service import ServiceProcess
from tests.support.processes.tenant import TenantProcess
from tests.support.ws_raw import Answer, RawSocket, close, upgrade

ORIGIN = "https://app.example.com"
PATHS = ("/ws", "/api/ws", "/api/v1/ws")
SLACK_SECONDS = 15


@contextmanager
def running(
    database_url_factory: Callable[[], str], tenant: TenantProcess, **environment: str
) -> Iterator[ServiceProcess]:
    with ServiceProcess({"DATABASE_URL": database_url_factory(), **tenant.env(), **environment}) as service:
        yield service


@pytest.fixture(scope="module")
def service(database_url_factory: Callable[[], str], tenant: TenantProcess) -> Iterator[ServiceProcess]:
    """Two workers; the handshake does not depend on the bus. Nothing unexpected happens, and no token is logged."""
    environment = {"CORS_ALLOWED_ORIGINS": f"{ORIGIN},http://localhost:3000", "WS_MAX_SOCKETS_PER_USER": "1000"}
    with running(database_url_factory, tenant, **environment) as service:
        yield service
        log = service.log()
        for trouble in ("Traceback", "unexpected_error", '"status": 500', "eyJ", "token="):
            assert trouble not in log


@pytest.fixture(scope="module")
def production(database_url_factory: Callable[[], str], tenant: TenantProcess) -> Iterator[ServiceProcess]:
    """One that stands behind one proxy, and never meets its tenant."""
    environment = {"APP_ENV": "production", "AUTH0_ISSUER": "https://tenant.invalid/", "TRUSTED_PROXY_COUNT": "1"}
    with running(database_url_factory, tenant, WEB_CONCURRENCY="1", **environment) as service:
        yield service


@pytest.fixture(scope="module")
def small(database_url_factory: Callable[[], str], tenant: TenantProcess) -> Iterator[ServiceProcess]:
    """One worker with room for four sockets, two a user, which must say whose they are within a second."""
    environment = {
        "WEB_CONCURRENCY": "1",
        "WS_MAX_SOCKETS_PER_USER": "2",
        "WS_MAX_SOCKETS_PER_WORKER": "4",
        "WS_AUTH_TIMEOUT_SECONDS": "1",
    }
    with running(database_url_factory, tenant, **environment) as service:
        yield service


def request(service: ServiceProcess, *args: Any, **options: Any) -> Answer:
    """The answer to one request for a socket."""
    with RawSocket(service.port) as raw:
        return raw.ask(upgrade(*args, **options))


def assert_refused(answer: Answer, status: int, code: str) -> None:
    """It must be this status, with the one error body."""
    assert answer.status == status, answer
    body = answer.json()
    assert (body["status"], body["code"]) == (status, code)
    assert {"error", "message", "title", "type", "detail", "instance"} <= body.keys()
    assert answer.headers["X-Request-Id"] == body["request_id"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def bearer(token: str) -> dict[str, str | None]:
    return {"Authorization": f"Bearer {token}"}


def subprotocol(token: str) -> dict[str, str | None]:
    return {"Sec-WebSocket-Protocol": f"bearer, {token}"}


def say_who(raw: RawSocket, token: str) -> dict[str, Any]:
    """Send an `auth` frame; what is heard next."""
    raw.say("auth", token=token, v=2)
    return raw.hear().json()


class TestForm:
    @pytest.mark.parametrize("path", PATHS)
    def test_every_path_opens_a_socket(self, service: ServiceProcess, path: str) -> None:
        with RawSocket(service.port) as raw:
            answer = raw.open(path)
            assert answer.headers["Upgrade"] == "websocket"
            assert answer.headers["Connection"] == "Upgrade"
            assert "Sec-WebSocket-Protocol" not in answer.headers
            raw.say("ping")
            assert raw.hear().json() == {"type": "pong"}

    @pytest.mark.parametrize("path", PATHS)
    def test_a_plain_request_is_told_what_to_upgrade_to(self, service: ServiceProcess, path: str) -> None:
        answer = request(service, path, {"Upgrade": None, "Connection": None, "Sec-WebSocket-Version": None})
        assert_refused(answer, 426, "BAD_REQUEST")
        assert answer.headers["Upgrade"] == "websocket"
        assert answer.headers["Connection"].lower() == "upgrade"
        assert answer.headers["Sec-WebSocket-Version"] == "13"

    @pytest.mark.parametrize(
        "headers",
        [
            {"Upgrade": None},
            {"Upgrade": "h2c"},
            {"Connection": None},
            {"Connection": "keep-alive"},
            {"Connection": "upgraded"},
        ],
    )
    def test_half_an_upgrade_is_none(self, service: ServiceProcess, headers: dict[str, str | None]) -> None:
        assert_refused(request(service, "/ws", headers), 426, "BAD_REQUEST")

    @pytest.mark.parametrize("connection", ["keep-alive, Upgrade", "UPGRADE", "upgrade,close"])
    def test_connection_is_a_list_in_any_case(self, service: ServiceProcess, connection: str) -> None:
        with RawSocket(service.port) as raw:
            raw.open(headers={"Connection": connection, "Upgrade": "WebSocket"})

    @pytest.mark.parametrize("version", [None, "", "8", "12", "14", "013", "13, 8", "x"])
    def test_another_version_is_told_the_one_there_is(self, service: ServiceProcess, version: str | None) -> None:
        answer = request(service, "/ws", {"Sec-WebSocket-Version": version})
        assert_refused(answer, 426, "BAD_REQUEST")
        assert answer.headers["Sec-WebSocket-Version"] == "13"

    @pytest.mark.parametrize(
        "key",
        [
            None,
            "",
            "x",
            "AAAAAAAAAAAAAAAAAAAAAA",  # no padding
            "AAAAAAAAAAAAAAAAAAAA",  # 15 bytes
            "AAAAAAAAAAAAAAAAAAAAAAA=",  # 17 bytes
            "AAAAAAAAAAA AAAAAAAAAAA==",
            "ÄAAAAAAAAAAAAAAAAAAAAA==",
            "-_AAAAAAAAAAAAAAAAAAAA==",
        ],
    )
    def test_a_key_that_is_not_16_bytes_in_base64_is_refused(self, service: ServiceProcess, key: str | None) -> None:
        assert_refused(request(service, "/ws", {"Sec-WebSocket-Key": key}), 400, "BAD_REQUEST")

    def test_http_1_0_is_refused(self, service: ServiceProcess) -> None:
        assert_refused(request(service, "/ws", version="1.0"), 400, "BAD_REQUEST")

    def test_a_missing_host_is_refused(self, service: ServiceProcess) -> None:
        assert request(service, "/ws", {"Host": None}).status == 400

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
    @pytest.mark.parametrize("upgrade_header", ["websocket", None])
    def test_only_get_opens_a_socket(self, service: ServiceProcess, method: str, upgrade_header: str | None) -> None:
        headers = {"Content-Length": "0", "Upgrade": upgrade_header}
        answer = request(service, "/ws", headers, method=method)
        assert_refused(answer, 405, "METHOD_NOT_ALLOWED")
        assert "GET" in answer.headers["Allow"]

    @pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
    def test_what_only_asks_about_the_path_opens_no_socket(self, service: ServiceProcess, method: str) -> None:
        with RawSocket(service.port) as raw:
            raw.send(upgrade("/ws", {"Connection": "Upgrade, close"}, method=method))
            assert raw.connection.recv(12) == b"HTTP/1.1 400"

    @pytest.mark.parametrize("headers", [{"Content-Length": "5"}, {"Transfer-Encoding": "chunked"}])
    def test_a_request_with_a_body_is_refused(self, service: ServiceProcess, headers: dict[str, str | None]) -> None:
        assert_refused(request(service, "/ws", headers), 400, "BAD_REQUEST")

    @pytest.mark.parametrize("host", ["é.example.com", "xn--a", "a" * 300, "a..b", "[::1", "x y", "x:99999", "-"])
    def test_no_host_is_an_error_of_the_service(self, service: ServiceProcess, host: str) -> None:
        assert request(service, "/ws", {"Host": host}).status in (101, 400)

    @pytest.mark.parametrize("value", ["bearer, é", "a b", "bearer,,x", "(x)", ","])
    def test_subprotocols_that_are_no_tokens_are_refused(self, service: ServiceProcess, value: str) -> None:
        assert_refused(request(service, "/ws", {"Sec-WebSocket-Protocol": value}), 400, "BAD_REQUEST")

    def test_the_request_id_is_on_the_101(self, service: ServiceProcess) -> None:
        with RawSocket(service.port) as raw:
            assert (
                raw.open(headers={"X-Request-Id": "a-client-chose-it"}).headers["X-Request-Id"] == "a-client-chose-it"
            )
        with RawSocket(service.port) as raw:
            assert len(raw.open().headers["X-Request-Id"]) == 32


class TestOrigin:
    @pytest.mark.parametrize("origin", [ORIGIN, "http://localhost:3000", None])
    def test_configured_pages_and_programs_may_open_sockets(self, service: ServiceProcess, origin: str | None) -> None:
        with RawSocket(service.port) as raw:
            raw.open(headers={"Origin": origin})

    @pytest.mark.attack("origins of sockets")
    @pytest.mark.parametrize(
        "origin",
        [
            "https://evil.example.com",
            "null",
            "",
            "*",
            f"{ORIGIN}.evil.example",
            f"{ORIGIN}:8443",
            f"{ORIGIN}:443",
            f"{ORIGIN}/",
            f"{ORIGIN}, https://evil.example.com",
            f"{ORIGIN}@evil.example.com",
            "http://app.example.com",
            "https://app.example.co",
            "https://APP.example.com.",
            "https://evil.app.example.com",
            "http://localhost:30001",
            "https://app-example.com",
            f"{ORIGIN}\r\nOrigin: https://evil.example.com",
            f"{ORIGIN}\r\nOrigin: {ORIGIN}",
            "https://аpp.example.com".encode().decode("latin-1"),  # a Cyrillic letter
        ],
    )
    def test_any_other_page_is_refused(self, service: ServiceProcess, ada: Member, origin: str) -> None:
        answer = request(service, "/ws", {"Origin": origin, **bearer(ada.token)})
        assert_refused(answer, 403, "FORBIDDEN")


class TestToken:
    @pytest.mark.parametrize("way", ["header", "subprotocol", "query"])
    def test_a_good_token_opens_a_socket_of_its_user(self, service: ServiceProcess, ada: Member, way: str) -> None:
        headers = {"header": bearer(ada.token), "subprotocol": subprotocol(ada.token), "query": {}}[way]
        path = f"/ws?v=2&token={ada.token}" if way == "query" else "/ws?v=2"
        with RawSocket(service.port) as raw:
            answer = raw.open(path, headers)
            assert answer.headers.get("Sec-WebSocket-Protocol") == ("bearer" if way == "subprotocol" else None)
            ready = raw.hear().json()
            assert (ready["type"], ready["payload"]["user_id"]) == ("ready", ada.id)
            assert ready["payload"]["connection_id"] == answer.headers["X-Request-Id"]

    @pytest.mark.parametrize("token", ["x", "eyJhbGciOiJub25lIn0.e30.", "%F0%9F%9B%B6%FF%00", "a" * 3000])
    @pytest.mark.parametrize("way", ["header", "subprotocol", "query"])
    def test_a_bad_token_is_refused(self, service: ServiceProcess, token: str, way: str) -> None:
        headers = {"header": bearer(token), "subprotocol": subprotocol(token), "query": {}}[way]
        answer = request(service, f"/ws?token={token}" if way == "query" else "/ws", headers)
        assert_refused(answer, 401, "INVALID_TOKEN")
        assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="gearyard", error="invalid_token"')

    def test_a_token_of_another_audience_is_refused(self, service: ServiceProcess, tenant: TenantProcess) -> None:
        token = tenant.token(aud="https://elsewhere.example")
        assert_refused(request(service, "/ws", bearer(token)), 401, "INVALID_TOKEN")

    def test_a_token_that_has_expired_is_refused_as_expired(
        self, service: ServiceProcess, tenant: TenantProcess
    ) -> None:
        now = int(time.time())
        token = tenant.token(iat=now - 7200, exp=now - 3600)
        assert_refused(request(service, "/ws", bearer(token)), 401, "TOKEN_EXPIRED")

    @pytest.mark.parametrize("value", ["Basic {}", "Token {}", "{}", "bearer", "Bearer ", "", "é {}"])
    def test_an_authorization_header_that_brings_no_bearer_token_is_refused(
        self, service: ServiceProcess, ada: Member, value: str
    ) -> None:
        headers = {"Authorization": value.format(ada.token), **subprotocol(ada.token)}
        answer = request(service, f"/ws?token={ada.token}", headers)
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="gearyard"')

    def test_the_header_goes_before_the_subprotocol_and_that_before_the_query(
        self, service: ServiceProcess, ada: Member, ben: Member, stranger: Member
    ) -> None:
        path = f"/ws?v=2&token={stranger.token}"
        for headers, expected in (
            ({**bearer(ada.token), **subprotocol(ben.token)}, ada),
            (subprotocol(ben.token), ben),
            ({"Sec-WebSocket-Protocol": "bearer"}, stranger),
            ({"Sec-WebSocket-Protocol": "chat"}, stranger),
            ({}, stranger),
        ):
            with RawSocket(service.port) as raw:
                raw.open(path, headers)
                assert raw.hear().json()["payload"]["user_id"] == expected.id

    def test_a_bad_token_is_not_made_good_by_another_way(self, service: ServiceProcess, ada: Member) -> None:
        assert request(service, f"/ws?token={ada.token}", subprotocol("x")).status == 401
        assert request(service, "/ws", {**bearer("x"), **subprotocol(ada.token)}).status == 401

    def test_the_subprotocol_is_answered_with_its_name_alone(self, service: ServiceProcess, ada: Member) -> None:
        for value in (f"bearer, {ada.token}", f"{ada.token},bearer", "bearer"):
            with RawSocket(service.port) as raw:
                assert raw.open("/ws", {"Sec-WebSocket-Protocol": value}).headers["Sec-WebSocket-Protocol"] == "bearer"

    def test_two_tokens_in_the_subprotocol_are_refused(self, service: ServiceProcess, ada: Member) -> None:
        headers: dict[str, str | None] = {"Sec-WebSocket-Protocol": f"bearer, {ada.token}, {ada.token}"}
        assert_refused(request(service, "/ws", headers), 401, "INVALID_TOKEN")


class TestAuthFrame:
    def test_it_says_whose_the_socket_is(self, service: ServiceProcess, ada: Member) -> None:
        with RawSocket(service.port) as raw:
            raw.open()
            assert say_who(raw, ada.token)["payload"]["user_id"] == ada.id

    @pytest.mark.parametrize("token", ["x", "é", "eyJhbGciOiJub25lIn0.e30."])
    def test_a_bad_token_is_told_and_ends_it(self, service: ServiceProcess, token: str) -> None:
        with RawSocket(service.port) as raw:
            raw.open()
            error = say_who(raw, token)
            assert (error["type"], error["payload"]["code"]) == ("error", "UNAUTHORIZED")
            assert raw.close_code() == 4500

    @pytest.mark.parametrize("kind", ["message", "sendMessage", "typing", "read", "sync"])
    def test_before_it_nothing_else_is_done(self, service: ServiceProcess, ada: Member, kind: str) -> None:
        with RawSocket(service.port) as raw:
            raw.open()
            raw.say(kind, conversation_id="00000000-0000-0000-0000-000000000000", content="x", after_seq=0)
            assert raw.hear().json()["payload"]["code"] == "UNAUTHORIZED"
            assert say_who(raw, ada.token)["type"] == "ready"


class TestTokensEnd:
    def test_it_is_announced_and_ends_the_socket(
        self, service: ServiceProcess, newcomer: Callable[..., Member]
    ) -> None:
        ends_at = int(time.time()) + 3
        ada = newcomer(exp=ends_at)
        with RawSocket(service.port) as new, RawSocket(service.port) as old:
            new.open("/ws?v=2", bearer(ada.token))
            old.open("/ws", bearer(ada.token))
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
                raw.open("/ws?v=2", bearer(short))
                assert [raw.hear().json()["type"] for _ in range(2)] == ["ready", "token_expiring"]
            renewed = say_who(kept, tenant.token(sub=user))
            assert renewed["type"] == "ready"
            assert renewed["payload"]["token_expires_in"] > 60
            assert other.close_code() == 4001
            kept.say("ping")
            assert kept.hear().json() == {"type": "pong"}


class TestProduction:
    @pytest.mark.parametrize("proto", [None, "http", "https, http"])
    def test_a_token_does_not_travel_in_the_clear(self, production: ServiceProcess, proto: str | None) -> None:
        answer = request(production, "/ws", {"X-Forwarded-Proto": proto})
        assert_refused(answer, 400, "BAD_REQUEST")

    def test_behind_a_proxy_that_speaks_tls_it_opens(self, production: ServiceProcess) -> None:
        with RawSocket(production.port) as raw:
            raw.open("/ws", {"X-Forwarded-Proto": "https"})

    def test_where_no_origin_is_configured_no_page_opens_one(self, production: ServiceProcess) -> None:
        answer = request(production, "/ws", {"X-Forwarded-Proto": "https", "Origin": "https://gearyard.test"})
        assert_refused(answer, 403, "FORBIDDEN")


@pytest.fixture(scope="module")
def guests(small: ServiceProcess, tenant: TenantProcess) -> list[Member]:
    """Two people, who may have two sockets each: all that there may be."""
    return [new_member(small, tenant) for _ in range(2)]


class TestRoom:
    @pytest.fixture(autouse=True)
    def has_room(self, small: ServiceProcess, guests: list[Member]) -> None:
        """What the last test left open has ended: as many sockets as there may be can be opened."""

        def is_empty() -> bool:
            with ExitStack() as stack:
                sockets = [stack.enter_context(RawSocket(small.port)) for _ in range(4)]
                asked = zip(sockets, guests * 2, strict=True)
                if {raw.ask(upgrade("/ws", bearer(guest.token))).status for raw, guest in asked} != {101}:
                    return False
                for raw in sockets:
                    raw.send(close(1000))
                    raw.close_body()  # it ends when there is room for another
            return True

        assert wait_until(is_empty, SLACK_SECONDS)

    def test_a_user_with_too_many_sockets_is_refused_until_one_closes(
        self, small: ServiceProcess, tenant: TenantProcess
    ) -> None:
        ada, ben = new_member(small, tenant), new_member(small, tenant)
        with ExitStack() as stack:
            first, second, bens = (stack.enter_context(RawSocket(small.port)) for _ in range(3))
            for raw in (first, second):
                raw.open("/ws", bearer(ada.token))
            answer = request(small, "/ws", bearer(ada.token))
            assert_refused(answer, 429, "RATE_LIMITED")
            assert int(answer.headers["Retry-After"]) > 0
            bens.open("/ws", bearer(ben.token))

            first.reset()  # its place is given back a moment after
            assert wait_until(lambda: request(small, "/ws", bearer(ada.token)).status == 101, SLACK_SECONDS)

    def test_so_is_one_who_says_so_in_a_frame(self, small: ServiceProcess, tenant: TenantProcess) -> None:
        ada = new_member(small, tenant)
        with ExitStack() as stack:
            first, second, third = (stack.enter_context(RawSocket(small.port)) for _ in range(3))
            for raw in (first, second):
                raw.open()
                assert say_who(raw, ada.token)["type"] == "ready"
            third.open()
            error = say_who(third, ada.token)
            assert (error["type"], error["payload"]["code"]) == ("error", "RATE_LIMITED")
            assert third.close_code() == 4504
            assert say_who(first, ada.token)["type"] == "ready", "a renewal takes no room"

    def test_a_socket_that_does_not_say_whose_it_is_ends(self, small: ServiceProcess) -> None:
        with RawSocket(small.port) as raw:
            raw.open()
            raw.say("ping")
            assert raw.hear().json() == {"type": "pong"}
            assert raw.close_code() == 4501

    def test_sockets_that_do_not_say_whose_they_are_take_nobody_elses_place(
        self, small: ServiceProcess, guests: list[Member]
    ) -> None:
        with ExitStack() as stack:
            stranger, known = (stack.enter_context(RawSocket(small.port)) for _ in range(2))
            stranger.open()  # a quarter of four
            assert_refused(request(small, "/ws"), 503, "SERVICE_UNAVAILABLE")
            known.open("/ws", bearer(guests[0].token))

    def test_a_stranger_whose_auth_frame_is_none_gets_no_second_try(self, small: ServiceProcess) -> None:
        with RawSocket(small.port) as raw:
            raw.open()
            raw.say("auth", token="x", cursors={"no id": 1})  # noqa: S106 - no token
            assert raw.hear().json()["payload"]["code"] == "BAD_MESSAGE"
            assert raw.close_code() == 4502

    def test_a_full_worker_refuses_sockets_and_still_answers(
        self, small: ServiceProcess, tenant: TenantProcess
    ) -> None:
        members = [new_member(small, tenant) for _ in range(4)]
        with ExitStack() as stack:
            sockets = [stack.enter_context(RawSocket(small.port)) for _ in members]
            for raw, member in zip(sockets, members, strict=True):
                raw.open("/ws", bearer(member.token))
            answer = request(small, "/ws")
            assert_refused(answer, 503, "SERVICE_UNAVAILABLE")
            assert int(answer.headers["Retry-After"]) > 0
            assert small.request("GET", "/api/v1/categories").status_code == 200
            sockets[0].send(close(1000))
            assert sockets[0].close_code() == 1000
            # Its place is given back a moment after.
            assert wait_until(lambda: request(small, "/ws", bearer(members[0].token)).status == 101, SLACK_SECONDS)

    def test_a_worker_does_not_take_more_at_once_than_one_by_one(
        self, small: ServiceProcess, tenant: TenantProcess
    ) -> None:
        members = [new_member(small, tenant) for _ in range(10)]
        with ExitStack() as stack, ThreadPoolExecutor(20) as threads:
            sockets = [stack.enter_context(RawSocket(small.port)) for _ in range(20)]
            asked = [
                threads.submit(raw.ask, upgrade("/ws", bearer(member.token)))
                for raw, member in zip(sockets, members * 2, strict=True)
            ]
            statuses = sorted(answer.result().status for answer in asked)
        assert statuses == [101] * 4 + [503] * 16


def test_what_a_socket_logs_of_itself_names_its_user_and_path_and_no_token(
    service: ServiceProcess, ada: Member
) -> None:
    with RawSocket(service.port) as raw:
        raw.open(f"/ws?token={ada.token}", {"X-Request-Id": "with-a-token-in-the-url"})
        raw.send(close(1000))
        raw.close_body()
    assert request(service, f"/ws?token={ada.token}x", {"X-Request-Id": "with-a-bad-token-in-the-url"}).status == 401
    assert wait_until(lambda: "with-a-bad-token" in service.log() and "with-a-token" in service.log(), SLACK_SECONDS)
    lines = [json.loads(line) for line in service.log().splitlines() if "token-in-the-url" in line]
    assert {(line["event"], line.get("user_id")) for line in lines} == {("socket_closed", ada.id), ("request", None)}
    assert ada.token not in service.log()

"""Rate limits: who is counted for what, what is said about it, and that nobody gets around them."""

import dataclasses
import math
import time
from collections.abc import Callable
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from app import create_app
from app.common.client_address import UNKNOWN, network_of
from app.settings import Settings
from app.web.headers import HEADERS as SECURITY_HEADERS
from app.web.rate_limit_storage import MemoryWindows
from app.web.rate_limits import HEADERS
from tests.support import UNKNOWN_ID
from tests.support.assertions import assert_error
from tests.support.processes.tenant import TenantProcess
from tests.support.rows import Person, add_equipment

SEARCH = "/api/v1/equipment"
OPEN = "/api/v1/categories"
ME = "/api/v1/auth/me"
AUTH = [f"/api/v1/auth/auth0/{name}" for name in ("signup", "login", "refresh")]
HERE, ELSEWHERE = "192.0.2.1", "198.51.100.1"
ORIGIN = "https://app.example.com"


class Service:
    def __init__(self, settings: Settings) -> None:
        self._client = create_app(settings).test_client()

    def ask(self, path: str, address: str = HERE, method: str = "GET", **options: Any) -> TestResponse:
        environ = {"REMOTE_ADDR": address, **options.pop("environ", {})}
        return self._client.open(path, method=method, environ_base=environ, **options)

    def statuses(self, times: int, path: str, *args: Any, **options: Any) -> list[int]:
        return [self.ask(path, *args, **options).status_code for _ in range(times)]


@pytest.fixture
def serve(settings: Settings, rolled_back: None, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Service]:
    """Makes services, all of them in the test's transaction."""
    monkeypatch.setattr("app.db.session.configure", lambda _: None)

    def make(*, proxies: int = 0, **rates: Any) -> Service:
        limits = dataclasses.replace(settings.rate_limits, **rates)
        options: dict[str, Any] = {"redis_url": None, "trusted_proxy_count": proxies, "cors_allowed_origins": (ORIGIN,)}
        return Service(dataclasses.replace(settings, rate_limits=limits, **options))

    return make


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(seconds=1_000.0)
    monkeypatch.setattr(time, "monotonic", lambda: clock.seconds)
    return clock


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


class TestWhoIsCounted:
    def test_searches_and_other_requests_have_a_limit_each_by_address(self, serve: Callable[..., Service]) -> None:
        service = serve(public_search="4/minute", anonymous="1/minute")
        assert service.statuses(3, SEARCH) == [200, 200, 200]
        assert service.statuses(2, OPEN) == [200, 429]
        assert service.statuses(2, SEARCH) == [200, 429]
        assert [service.ask(path, ELSEWHERE).status_code for path in (SEARCH, OPEN)] == [200, 200]

    def test_a_search_counts_by_address_whatever_its_token_and_method(
        self, serve: Callable[..., Service], renter: Person, owner: Person
    ) -> None:
        service = serve(public_search="2/minute")
        assert service.ask(SEARCH, headers=renter.headers).status_code == 200
        assert service.ask(SEARCH, method="HEAD").status_code == 200
        assert service.ask(SEARCH, headers=owner.headers).status_code == 429

    def test_a_request_counts_once_whatever_comes_of_it(self, serve: Callable[..., Service], owner: Person) -> None:
        service = serve(anonymous="4/minute", public_search="1/minute")
        found, missing = f"{SEARCH}/{add_equipment(owner.id)}", f"{SEARCH}/{UNKNOWN_ID}"
        answers = [service.ask(path) for path in (found, missing, found, missing, found, missing)]
        assert [answer.status_code for answer in answers] == [200, 404, 200, 404, 429, 429]
        assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["3", "2", "1", "0", "0", "0"]
        assert [service.ask(path).status_code for path in (f"{SEARCH}?limit=0", SEARCH)] == [400, 429]

    @pytest.mark.parametrize("path", AUTH)
    def test_sign_up_login_and_refresh_have_one_limit_each(self, serve: Callable[..., Service], path: str) -> None:
        service = serve(auth="2/minute")
        assert service.statuses(3, path, method="POST", json={}) == [400, 400, 429]
        assert service.ask(path, ELSEWHERE, "POST", json={}).status_code == 400
        others = [other for other in AUTH if other != path]
        assert [service.ask(other, method="POST", json={}).status_code for other in others] == [400, 400]

    def test_a_known_user_is_counted_on_all_routes_and_addresses_together(
        self, serve: Callable[..., Service], renter: Person, owner: Person
    ) -> None:
        service = serve(authenticated="2/minute", anonymous="1/minute")
        asked = [(ME, HERE), ("/api/v1/conversations", ELSEWHERE), ("/api/v1/users/me/equipment", HERE)]
        assert [service.ask(*each, headers=renter.headers).status_code for each in asked] == [200, 200, 429]
        assert service.ask(ME, headers=owner.headers).status_code == 200
        assert service.ask(OPEN).status_code == 200, "users use up nothing of their address"

    @pytest.mark.parametrize("wrong", ["x", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "", "a, Bearer b"])
    def test_bad_tokens_count_against_the_address_and_not_against_its_users(
        self, serve: Callable[..., Service], renter: Person, wrong: str
    ) -> None:
        service = serve(anonymous="2/minute")
        refused = 400 if "," in wrong else 401
        assert service.statuses(3, ME, headers=bearer(wrong)) == [refused, refused, 429]
        assert service.ask(ME, headers=renter.headers).status_code == 200

    def test_a_token_that_is_good_but_no_persons_counts_against_the_address(
        self, serve: Callable[..., Service], tenant: TenantProcess
    ) -> None:
        service, machine = serve(anonymous="1/minute"), bearer(tenant.token(sub="robot@clients"))
        assert service.statuses(2, ME, headers=machine) == [403, 429]

    def test_pre_flights_are_not_counted_and_never_refused(self, serve: Callable[..., Service]) -> None:
        service = serve(anonymous="1/minute", public_search="1/minute")
        asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "GET"}
        for path in (OPEN, SEARCH, ME, "/ws", "/nowhere"):
            for _ in range(3):
                answer = service.ask(path, method="OPTIONS", headers=asked)
                assert answer.status_code != 429
                assert not set(HEADERS) & set(answer.headers.keys())
        assert service.statuses(2, OPEN) == [200, 429]
        assert service.ask(OPEN, method="OPTIONS", headers=asked).status_code == 200

    @pytest.mark.parametrize("path", ["/health", "/ready"])
    def test_load_balancers_may_ask_as_often_as_they_like(self, serve: Callable[..., Service], path: str) -> None:
        service = serve(anonymous="1/minute")
        assert service.statuses(2, OPEN) == [200, 429]
        answers = [service.ask(path) for _ in range(3)]
        assert {answer.status_code for answer in answers} <= {200, 503}  # not ready where nothing is migrated
        assert not any(set(HEADERS) & set(answer.headers.keys()) for answer in answers)

    def test_nobody_is_counted_where_limits_are_off(self, serve: Callable[..., Service], renter: Person) -> None:
        off = dict.fromkeys(("public_search", "anonymous", "authenticated", "auth"), "1/minute")
        service = serve(enabled=False, **off)
        for path in (SEARCH, OPEN, ME, "/nowhere"):
            answers = [service.ask(path, headers=renter.headers) for _ in range(3)]
            assert 429 not in {answer.status_code for answer in answers}
            assert not any(set(HEADERS) & set(answer.headers.keys()) for answer in answers)


@pytest.mark.attack("rate limits")
class TestEvasion:
    @pytest.mark.parametrize("headers", [{}, {"Upgrade": "websocket", "Connection": "Upgrade"}])
    @pytest.mark.parametrize("path", ["/ws", "/api/ws", "/api/v1/ws"])
    def test_handshakes_count_whatever_is_wrong_with_them(
        self, serve: Callable[..., Service], path: str, headers: dict[str, str]
    ) -> None:
        service = serve(anonymous="2/minute")
        answers = [service.ask(path, headers=headers) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [426, 426, 429]
        assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["1", "0", "0"]

    @pytest.mark.parametrize("way", ["header", "subprotocol", "query"])
    def test_a_flood_of_handshakes_with_bad_tokens_is_refused(self, serve: Callable[..., Service], way: str) -> None:
        service = serve(anonymous="2/minute")
        headers = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
            **(bearer("x.y.z") if way == "header" else {}),
            **({"Sec-WebSocket-Protocol": "bearer, x.y.z"} if way == "subprotocol" else {}),
        }
        path = "/ws?token=x.y.z" if way == "query" else "/ws"
        environ = {"gunicorn.socket": object(), "SERVER_PROTOCOL": "HTTP/1.1"}
        assert service.statuses(3, path, headers=headers, environ=environ) == [401, 401, 429]

    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("GET", "/nowhere/{}", 404),
            ("GET", "/api/v1/nowhere", 404),
            ("GET", f"{SEARCH}/not-a-uuid", 404),
            ("DELETE", "/health", 405),
            ("PATCH", SEARCH, 405),
            ("POST", "/ws", 405),
        ],
    )
    def test_unknown_paths_and_wrong_methods_count(
        self, serve: Callable[..., Service], method: str, path: str, status: int
    ) -> None:
        service = serve(anonymous="2/minute")
        answers = [service.ask(path.format(number), method=method) for number in range(3)]
        assert [answer.status_code for answer in answers] == [status, status, 429]

    @pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded", "X-Real-Ip", "Client-Ip", "True-Client-Ip"])
    def test_without_a_proxy_no_header_changes_the_address(self, serve: Callable[..., Service], name: str) -> None:
        service = serve(anonymous="2/minute", public_search="2/minute")
        for path in (OPEN, SEARCH):
            sent = [{name: f"203.0.113.{number}"} for number in range(4)]
            assert [service.ask(path, headers=headers).status_code for headers in sent] == [200, 200, 429, 429]

    @pytest.mark.parametrize("forged", ["{}", "{}, 10.0.0.1", "unknown, {}", "{},", "'{}'"])
    def test_behind_one_proxy_only_what_it_added_counts(self, serve: Callable[..., Service], forged: str) -> None:
        service = serve(proxies=1, anonymous="2/minute")
        prepended = [forged.format(f"203.0.113.{number}") for number in range(4)]
        sent = [{"X-Forwarded-For": f"{entries}, {HERE}"} for entries in prepended]
        assert [service.ask(OPEN, "127.0.0.1", headers=headers).status_code for headers in sent] == [200, 200, 429, 429]
        another = {"X-Forwarded-For": f"{HERE}, {ELSEWHERE}"}
        assert service.ask(OPEN, "127.0.0.1", headers=another).status_code == 200

    def test_one_subscribers_many_addresses_are_one(self, serve: Callable[..., Service]) -> None:
        service = serve(anonymous="2/minute")
        addresses = [f"2001:db8:0:1:{number:x}::{number:x}" for number in range(4)]
        assert [service.ask(OPEN, address).status_code for address in addresses] == [200, 200, 429, 429]
        assert service.ask(OPEN, "2001:db8:0:2::1").status_code == 200

    def test_a_flood_from_ever_new_networks_takes_bounded_memory(self) -> None:
        windows = MemoryWindows(max_windows=100)
        windows.incr("minute", 60)
        for number in range(10_000):
            assert windows.incr(f"network {number}", 60) == 1
            assert len(windows) <= 100

    def test_windows_that_ended_go_as_others_begin(self, clock: SimpleNamespace) -> None:
        windows = MemoryWindows()
        for number in range(100):
            windows.incr(f"old {number}", 1)
        clock.seconds += 2
        for number in range(50):
            windows.incr(f"new {number}", 1)
        assert len(windows) == 50


class TestWhatIsSaid:
    def test_every_limited_answer_tells_what_is_left_and_until_when(self, serve: Callable[..., Service]) -> None:
        service = serve(anonymous="3/minute")
        began = time.time()
        answers = [service.ask(path) for path in (OPEN, "/nowhere", ME, OPEN)]
        assert [answer.status_code for answer in answers] == [200, 404, 401, 429]
        assert {answer.headers["X-RateLimit-Limit"] for answer in answers} == {"3"}
        assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["2", "1", "0", "0"]
        (reset,) = {int(answer.headers["X-RateLimit-Reset"]) for answer in answers}
        assert began + 60 <= reset <= math.ceil(time.time()) + 60
        assert ["Retry-After" in answer.headers for answer in answers] == [False, False, False, True]
        assert all(len(answer.headers.getlist(name)) == 1 for answer in answers for name in HEADERS)

    def test_the_error_is_the_one_error_of_this_api(self, serve: Callable[..., Service]) -> None:
        service = serve(anonymous="1/minute")
        service.ask(OPEN)
        answer = service.ask(OPEN, headers={"X-Request-Id": "request-17", "Origin": ORIGIN})
        assert assert_error(answer, 429, "RATE_LIMITED")["request_id"] == "request-17"
        assert int(answer.headers["Retry-After"]) <= 60
        assert SECURITY_HEADERS.items() <= dict(answer.headers).items()
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert {*HEADERS, "Retry-After"} <= set(answer.headers["Access-Control-Expose-Headers"].split(", "))
        problem = service.ask(OPEN, headers={"Accept": "application/problem+json"})
        assert (problem.status_code, problem.mimetype) == (429, "application/problem+json")

    @pytest.mark.parametrize(("rates", "most"), [("5/minute;3/hour", 3), ("3/minute;2/hour", 2)])
    def test_of_several_windows_the_tightest_and_the_longest_wait_are_told(
        self, serve: Callable[..., Service], rates: str, most: int
    ) -> None:
        service = serve(anonymous=rates)
        answers = [service.ask(OPEN) for _ in range(5)]  # with which the second's windows are both full
        refused = answers[most:]
        assert [answer.status_code for answer in answers] == [200] * most + [429] * len(refused)
        assert {answer.headers["X-RateLimit-Limit"] for answer in answers} == {str(most)}
        left = [int(answer.headers["X-RateLimit-Remaining"]) for answer in answers]
        assert left == [*reversed(range(most)), *(0 for _ in refused)]
        assert all(3000 < int(answer.headers["Retry-After"]) <= 3600 for answer in refused)

    def test_what_a_short_window_refused_uses_up_nothing_of_a_longer_one(
        self, serve: Callable[..., Service], clock: SimpleNamespace
    ) -> None:
        service = serve(anonymous="2/second;4/hour")
        assert service.statuses(20, OPEN) == [200] * 2 + [429] * 18
        clock.seconds += 1
        assert service.statuses(3, OPEN) == [200, 200, 429]

    @pytest.mark.parametrize("rates", ["2/hour;3/90 minute", "3/90 minute;2/hour", "3/90 minute;2/hour;3/90 minute"])
    def test_the_shorter_window_is_checked_first_whatever_its_unit_and_place(
        self, serve: Callable[..., Service], clock: SimpleNamespace, rates: str
    ) -> None:
        service = serve(anonymous=rates)
        assert service.statuses(20, OPEN) == [200] * 2 + [429] * 18
        clock.seconds += 3600
        assert service.statuses(2, OPEN) == [200, 429]

    @pytest.mark.parametrize("path", [OPEN, SEARCH])
    def test_a_wait_is_told_in_whole_seconds_after_which_the_request_is_let_in(
        self, serve: Callable[..., Service], clock: SimpleNamespace, path: str
    ) -> None:
        service, began = serve(anonymous="1/minute", public_search="1/minute"), clock.seconds
        for _ in range(2):
            assert service.ask(path).status_code == 200
            waits = []
            for passed in (0.5, 10.2, 58.9, 59.6):
                clock.seconds = began + passed
                waits.append(int(service.ask(path).headers["Retry-After"]))
            assert waits == [60, 50, 2, 1]
            began = clock.seconds = began + 60

    def test_a_wait_is_never_nothing(self, serve: Callable[..., Service], monkeypatch: pytest.MonkeyPatch) -> None:
        service = serve(anonymous="1/minute")
        monkeypatch.setattr(MemoryWindows, "incr", lambda *_, **__: 2)  # of a window that ends at this very moment
        answer = service.ask(OPEN)
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")


def test_no_database_connection_is_held_while_a_request_is_counted(
    serve: Callable[..., Service], renter: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, headers, using, seen = serve(), renter.headers, set(), []
    incr = MemoryWindows.incr

    def watched(*args: Any, **options: Any) -> Any:
        seen.append(len(using))
        return incr(*args, **options)

    monkeypatch.setattr(MemoryWindows, "incr", watched)
    listeners: dict[str, Callable[..., None]] = {
        "after_transaction_create": lambda _, transaction: using.add(transaction),
        "after_transaction_end": lambda _, transaction: using.discard(transaction),
    }
    for name, listener in listeners.items():
        event.listen(Session, name, listener)
    try:
        assert [service.ask(path, headers=headers).status_code for path in (ME, SEARCH, "/nowhere")] == [200, 200, 404]
    finally:
        for name, listener in listeners.items():
            event.remove(Session, name, listener)
    assert seen == [0, 0, 0]  # each counted once


class TestNetworks:
    @pytest.mark.parametrize(
        ("address", "network"),
        [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("::FFFF:c000:0207", "192.0.2.7"),
            ("2001:db8:0:1:2:3:4:5", "2001:db8:0:1::/64"),
            ("2001:0DB8:0000:0001::", "2001:db8:0:1::/64"),
            ("fe80::1%eth0", "fe80::/64"),
            ("::1", "::/64"),
            *((text, UNKNOWN) for text in ("", "unknown", "192.0.2", "192.0.2.07", "192.0.2.7/24", "192.0.2.7:8080")),
            *((text, UNKNOWN) for text in ("192.0.2.7\n", "3232235777", "٣.1.1.1", "\ud800", "1" * 100_000)),
        ],
    )
    def test_an_address_is_counted_as_its_network(self, address: str, network: str) -> None:
        assert network_of(address) == network

    @given(st.text() | st.ip_addresses().map(str) | st.text("0123456789abcdef:.%/[]", max_size=50))
    def test_any_text_has_a_short_name_in_plain_characters(self, text: str) -> None:
        name = network_of(text)
        assert name.isascii()
        assert len(name) <= 24

    @given(st.ip_addresses(v=6))
    def test_all_spellings_of_an_address_are_one(self, address: Any) -> None:
        spellings = (str(address), address.exploded, address.exploded.upper(), f"{address}%1")
        assert len({network_of(spelling) for spelling in spellings}) == 1


FULL = b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"


@pytest.mark.parametrize(
    "answer", [b":abc\r\n", b"*1\r\n:1\r\n", b"+OK\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", FULL]
)
def test_no_request_fails_for_what_a_redis_answers(settings: Settings, rolled_back: None, answer: bytes) -> None:
    class Nonsense(BaseRequestHandler):
        def handle(self) -> None:
            while self.request.recv(4096):
                self.request.sendall(answer)

    with ThreadingTCPServer(("127.0.0.1", 0), Nonsense) as server:
        server.daemon_threads, server.block_on_close = True, False  # the service keeps its connections
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            url = f"redis://127.0.0.1:{server.server_address[1]}/0"
            client = create_app(dataclasses.replace(settings, redis_url=url)).test_client()
            assert [client.get(SEARCH).status_code for _ in range(3)] == [200] * 3
        finally:
            server.shutdown()


def test_no_request_fails_for_a_redis_whose_name_is_none(settings: Settings, rolled_back: None) -> None:
    client = create_app(dataclasses.replace(settings, redis_url="redis://a..b:6379/0")).test_client()
    assert client.get("/api/v1/equipment").status_code == 200

"""`GET /metrics`: series and access in one process. `tests/slow/ops/test_worker_metrics.py` tests several workers."""

import dataclasses
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine
from werkzeug.test import TestResponse

from app import create_app
from app.errors import TooManyRequests
from app.settings import MetricsAccess, Settings
from app.web.access import public
from tests.support.assertions import assert_error
from tests.support.metrics import parse
from tests.support.rows import Person

TOKEN = "metrics-token-of-the-tests"  # noqa: S105
PUBLIC_ADDRESS = "203.0.113.9"
Reader = Callable[..., TestResponse]


@pytest.fixture(scope="module")
def reader(settings: Settings, engine: Engine) -> Reader:
    """Asks for the metrics, of an app with these settings, from this address."""

    @cache
    def app(*, proxies: int, **access: Any) -> Flask:
        access_to_metrics = MetricsAccess(**access)
        return create_app(dataclasses.replace(settings, metrics=access_to_metrics, trusted_proxy_count=proxies))

    def read(
        *,
        address: str = "127.0.0.1",
        headers: dict[str, str] | None = None,
        private_only: bool = True,
        token: str | None = TOKEN,
        proxies: int = 0,
        path: str = "/metrics",
    ) -> TestResponse:
        client = app(proxies=proxies, allow_private_only=private_only, admin_token=token).test_client()
        return client.get(path, headers=headers, environ_base={"REMOTE_ADDR": address})

    return read


def series(client: FlaskClient) -> dict[str, float]:
    return parse(client.get("/metrics").text)


def grown(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """What was counted in between, the asking for metrics and the passing of time apart."""
    grown = {key: value - before.get(key, 0) for key, value in after.items()}
    return {
        key: by
        for key, by in grown.items()
        if by and "'/metrics'" not in key and not re.search("_bucket|_created|_age_", key)
    }


def with_failing_views(settings: Settings) -> Flask:

    def refuse() -> str:
        raise TooManyRequests("Slow down.", retry_after_seconds=1)

    def fail() -> str:
        raise RuntimeError("planted")

    app = create_app(settings)
    app.add_url_rule("/busy", view_func=public(refuse))
    app.add_url_rule("/broken", view_func=public(fail))
    return app


class TestCounting:
    def test_a_request_counts_under_its_route_method_and_status(self, client: FlaskClient, renter: Person) -> None:
        before = series(client)
        client.get(f"/api/v1/users/{renter.id}?q=planted")
        found = grown(before, series(client))
        labels = "[('method', 'GET'), ('route', '/api/v1/users/<uuid:user_id>'), ('status', '200')]"
        assert found.pop(f"gearyard_http_request_duration_seconds_sum {labels}") > 0
        assert found == {
            "gearyard_http_request_total [('method', 'GET'), ('status', '200')]": 2,  # one of them reads the metrics
            f"gearyard_http_request_duration_seconds_count {labels}": 1,
        }

    @pytest.mark.parametrize(
        ("status", "method", "path"),
        [
            *((401, "GET", "/api/v1/auth/me"), (404, "GET", "/nowhere"), (405, "DELETE", "/health")),
            *((413, "POST", "/api/v1/auth/auth0/login"), (429, "GET", "/busy"), (500, "GET", "/broken")),
        ],
    )
    def test_a_response_made_before_a_view_or_by_an_error_handler_counts_once(
        self, settings: Settings, engine: Engine, status: int, method: str, path: str
    ) -> None:
        client = with_failing_views(settings).test_client()
        before = series(client)
        data = b"x" * (2 * 1024 * 1024) if status == 413 else None
        assert client.open(path, method=method, data=data, content_type="application/json").status_code == status
        found = grown(before, series(client))
        assert found[f"gearyard_http_request_total [('method', '{method}'), ('status', '{status}')]"] == 1
        (counted,) = (key for key in found if key.startswith("gearyard_http_request_duration_seconds_count"))
        assert f"('status', '{status}')" in counted
        assert found[counted] == 1

    def test_a_request_that_a_rate_limit_refuses_counts_once(self, settings: Settings, engine: Engine) -> None:
        limited = dataclasses.replace(settings.rate_limits, enabled=True, anonymous="2/minute")
        client = create_app(dataclasses.replace(settings, rate_limits=limited)).test_client()
        before = series(client)
        outside = {"REMOTE_ADDR": PUBLIC_ADDRESS}
        asked = [client.get("/api/v1/categories", environ_base=outside).status_code for _ in range(3)]
        assert asked == [200, 200, 429]
        labels = "[('method', 'GET'), ('route', '/api/v1/categories'), ('status', '429')]"
        assert grown(before, series(client))[f"gearyard_http_request_duration_seconds_count {labels}"] == 1

    def test_a_method_that_a_client_made_up_counts_as_other(self, client: FlaskClient) -> None:
        before = series(client)
        assert client.open("/health", method="MADEUP").status_code == 405
        assert "gearyard_http_request_total [('method', 'other'), ('status', '405')]" in grown(before, series(client))

    @pytest.mark.parametrize("path", ["/nowhere", "/api/v1/users/not-an-id", "/%00", "/metrics/more", "/health//"])
    def test_a_path_without_a_route_counts_as_unmatched(self, client: FlaskClient, path: str) -> None:
        before = series(client)
        assert client.get(path).status_code in (308, 404)
        found = grown(before, series(client))
        timed = [key for key in found if key.startswith("gearyard_http_request_duration_seconds")]
        assert timed
        assert all("('route', 'unmatched')" in key for key in timed)

    @pytest.mark.parametrize(
        ("code", "ask"),
        [
            ("UNAUTHORIZED", lambda client: client.get("/api/v1/auth/me")),
            ("INVALID_TOKEN", lambda client: client.get("/api/v1/auth/me", headers={"Authorization": "Bearer x"})),
            (
                "INVALID_CREDENTIALS",
                lambda client: client.post("/api/v1/auth/auth0/refresh", json={"refresh_token": "made-up"}),
            ),
        ],
    )
    def test_a_failed_authentication_counts_by_its_reason(
        self, client: FlaskClient, code: str, ask: Callable[[FlaskClient], TestResponse]
    ) -> None:
        before = series(client)
        assert ask(client).status_code == 401
        found = grown(before, series(client))
        assert found[f"gearyard_authentication_failures_total [('reason', '{code}')]"] == 1

    def test_other_errors_are_no_failed_authentication(self, client: FlaskClient) -> None:
        before = series(client)
        assert client.get("/api/v1/equipment?limit=x").status_code == 400
        assert not any("failures" in key or "refusals" in key for key in grown(before, series(client)))

    def test_a_429_counts_as_a_refusal(self, settings: Settings, engine: Engine) -> None:
        client = with_failing_views(settings).test_client()
        before = series(client)
        assert client.get("/busy").status_code == 429
        assert grown(before, series(client))["gearyard_rate_limit_refusals_total []"] == 1


class TestReading:
    def test_the_format_is_always_prometheus_text_and_never_cached(self, reader: Reader) -> None:
        for accept in ("*/*", "text/plain; version=no.number", "application/openmetrics-text; version=1.0.0"):
            answer = reader(headers={"Accept": accept}, path="/metrics?name[]=x")
            assert answer.status_code == 200
            assert answer.content_type.startswith("text/plain; version=0.0.4")
            assert answer.headers["Cache-Control"] == "no-store"
            assert b"gearyard_http_request_total" in answer.data

    def test_each_of_several_apps_in_one_process_has_every_metric_once(self, reader: Reader) -> None:
        for proxies in range(3):
            found = reader(headers={"Authorization": f"Bearer {TOKEN}"}, proxies=proxies).data
            assert found.count(b"# TYPE gearyard_http_request_total") == 1
            assert found.count(b"# TYPE gearyard_messages_stored_total") == 1

    @pytest.mark.parametrize("private_only", [True, False])
    @pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
    def test_a_client_with_the_token_may_read_from_anywhere(
        self, reader: Reader, scheme: str, private_only: bool
    ) -> None:
        headers = {"Authorization": f"{scheme} {TOKEN}"}
        assert reader(address=PUBLIC_ADDRESS, headers=headers, private_only=private_only).status_code == 200

    @pytest.mark.attack("metrics")
    @pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", PUBLIC_ADDRESS])
    def test_where_addresses_do_not_matter_the_token_counts_if_there_is_one(self, reader: Reader, address: str) -> None:
        assert reader(address=address, private_only=False, token=None).status_code == 200
        assert_refused(reader(address=address, private_only=False), 403)

    @pytest.mark.parametrize(
        "address",
        [
            *("127.0.0.1", "127.255.255.254", "10.0.0.0", "10.255.255.255", "172.16.0.1", "172.31.255.255"),
            *("192.168.0.1", "169.254.0.1", "::1", "fc00::1", "fdff::1", "fe80::1", "fe80::1%eth0", "::ffff:10.0.0.1"),
            *("febf::1", "::ffff:7f00:1", "0:0:0:0:0:0:0:1"),
        ],
    )
    def test_a_private_address_may_read(self, reader: Reader, address: str) -> None:
        assert reader(address=address, token=None).status_code == 200


def assert_refused(answer: TestResponse, status: int) -> None:
    assert_error(answer, status, "FORBIDDEN" if status == 403 else "INVALID_TOKEN")
    assert answer.headers["Cache-Control"] == "no-store"
    assert b"gearyard_" not in answer.data
    assert TOKEN not in answer.get_data(as_text=True)


@pytest.mark.attack("metrics")
@pytest.mark.parametrize(
    "address",
    [
        *("8.8.8.8", "9.255.255.255", "11.0.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0"),
        *("0.0.0.0", "0.0.0.1", "100.64.0.1", "100.127.255.255", "168.254.1.1", "169.255.0.0", "128.0.0.1"),  # noqa: S104
        *("192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.9", "224.0.0.1", "240.0.0.1"),
        *("255.255.255.255", "192.88.99.1"),
        *("::", "2001:4860:4860::8888", "2001:db8::1", "fbff::1", "fe00::1", "fec0::1", "ff02::1", "100::1"),
        *("::ffff:8.8.8.8", "::ffff:100.64.0.1", "::ffff:0:10.0.0.1", "::10.0.0.1", "::127.0.0.1"),
        *("2002:a00:1::", "2002:7f00:1::1", "64:ff9b::10.0.0.1", "64:ff9b:1::10.0.0.1", "2001:0:a00:1::"),
        *("", "unknown", "localhost", "8.8.8.8:80", "[2001:db8::1]", "010.0.0.1", "127.1", "10.0.0", "0x7f.0.0.1"),
        *("2130706433", "10.0.0.1/8", "１０.0.0.1", "_hidden", "unix:"),
        *("8.8.8.8%10.0.0.1", "2001:db8::1%lo", "fe80::1%", '"8.8.8.8"'),
    ],
)
def test_an_address_that_is_not_private_may_not_read(reader: Reader, address: str) -> None:
    assert_refused(reader(address=address), 403)


# Proxies that are declared, and headers that a request comes with.
UNDECLARED: list[tuple[int, dict[str, str]]] = [
    *((0, {"X-Forwarded-For": address}) for address in (PUBLIC_ADDRESS, "10.0.0.1", "")),
    *((0, {"Forwarded": "for=10.0.0.1"}), (0, {"Via": "1.1 proxy"}), (0, {"X-Real-IP": "10.0.0.1"})),
    *((0, {"X-Forwarded-Proto": "https"}), (0, {"X-Forwarded-Host": "gearyard.example"})),
    (0, {"CF-Connecting-IP": PUBLIC_ADDRESS}),
    (1, {}),  # past the proxy, or one that dropped the header (CVE-2022-31813)
    (1, {"X-Forwarded-For": ""}),
    (1, {"X-Forwarded-For": PUBLIC_ADDRESS}),
    (1, {"X-Forwarded-For": f"10.0.0.1, {PUBLIC_ADDRESS}"}),
    (1, {"X-Forwarded-For": f"{PUBLIC_ADDRESS}, 10.0.0.1"}),  # through a private proxy that is not declared
    (1, {"X-Forwarded-For": "10.0.0.1, 10.0.0.2"}),
    (1, {"X-Forwarded-For": ", 10.0.0.1"}),
    (1, {"X-Forwarded-For": f'"10.0.0.1, {PUBLIC_ADDRESS}'}),
    (1, {"X-Forwarded-For": "10.0.0.1", "Forwarded": f"for={PUBLIC_ADDRESS}"}),
    (2, {"X-Forwarded-For": "10.0.0.1"}),  # past the outer proxy
    (2, {"X-Forwarded-For": PUBLIC_ADDRESS}),
    (2, {"X-Forwarded-For": f"10.0.0.1, {PUBLIC_ADDRESS}, 10.0.0.2"}),
    (2, {"X-Forwarded-For": f"10.0.0.1, 10.0.0.1, {PUBLIC_ADDRESS}"}),
    (2, {"X-Forwarded-For": f"{PUBLIC_ADDRESS}, 10.0.0.1"}),
]


@pytest.mark.attack("metrics")
@pytest.mark.parametrize(("proxies", "headers"), UNDECLARED)
def test_a_request_through_other_proxies_than_declared_is_not_private(
    reader: Reader, proxies: int, headers: dict[str, str]
) -> None:
    assert_refused(reader(headers=headers, proxies=proxies), 403)


@pytest.mark.attack("metrics")
@pytest.mark.parametrize(
    "authorization",
    [
        *("Bearer", "Bearer ", "Bearer x", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}x"),
        *(f"Bearer {TOKEN.upper()}", f"Bearer {TOKEN}, Bearer {TOKEN}", f"Bearer {TOKEN} {TOKEN}", f"Bearer{TOKEN}"),
        *("Bearer None", "Bearer \xff\xfe", ""),
    ],
)
def test_a_wrong_token_may_not_read(reader: Reader, authorization: str) -> None:
    headers = {"Authorization": authorization}
    for private_only in (True, False):
        assert_refused(reader(address=PUBLIC_ADDRESS, headers=headers, private_only=private_only), 401)


@pytest.mark.attack("metrics")
def test_no_other_token_may_read(reader: Reader, admin: Person) -> None:
    assert_refused(reader(address=PUBLIC_ADDRESS, headers=admin.headers), 401)
    for sent in ("", "None", TOKEN):
        assert_refused(reader(address=PUBLIC_ADDRESS, headers={"Authorization": f"Bearer {sent}"}, token=None), 401)
    for name in ("token", "access_token", "METRICS_ADMIN_TOKEN"):
        assert_refused(reader(address=PUBLIC_ADDRESS, path=f"/metrics?{name}={TOKEN}"), 403)


@pytest.mark.parametrize(("proxies", "forwarded"), [(1, "10.0.0.1"), (2, "10.0.0.1, 192.0.2.7")])
def test_through_exactly_the_declared_proxies_a_private_client_may_read(
    reader: Reader, proxies: int, forwarded: str
) -> None:
    headers = {"X-Forwarded-For": forwarded, "X-Forwarded-Proto": "https", "X-Real-IP": "10.0.0.1"}
    assert reader(headers=headers, proxies=proxies, address=PUBLIC_ADDRESS).status_code == 200


@pytest.mark.attack("metrics")
def test_no_other_method_reads_the_metrics(app: Flask) -> None:
    outside = {"REMOTE_ADDR": PUBLIC_ADDRESS}
    assert app.test_client().head("/metrics", environ_base=outside).status_code == 403
    for method in ("POST", "PUT", "OPTIONS", "TRACE", "MADEUP"):
        assert b"gearyard_" not in app.test_client().open("/metrics", method=method, environ_base=outside).data

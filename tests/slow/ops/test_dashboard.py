"""The dashboard and the rules, with a real Prometheus that reads a real service: all that they name is there."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.support import ROOT
from tests.support.processes.nginx import NginxProcess
from tests.support.processes.prometheus import PrometheusProcess
from tests.support.processes.service import ServiceProcess
from tests.support.processes.tenant import PASSWORD, TenantProcess
from tests.support.users import ChatUser, new_user
from tests.support.waiting import until
from tests.support.ws_client import ChatClient

DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "gearyard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
TARGETS = [
    pytest.param(target, id=f"{panel['title']}-{target['refId']}") for panel in PANELS for target in panel["targets"]
]
(ROUTES,) = [variable for variable in DASHBOARD["templating"]["list"] if variable["name"] == "route"]
# What Grafana puts in. An instant's value over five minutes: long enough for all tests to see the load.
VARIABLES = {"$__rate_interval": "5m", "$route": ROUTES["allValue"]}
SELECTOR = re.compile(r"\b(?:(?:job:)?gearyard_[\w:]+|up|probe_success)\b(?:\{[^}]*\})?")
GROUPING = re.compile(r"\b(?:by|on) ?\(([^)]*)\)")
TOKEN = "metrics-token-of-the-tests"  # noqa: S105
METRICS = {"TRUSTED_PROXY_COUNT": "1", "METRICS_ALLOW_PRIVATE_ONLY": "false", "METRICS_ADMIN_TOKEN": TOKEN}
API = "/api/v1"


@pytest.fixture(scope="module")
def own_tenant() -> Iterator[TenantProcess]:
    with TenantProcess() as running:
        yield running


@pytest.fixture(scope="module")
def service(database_url_factory: Callable[[], str], own_tenant: TenantProcess) -> Iterator[ServiceProcess]:
    """Two workers behind one proxy, whose metrics are for whoever has the token."""
    with ServiceProcess({"DATABASE_URL": database_url_factory(), **own_tenant.env(), **METRICS}) as running:
        yield running


@pytest.fixture(scope="module")
def prometheus(
    service: ServiceProcess, own_tenant: TenantProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PrometheusProcess]:
    """It has seen the service before and after some use."""
    with (
        NginxProcess(service, tmp_path_factory.mktemp("nginx")) as nginx,
        PrometheusProcess(nginx, tmp_path_factory.mktemp("prometheus"), token=TOKEN) as running,
    ):
        for number in (1, 2):
            use(service, own_tenant)
            until(lambda number=number: stored(running) == number)  # type: ignore[misc]
        yield running


def stored(prometheus: PrometheusProcess) -> int:
    """How many messages Prometheus knows of."""
    found = prometheus.ask("query", query="sum(gearyard_messages_stored_total)")["result"]
    return int(found[0]["value"][1]) if found else 0


def use(service: ServiceProcess, tenant: TenantProcess) -> None:
    """Chat, fail to log in, bring a bad token, and meet a tenant that fails."""
    ada, ben = new_user(service, tenant), new_user(service, tenant)
    talk = ada.begin(ben)
    with ChatClient(ada) as writer, ChatClient(ben) as reader:
        writer.say("message", conversation_id=talk, content="Hello", client_msg_id=uuid4().hex)
        assert reader.find("message")["content"] == "Hello"
    account = {"email": f"{uuid4().hex}@example.com", "password": PASSWORD}
    assert service.request("POST", f"{API}/auth/auth0/signup", json=account).ok
    wrong = {**account, "password": "wrong"}
    assert service.request("POST", f"{API}/auth/auth0/login", json=wrong).status_code == 401
    assert ChatUser("", "made-up", service).call("GET", "/auth/me").status_code == 401
    tenant.fault("token", "error", times=1)
    assert service.request("POST", f"{API}/auth/auth0/refresh", json={"refresh_token": "x"}).status_code == 503


def filled(expression: str) -> str:
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    assert "$" not in expression
    return expression


def test_the_service_is_read_through_nginx_with_the_token_and_asked_whether_it_is_ready(
    prometheus: PrometheusProcess,
) -> None:
    until(lambda: len(prometheus.series('up{job="gearyard"} == 1')) == 1)
    until(lambda: len(prometheus.series('probe_success{job="gearyard-ready"} == 1')) == 1)


@pytest.mark.parametrize("target", TARGETS)
def test_a_query_of_the_dashboard_has_data_and_the_labels_of_its_legend(
    prometheus: PrometheusProcess, target: dict[str, Any]
) -> None:
    found: list[dict[str, str]] = []

    def look() -> bool:
        found[:] = prometheus.series(filled(target["expr"]))
        return bool(found)

    until(look)
    in_legend = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
    assert all(in_legend <= series.keys() for series in found)
    # Else two series have one name, and nobody knows which is which.
    assert len(found) == 1 or all(in_legend == series.keys() - {"__name__", "job"} for series in found)


def test_the_routes_to_choose_from_are_those_that_were_asked_for(prometheus: PrometheusProcess) -> None:
    metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", ROUTES["query"]["query"]).groups()  # type: ignore[union-attr]
    assert f"{API}/auth/me" in prometheus.ask(f"label/{label}/values", **{"match[]": metric})


def test_every_rule_can_be_evaluated_and_names_only_series_and_labels_that_there_are(
    prometheus: PrometheusProcess,
) -> None:
    rules = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
    assert rules
    for rule in rules:
        until(lambda rule=rule: health(prometheus, rule["name"]) == {"ok"})  # type: ignore[misc]
        grouped = {label.strip() for labels in GROUPING.findall(rule["query"]) for label in labels.split(",")}
        selectors = SELECTOR.findall(rule["query"])
        assert selectors
        for selector in selectors:
            until(lambda selector=selector: bool(prometheus.series(selector)))  # type: ignore[misc]
            assert all(grouped <= series.keys() for series in prometheus.series(selector)), (rule["name"], selector)


def health(prometheus: PrometheusProcess, name: str) -> set[str]:
    """What became of the evaluations of the rules with that name."""
    groups = prometheus.ask("rules")["groups"]
    return {rule["health"] for group in groups for rule in group["rules"] if rule["name"] == name}


def test_every_panel_says_what_it_shows_in_which_unit() -> None:
    for panel in PANELS:
        assert panel["description"], panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert all(target["legendFormat"] for target in panel["targets"]), panel["title"]
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    assert {panel["datasource"]["uid"] for panel in PANELS} == {"${datasource}"}


def test_every_mean_is_of_one_histogram() -> None:
    """A sum and a count that were read at different times, or of different things, make no mean."""
    rules = (ROOT / "deploy" / "prometheus" / "gearyard.rules.yml").read_text()
    lines = [*(target["expr"] for panel in PANELS for target in panel["targets"]), *rules.splitlines()]
    sums = [line.strip() for line in lines if re.search(r"_sum[{[]", line)]
    assert len(sums) == 6
    for line in sums:
        of_sum, of_count = line.split(" / ")
        assert of_count.startswith(of_sum.replace("_sum", "_count"))

"""No secret leaves the service: they are planted everywhere, and the log is read after success and failure of all."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import uuid4

import pytest
from sqlalchemy.engine import make_url

from deploy.local.cluster import PostgresCluster
from tests.slow.ops.raw_secrets_scenario import malformed, sockets
from tests.slow.ops.secrets_scenario import API, Plants, Scenario
from tests.support.processes.service import ServiceProcess
from tests.support.processes.tenant import TenantProcess

RECORD = re.compile(r"\d{4}-\d\d-\d\dT\S+ \[\w+\s*\] ")


@dataclass(frozen=True)
class Evidence:
    plants: Plants
    log: str
    metrics: str
    tenant_log: str
    statuses: frozenset[int]


@pytest.fixture(scope="module")
def own_tenant() -> Iterator[TenantProcess]:
    with TenantProcess(quiet=False) as running:
        yield running


def settings_with_secrets(tenant: TenantProcess, cluster: PostgresCluster, plants: Plants) -> dict[str, str]:
    password = plants.new("password of the database", "pl@nted-{}")
    url = make_url(cluster.url("gearyard")).set(password=password).render_as_string(hide_password=False)
    plants.values["password of the database, quoted"] = password.replace("@", "%40")
    plants.values["client secret"] = tenant.env()["AUTH0_CLIENT_SECRET"]
    return {
        "DATABASE_URL": url,
        "LOG_LEVEL": "debug",
        "METRICS_ADMIN_TOKEN": plants.new("metrics token"),
        "TRUSTED_PROXY_COUNT": "1",
        "LOGIN_BACKOFF_BASE_MS": "0",
        **tenant.env(),
    }


@pytest.fixture(scope="module", params=["true", "false"], ids=["json", "console"])
def evidence(request: pytest.FixtureRequest, own_cluster: PostgresCluster, own_tenant: TenantProcess) -> Evidence:
    plants = Plants()
    environment = settings_with_secrets(own_tenant, own_cluster, plants)
    with ServiceProcess({**environment, "LOG_JSON": request.param}) as service:
        scenario = Scenario(service, own_tenant, plants)
        scenario.accounts()
        scenario.tokens()
        scenario.inputs()
        other = scenario.bearer(own_tenant.token(sub=f"auth0|{uuid4().hex}"))
        talk = scenario.messages(scenario.ask("GET", f"{API}/auth/me", headers=other).json()["id"])
        sockets(scenario, talk)
        malformed(scenario)
        scenario.paths()
        scenario.tenant_down()
        scenario.schema_gone(own_cluster, talk)
        scenario.database_down(own_cluster, talk)
        metrics = scenario.ask("GET", "/metrics", headers=scenario.bearer(environment["METRICS_ADMIN_TOKEN"])).text
        service.stop()
        log = service.log()
    return Evidence(plants, log, metrics, own_tenant.stderr(), frozenset(scenario.statuses))


def test_everything_was_tried(evidence: Evidence) -> None:
    assert evidence.statuses >= {200, 201, 400, 401, 403, 404, 409, 429, 500, 503}
    assert len(evidence.plants.values) > 1000
    for event in ("unexpected_database_error", "Invalid request", "tenant_unavailable", "database_unavailable"):
        assert event in evidence.log
    for event in ("socket_closed", "bus_lost", "not_ready", "Listening at"):
        assert event in evidence.log


@pytest.mark.attack("secrets")
@pytest.mark.parametrize(
    ("place", "shown"),
    [("log", "Listening at"), ("metrics", "gearyard_http_request_total"), ("tenant_log", "oauth/token")],
)
def test_no_planted_value_is_in_the_logs_or_the_metrics(evidence: Evidence, place: str, shown: str) -> None:
    text = getattr(evidence, place)
    assert shown in text
    assert evidence.plants.found_in(text) == []


@pytest.mark.attack("secrets")
def test_each_record_of_the_log_is_one_line_and_none_is_forged(evidence: Evidence) -> None:
    lines = evidence.log.split("\n")
    assert lines.pop() == ""
    for line in lines:
        if evidence.log.startswith("{"):
            assert isinstance(json.loads(line), dict)
            assert line.isascii()
        else:
            assert line.isprintable()
            assert RECORD.match(line) or line.startswith("    "), line
        assert "forged" not in line or "nowhere" in line

"""Every alert has its tests, which promtool runs, and a runbook for whoever it wakes."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.processes import run
from tests.support.processes.prometheus import FILES, program

RULES = FILES / "gearyard.rules.yml"
TESTS = sorted(FILES.glob("*.test.yml"))
RUNBOOK = FILES.parent / "ALERTS.md"
RUNBOOK_URL = "file:///opt/gearyard/deploy/ALERTS.md#"
PROMTOOL_SECONDS = 300


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def which(alert: dict[str, Any]) -> tuple[str, str | None]:
    """What tells an alert from those of the same name."""
    return alert["alert"], alert["labels"].get("window")


ALERTS = [pytest.param(alert, id="-".join(filter(None, which(alert)))) for alert in alerts()]


def promtool(*arguments: str | Path) -> None:
    done = run(program("promtool", package="prometheus"), *arguments, timeout=PROMTOOL_SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_the_configuration_and_its_rules() -> None:
    promtool("check", "config", FILES / "prometheus.yml")


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.name)
def test_alerts_fire_when_they_should_and_only_then(file: Path) -> None:
    promtool("test", "rules", file)


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_waits_says_how_bad_it_is_and_leads_to_its_runbook(alert: dict[str, Any]) -> None:
    assert alert["for"]
    assert alert["labels"]["severity"] in {"page", "ticket"}
    assert alert["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert alert["annotations"]["runbook_url"] == RUNBOOK_URL + alert["alert"].lower()


def test_the_runbook_has_a_heading_for_each_alert_and_no_other() -> None:
    installing, *headings = re.findall(r"(?m)^## (.*)$", RUNBOOK.read_text())
    assert installing == "Installing it"
    assert headings == list(dict.fromkeys(alert["alert"] for alert in alerts()))


def test_what_the_runbook_refers_to_is_in_it() -> None:
    text = RUNBOOK.read_text()
    anchors = {heading.lower() for heading in re.findall(r"(?m)^## (\S+)$", text)}
    assert set(re.findall(r"\]\(#(\S+?)\)", text)) <= anchors


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not(alert: dict[str, Any]) -> None:
    cases = [
        case
        for file in TESTS
        for test in yaml.safe_load(file.read_text())["tests"]
        for case in test["alert_rule_test"]
        if case["alertname"] == alert["alert"]
    ]
    fired = [expected["exp_labels"] for case in cases for expected in case["exp_alerts"]]
    assert which(alert)[1] in {labels.get("window") for labels in fired}
    assert any(not case["exp_alerts"] for case in cases)

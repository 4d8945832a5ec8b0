"""`/metrics` of a running service, as a scraper reads it."""

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.support.processes.service import ServiceProcess


def read(service: ServiceProcess) -> dict[str, float]:
    """Every series, by its name and labels."""
    answer = service.request("GET", "/metrics", headers={"Connection": "close"})
    assert answer.status_code == 200, answer.text
    return parse(answer.text)


def parse(text: str) -> dict[str, float]:
    return {
        f"{sample.name} {sorted(sample.labels.items())}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def directory_of(parent: Path) -> Path:
    """The one directory of counts below PROMETHEUS_MULTIPROC_DIR."""
    (found,) = parent.iterdir()
    return found

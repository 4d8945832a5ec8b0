"""Floods of requests from addresses of the test's choice, at services that count by the hour."""

import json
from itertools import count

import requests

from tests.support.processes.service import ServiceProcess
from tests.support.waiting import in_parallel, statuses

OPEN = "/api/v1/categories"
WORKERS = 2
LIMIT = 50
FLOOD = 120
# By the hour, so that no window ends while it is counted in.
RATES = {
    "RATE_LIMIT_ANONYMOUS": f"{LIMIT}/hour",
    "RATE_LIMIT_AUTHENTICATED": f"{LIMIT}/hour",
    "RATE_LIMIT_PUBLIC_SEARCH": "2/second",
    "TRUSTED_PROXY_COUNT": "1",  # so that a test chooses its address
}
UNEXPECTED = ("Traceback", "unexpected_error", '"status": 500')
_number = count(1)


def somewhere() -> str:
    """An address where nobody has been."""
    number = next(_number)
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def ask(service: ServiceProcess, path: str, address: str, **headers: str) -> requests.Response:
    """One request on a connection of its own, so that all of them reach every worker."""
    return service.request("GET", path, headers={"X-Forwarded-For": address, "Connection": "close", **headers})


def flood(service: ServiceProcess, path: str = OPEN, **headers: str) -> dict[int, int]:
    """Many requests at once from one address; how many had which status."""
    address = somewhere()
    return statuses(in_parallel(lambda _: ask(service, path, address, **headers), FLOOD, abreast=40))


def times_logged(service: ServiceProcess, event: str) -> int:
    return sum(json.loads(line)["event"].startswith(event) for line in service.log().splitlines() if line[:1] == "{")

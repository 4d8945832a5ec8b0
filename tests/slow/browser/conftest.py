"""Headless Chromium, and the service as `make run` has it: development, demo accounts, and its own pages' origin."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, ChromeOptions, ChromeService

from deploy.local.plan import DEMO_EMAILS, DEMO_PASSWORD
from tests.slow.browser.page import WIDTHS, Page
from tests.support.processes.service import ServiceProcess
from tests.support.processes.tenant import TenantProcess

PAGE_SECONDS = 30


@pytest.fixture(scope="session")
def programs() -> tuple[str, str]:
    """The browser and its driver: Debian's, or whatever else is called that."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("there is no chromium with its chromedriver here: apt-get install chromium chromium-driver")
    return chromium, driver


@pytest.fixture(scope="module")
def browser(programs: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """A browser with nothing remembered."""
    chromium, driver = programs
    options = ChromeOptions()
    options.binary_location = chromium
    profile = tmp_path_factory.mktemp("chromium")
    for argument in ("headless=new", "disable-gpu", "disable-dev-shm-usage", f"user-data-dir={profile}"):
        options.add_argument(f"--{argument}")
    if os.geteuid() == 0:  # its sandbox cannot be had by root
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    running = Chrome(options=options, service=ChromeService(executable_path=driver))
    running.set_page_load_timeout(PAGE_SECONDS)
    running.set_script_timeout(PAGE_SECONDS)
    yield running
    running.quit()


@pytest.fixture(scope="session")
def demo_accounts(tenant: TenantProcess) -> str:
    """The demo accounts of `make run`, as the setting names them."""
    for email in DEMO_EMAILS:
        tenant.add_user(email, DEMO_PASSWORD)
    return ",".join(f"{email}:{DEMO_PASSWORD}" for email in DEMO_EMAILS)


@pytest.fixture(scope="module")
def service(
    database_url_factory: Callable[[], str], tenant: TenantProcess, demo_accounts: str
) -> Iterator[ServiceProcess]:
    """Development's, with a user in each role."""
    running = ServiceProcess({"DATABASE_URL": database_url_factory(), **tenant.env()})
    running.change(APP_ENV="development", DEMO_ACCOUNTS=demo_accounts, CORS_ALLOWED_ORIGINS=running.url(""))
    with running:
        yield running
        assert "Traceback" not in running.log()


@pytest.fixture
def page(browser: Chrome, service: ServiceProcess) -> Iterator[Page]:
    """A page at desktop's width. The browser has nothing to complain of but what a test has looked at."""
    browser.set_window_size(*WIDTHS["desktop"])
    shots = os.environ.get("SCREENSHOTS")
    opened = Page(browser, service, Path(shots) if shots else None)
    yield opened
    assert opened.complaints() == []
    browser.get("about:blank")

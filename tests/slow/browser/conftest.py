"""One headless Chromium and one service for all tests; the service has the settings of `make run`."""

import os
import shutil
from collections.abc import Callable, Iterator

import pytest
from selenium.webdriver import Chrome, ChromeOptions, ChromeService

from deploy.local.plan import DEMO_EMAILS, DEMO_PASSWORD
from tests.slow.browser.page import DESKTOP, Page
from tests.support.processes.service import ServiceProcess
from tests.support.processes.tenant import TenantProcess

PAGE_SECONDS = 30


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """The browser of all tests, with a new profile."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("chromium or its chromedriver is missing: apt-get install chromium chromium-driver")
    options = ChromeOptions()
    options.binary_location = chromium
    profile = tmp_path_factory.mktemp("chromium")
    for argument in ("headless=new", "disable-gpu", "disable-dev-shm-usage", f"user-data-dir={profile}"):
        options.add_argument(f"--{argument}")
    if os.geteuid() == 0:  # Chromium's sandbox does not run as root
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    running = Chrome(options=options, service=ChromeService(executable_path=driver))
    running.set_page_load_timeout(PAGE_SECONDS)
    running.set_script_timeout(PAGE_SECONDS)
    yield running
    running.quit()


@pytest.fixture(scope="session")
def service(database_url_factory: Callable[[], str], tenant: TenantProcess) -> Iterator[ServiceProcess]:
    """The development service of all tests, with a demo account for each role."""
    for email in DEMO_EMAILS:
        tenant.add_user(email, DEMO_PASSWORD)
    accounts = ",".join(f"{email}:{DEMO_PASSWORD}" for email in DEMO_EMAILS)
    running = ServiceProcess({"DATABASE_URL": database_url_factory(), **tenant.env()})
    running.change(APP_ENV="development", DEMO_ACCOUNTS=accounts, CORS_ALLOWED_ORIGINS=running.url(""))
    with running:
        yield running
        assert "Traceback" not in running.log()


@pytest.fixture
def page(browser: Chrome, service: ServiceProcess) -> Iterator[Page]:
    """A page of a desktop's width. At the end, the console holds no message that the test has not read."""
    browser.set_window_size(*DESKTOP)
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    opened = Page(browser, service)
    yield opened
    assert opened.complaints() == []
    browser.get("about:blank")

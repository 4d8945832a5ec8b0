"""What a person does at a page and sees on it."""

from collections.abc import Callable
from typing import Any, TypeVar

from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from deploy.local.plan import DEMO_PASSWORD
from tests.support.processes.service import ServiceProcess
from tests.support.users import ChatUser

Found = TypeVar("Found")
WAIT_SECONDS = 30
DESKTOP = 1280, 900


class Page:
    def __init__(self, browser: Chrome, service: ServiceProcess) -> None:
        self.browser = browser
        self.service = service

    def open(self, path: str) -> None:
        self.browser.get(self.service.url(path))

    def as_a_phone(self, *, dark: bool = False) -> None:
        """Emulate a phone of 390 pixels' width, which is less than Chromium's windows can have."""
        metrics = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})

    def find(self, selector: str) -> WebElement:
        """The first element there is, as soon as it is shown."""
        return self._first(lambda: [each for each in self.all(selector) if each.is_displayed()], selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def button(self, text: str, within: str = "body") -> WebElement:
        """The button that says this, as soon as it can be pressed."""
        buttons = f"{within} button"

        def matching() -> list[WebElement]:
            return [each for each in self.all(buttons) if each.text.strip() == text and each.is_enabled()]

        return self._first(matching, f"{buttons} “{text}”")

    def press(self, text: str, within: str = "body") -> None:
        self.button(text, within).click()

    def sees(self, text: str, within: str = "body") -> str:
        """Wait until an element shows this; all that it shows."""
        shown = lambda: [each.text for each in self.all(within) if text in each.text]  # noqa: E731
        return self._first(shown, f"{within} with “{text}”")

    def log_in(self, email: str, password: str) -> None:
        if not self.all("#other[open]"):
            self.find("#other summary").click()
        for name, value in (("email", email), ("password", password)):
            field = self.find(f"#login-form [name={name}]")
            field.clear()
            field.send_keys(value)
        self.press("Log in", "#login-form")

    def run(self, script: str, *arguments: Any) -> Any:
        """What a script of the page's own would find out."""
        return self.browser.execute_script(script, *arguments)

    def complaints(self) -> list[str]:
        """What the console says since the last time: breaches of the policy, failed requests, exceptions."""
        log = self.browser.get_log("browser")  # type: ignore[no-untyped-call]
        return [entry["message"] for entry in log if entry["level"] != "INFO"]

    def _first(self, find: Callable[[], list[Found]], what: str) -> Found:
        wait = WebDriverWait(self.browser, WAIT_SECONDS, ignored_exceptions=[StaleElementReferenceException])
        return wait.until(lambda _: find(), f"there is no {what} on {self.browser.current_url}")[0]


def logged_in(service: ServiceProcess, email: str, password: str = DEMO_PASSWORD) -> ChatUser:
    """An account of the tenant with the token of a new login."""
    credentials = {"email": email, "password": password}
    tokens = service.request("POST", "/api/v1/auth/auth0/login", json=credentials).json()
    user = ChatUser("", tokens["access_token"], service)
    return ChatUser(user.call("GET", "/auth/me").json()["id"], user.token, service)

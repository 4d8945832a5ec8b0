"""A newcomer's way, in a real browser: the first page, a click to log in, a call, its answer; and who means harm."""

import json
import re

import pytest

from deploy.local.plan import DEMO_EMAILS
from tests.slow.browser.page import Page, logged_in

RENTER, OWNER, ADMIN = DEMO_EMAILS
ME, LINK_TO_ME = "#operations-auth-getMe", "/docs#/auth/getMe"
LOGIN = "/api/v1/auth/auth0/login"
# What a browser keeps beyond the page's memory.
KEPT = "return [JSON.stringify(localStorage), JSON.stringify(sessionStorage), document.cookie, location.href]"


def open_operation(page: Page, selector: str) -> None:
    page.find(f"{selector} .opblock-summary-control").click()
    page.find(f"{selector} button.execute")


def execute(page: Page, selector: str = ME) -> str:
    """Press Execute, and wait for the answer; the answer's row as it is shown."""
    page.press("Execute", selector)
    return page.sees("content-type", f"{selector} .live-responses-table .response")


def test_from_the_first_page_to_an_authenticated_call(page: Page) -> None:
    page.open("/")
    assert page.find(f'a[href="{LINK_TO_ME}"]').text == "GET /api/v1/auth/me"
    page.find("a.go").click()
    page.press("Log in as renter")
    assert RENTER in page.sees("(renter)", "#who")
    open_operation(page, ME)

    answer = execute(page)

    assert answer.startswith("200")
    assert f'"email": "{RENTER}"' in answer


def test_logging_in_as_another_and_out_again_changes_who_calls(page: Page) -> None:
    page.open("/docs")
    open_operation(page, ME)
    for name, email in (("admin", ADMIN), ("owner", OWNER)):
        page.press(f"Log in as {name}")
        page.sees(email, "#who")
        assert f'"email": "{email}"' in execute(page)
        page.press("Clear", ME)
    page.press("Log out")
    page.sees("not logged in", "#who")

    assert execute(page).startswith("401")
    complaints = page.complaints()
    assert len(complaints) == 1
    assert "401" in complaints[0]


def test_the_token_is_kept_nowhere_and_ends_with_the_page(page: Page) -> None:
    page.open("/docs")
    page.press("Log in as renter")
    page.sees("(renter)", "#who")
    assert page.run(KEPT) == ["{}", "{}", "", page.service.url("/docs")]
    page.open("/docs")
    page.sees("You are not logged in.", "#who")
    assert not page.find("#who").text.startswith("You are demo")


@pytest.mark.attack("hostile input")
@pytest.mark.parametrize("email", [RENTER, '"><img src=x onerror=document.title=1>@example.com'])
def test_a_login_that_fails_says_why_and_adds_no_markup(page: Page, email: str) -> None:
    page.open("/docs")
    elements = len(page.all("#login *"))
    page.run("document.querySelector('#login-form').noValidate = true")
    page.log_in(email, "<b>Wrong-password-1</b>")
    said = page.sees("That did not work.", "#who")
    assert len(said) > len("That did not work. ")
    assert len(page.all("#login *")) == elements
    assert page.browser.title == "Gearyard API"
    complaints = page.complaints()
    assert len(complaints) == 1
    assert LOGIN in complaints[0]


def test_too_many_attempts_are_told_how_long_to_wait(page: Page) -> None:
    page.open("/docs")
    said = ""
    for attempt in range(1, 8):
        page.log_in("forgetful@example.com", f"Wrong-password-{attempt}")
        page.button("Log in", "#login-form")
        said = page.sees("That did not work.", "#who")
        if "Try again in" in said:
            break
    assert re.search(r"Try again in \d+ s\.$", said)
    statuses = [int(re.findall(r"status of (\d+)", complaint)[0]) for complaint in page.complaints()]
    assert statuses == [401] * (len(statuses) - 1) + [429]


@pytest.mark.attack("hostile input")
def test_what_users_are_called_is_text(page: Page) -> None:
    name = "<img src=x onerror=document.title=1>"
    owner = logged_in(page.service, OWNER)
    for username in (name, owner.username):
        user = owner.call("PUT", f"/users/{owner.id}", json={"username": username})
        assert user.status_code == 200
        page.open("/docs")
        page.press("Log in as owner")
        page.sees(username, "#who")
        assert not page.all("#who *")


@pytest.mark.attack("hostile input")
@pytest.mark.parametrize(
    "path",
    [
        "/docs?url=https://evil.example.com/openapi.json",
        "/docs?configUrl=https://evil.example.com/config.json",
        "/docs?url=javascript:document.title=1",
        "/docs#/<img src=x onerror=document.title=1>/x",
        "/docs?<script>document.title=1</script>",
    ],
)
def test_a_link_to_the_page_cannot_change_what_it_does(page: Page, path: str) -> None:
    page.open(path)
    page.sees("Gearyard", "#swagger-ui .title")
    assert page.browser.title == "Gearyard API"
    assert not page.all("img[src=x]")
    origins = page.run("return performance.getEntriesByType('resource').map((each) => new URL(each.name).origin)")
    assert set(origins) == {page.service.url("")}


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("path", ["/", "/docs", "/docs/socket"])
def test_pages_fit_a_phone(page: Page, path: str, dark: bool) -> None:
    page.as_a_phone(dark=dark)
    page.open(path)
    if path == "/docs":
        page.find(ME)
    if path == "/docs/socket":
        page.sees("Promised", "#protocol")
    assert page.run("return document.documentElement.scrollWidth") <= 390


def test_the_policy_lets_nothing_else_in(page: Page) -> None:
    """What the console says of a breach, so that its silence elsewhere means something."""
    page.open("/docs")
    page.find(ME)
    script = """
        const add = (name, set) => document.head.append(Object.assign(document.createElement(name), set));
        add("script", {textContent: "document.title = 1"});
        add("style", {textContent: "body { display: none }"});
        fetch("https://evil.example.com/").catch(() => 0);
    """
    page.run(script)
    complaints = page.complaints()
    said = " ".join(complaints)
    for directive in ("script-src", "style-src", "connect-src"):
        assert directive in said
    assert page.browser.title == "Gearyard API"
    assert json.dumps(page.run("return getComputedStyle(document.body).display")) == '"block"'

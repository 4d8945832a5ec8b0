"""The pages for developers: where everything is, with demo accounts in development and no trace of them elsewhere."""

import json
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from flask.testing import FlaskClient

from app import create_app
from app.messages import handlers
from app.settings import AppEnv, DemoAccount, Settings
from tests.support import ROOT, UNKNOWN_ID
from tests.support.security_headers import CONTENT_SECURITY_POLICY, assert_secure

ENTRANCES = {"name": "Gearyard", "docs": "/docs", "openapi": "/openapi.json", "health": "/health"}
RENTER = DemoAccount(email="renter@gearyard.example", password="Show-this-1")  # noqa: S106
HOSTILE = DemoAccount(email='"><script>alert(1)</script>@evil.example', password="'\"><img src=x>")  # noqa: S106
MakeClient = Callable[..., FlaskClient]


@pytest.fixture
def make_client(settings: Settings, rolled_back: None) -> MakeClient:

    def make(app_env: AppEnv, *accounts: DemoAccount) -> FlaskClient:
        return create_app(replace(settings, app_env=app_env, demo_accounts=accounts)).test_client()

    return make


@pytest.fixture
def development(make_client: MakeClient) -> FlaskClient:
    return make_client(AppEnv.DEVELOPMENT, RENTER)


class TestFirstPage:
    def test_names_every_place_the_accounts_and_a_line_that_works(self, development: FlaskClient) -> None:
        answer = development.get("/", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
        page = answer.get_data(as_text=True)
        assert answer.content_type == "text/html; charset=utf-8"
        places = set(re.findall(r'href="(/[^"]*)"', page)) - {"/docs/pages.css"}
        assert {"/docs", "/docs/socket", "/openapi.json", "/health", "/ready", "/metrics"} <= places
        for place in places:
            with development.get(place) as found:
                assert found.status_code == 200, place
        assert RENTER.email in page
        assert RENTER.password in page
        line = re.search(r"curl '(http://127\.0\.0\.1:80)(/[^']+)'", page)
        assert line
        assert development.get(line[2].replace("&amp;", "&")).status_code == 200

    @pytest.mark.parametrize(
        ("accept", "is_html"),
        [
            (None, True),
            ("*/*", True),
            ("text/html", True),
            ("application/json", False),
            ("application/json, text/html;q=0.5", False),
            ("application/json;q=0.5, text/html", True),
            ("text/html;q=0, */*", False),
            ("image/png", True),
            ("nonsense;;;", True),
        ],
    )
    def test_is_what_was_asked_for(self, development: FlaskClient, accept: str | None, is_html: bool) -> None:
        answer = development.get("/", headers={"Accept": accept} if accept else {})
        assert answer.mimetype == ("text/html" if is_html else "application/json")
        assert "Accept" in answer.vary
        assert is_html or answer.json == ENTRANCES

    @pytest.mark.parametrize("accept", ["text/html", "application/json", "*/*"])
    @pytest.mark.parametrize("app_env", [AppEnv.PRODUCTION, AppEnv.TEST])
    def test_is_json_outside_development(self, make_client: MakeClient, app_env: AppEnv, accept: str) -> None:
        answer = make_client(app_env).get("/", headers={"Accept": accept})
        assert answer.mimetype == "application/json"
        assert answer.json == ENTRANCES
        assert_secure(answer.headers)

    def test_says_so_where_there_are_no_demo_accounts(self, make_client: MakeClient) -> None:
        page = make_client(AppEnv.DEVELOPMENT).get("/").get_data(as_text=True)
        assert "a sign-in tenant of your own" in page
        assert "Log in as" not in page


@pytest.mark.parametrize("path", ["/", "/docs", "/docs/socket"])
class TestEveryPage:
    def test_is_secure(self, development: FlaskClient, path: str) -> None:
        answer = development.get(path)
        page = answer.get_data(as_text=True)
        assert_secure(answer.headers, is_page=True)
        assert answer.headers["Cache-Control"] == "no-store"
        assert not re.search(r"\s(on[a-z]+|style)=|<style|javascript:", page)
        own_scripts = re.findall(r"<script( type=\"module\")? src=\"/docs/[a-z-]+\.js\"></script>", page)
        assert len(own_scripts) == page.count("<script")

    def test_has_a_policy_that_lets_in_nothing_from_elsewhere(self, development: FlaskClient, path: str) -> None:
        policy = development.get(path).headers[CONTENT_SECURITY_POLICY]
        directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
        closed = {"default-src", "base-uri", "form-action", "frame-ancestors"}
        assert {name for name, value in directives.items() if value == "'none'"} == closed
        assert "unsafe" not in policy
        own = {name for name, value in directives.items() if value == "'self'"}
        assert own == {"script-src", "style-src", "connect-src"}
        assert directives.keys() == closed | own | {"img-src"}

    def test_repeats_nothing_of_the_request(self, development: FlaskClient, path: str) -> None:
        evil = {"Host": "evil.example.com", "X-Forwarded-Port": "6666", "Referer": "evil", "User-Agent": "evil"}
        page = development.get(f"{path}?url=evil&evil=<script>", headers=evil).get_data(as_text=True)
        assert "evil" not in page
        assert "6666" not in page

    def test_shows_accounts_as_text(self, make_client: MakeClient, path: str) -> None:
        page = make_client(AppEnv.DEVELOPMENT, HOSTILE).get(path).get_data(as_text=True)
        assert "alert(1)" in page
        assert "<script>" not in page
        assert "<img src=x>" not in page
        assert "&#34;&gt;&lt;script&gt;" in page

    def test_names_no_account_in_production(self, make_client: MakeClient, path: str) -> None:
        text = make_client(AppEnv.PRODUCTION).get(path).get_data(as_text=True)
        assert "gearyard.example" not in text
        assert "data-password" not in text
        assert "Log in as" not in text


def test_no_password_stands_in_the_product() -> None:
    from deploy.local.plan import DEMO_PASSWORD  # noqa: PLC0415

    sources = (ROOT / "app").rglob("*")
    assert not [path for path in sources if path.is_file() and DEMO_PASSWORD.encode() in path.read_bytes()]


class TestAssets:
    @pytest.mark.parametrize("name", ["login.js", "start.js", "socket.js", "pages.css", "frames.json", "gearyard.svg"])
    def test_own_ones_are_asked_for_anew_and_not_sent_twice(self, client: FlaskClient, name: str) -> None:
        with client.get(f"/docs/{name}") as whole:
            assert whole.status_code == 200
            assert whole.headers["Cache-Control"] == "no-cache"
            with client.get(f"/docs/{name}", headers={"If-None-Match": whole.headers["ETag"]}) as again:
                assert again.status_code == 304

    def test_the_protocol_is_the_one_in_the_repository(self, client: FlaskClient) -> None:
        with client.get("/docs/protocol.md") as answer:
            assert answer.content_type == "text/markdown; charset=utf-8"
            assert answer.get_data(as_text=True).startswith("# The chat's WebSocket")


# The examples of `/docs/socket`, of which one shows an error.
FRAMES = json.loads((ROOT / "app/web/docs/assets/frames.json").read_text())


def test_the_page_has_an_example_of_every_type_of_frame() -> None:
    assert {each["frame"]["type"] for each in FRAMES} == handlers.HANDLERS.keys() - {"sendMessage"}


@pytest.mark.parametrize("example", FRAMES, ids=lambda each: each["name"])
def test_an_example_of_a_frame_is_valid(example: dict[str, object]) -> None:
    kind, payload = handlers.parse(json.dumps(example["frame"]).replace("{conversation_id}", UNKNOWN_ID))
    schema, _ = handlers.HANDLERS[kind]
    assert schema.validate(payload).keys() == ({"content"} if example["name"] == "a mistake" else set())

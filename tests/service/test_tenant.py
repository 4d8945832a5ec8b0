"""The development tenant, spoken to over HTTP as a backend, a web client and a browser would."""

import base64
import html
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from cryptography import x509
from joserfc import jwt
from joserfc.jwk import KeySet
from requests.cookies import RequestsCookieJar

from deploy.local.tenant.codes import challenge_of
from deploy.local.tenant.config import Config, ConfigError, loopback
from tests.support import ROOT
from tests.support.processes import run
from tests.support.processes.tenant import AUDIENCE, CLIENT_ID, CLIENT_SECRET, CONNECTION, PASSWORD, TenantProcess

REALM = "http://auth0.com/oauth/grant-type/password-realm"
CALLBACK = "http://localhost:5173/callback"
VERIFIER = "v" * 43
WRONG = "wrong"
SCOPE = "openid profile email offline_access"


@pytest.fixture(scope="module")
def shared() -> Iterator[TenantProcess]:
    with TenantProcess() as process:
        process.add_user("renter@example.test")
        yield process


@pytest.fixture
def tenant(shared: TenantProcess) -> TenantProcess:
    shared.reset()
    return shared


@pytest.fixture(scope="module")
def refresh_token(shared: TenantProcess) -> str:
    """Of one login, which costs a password hash; refreshing costs none."""
    return str(login(shared).json()["refresh_token"])


@pytest.fixture(scope="module")
def subject(shared: TenantProcess) -> str:
    """The `sub` of another user."""
    return shared.add_user("subject@example.test")


def login(tenant: TenantProcess, email: str = "renter@example.test", **changes: Any) -> requests.Response:
    headers = changes.pop("headers", {})
    body = {"grant_type": REALM, "realm": CONNECTION, "username": email, "password": PASSWORD, "scope": SCOPE}
    body |= {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "audience": AUDIENCE} | changes
    return token(tenant, headers=headers, **body)


def token(tenant: TenantProcess, headers: dict[str, str] | None = None, **body: Any) -> requests.Response:
    body = {name: value for name, value in body.items() if value is not None}
    return tenant.request("POST", "oauth/token", json=body, headers=headers)


def refusal(response: requests.Response) -> tuple[int, str, str]:
    """The status and the two members of an OAuth error (RFC 6749 §5.2)."""
    body = response.json()
    assert set(body) == {"error", "error_description"}
    assert response.headers["Cache-Control"] == "no-store"
    return response.status_code, body["error"], body["error_description"]


def verify(tenant: TenantProcess, value: str) -> tuple[dict[str, Any], dict[str, Any]]:
    keys = KeySet.import_key_set(tenant.request("GET", ".well-known/jwks.json").json())
    decoded = jwt.decode(value, keys, algorithms=["RS256"])
    return decoded.header, decoded.claims


def signup(tenant: TenantProcess, email: Any = "new@example.test", **changes: Any) -> requests.Response:
    body = {"client_id": CLIENT_ID, "connection": CONNECTION, "email": email, "password": PASSWORD} | changes
    body = {name: value for name, value in body.items() if value is not None}
    return tenant.request("POST", "dbconnections/signup", json=body)


def refresh(tenant: TenantProcess, refresh_token: str, **changes: Any) -> requests.Response:
    body = {"grant_type": "refresh_token", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    return token(tenant, **(body | {"refresh_token": refresh_token} | changes))


def userinfo(tenant: TenantProcess, access_token: str, method: str = "GET") -> requests.Response:
    return tenant.request(method, "userinfo", headers={"Authorization": f"Bearer {access_token}"})


class Browser:
    """A browser without JavaScript: keeps cookies, fills in the form of the page it was shown."""

    def __init__(self, tenant: TenantProcess) -> None:
        self.tenant = tenant
        self.cookies = RequestsCookieJar()

    def authorize(self, **changes: str | None) -> requests.Response:
        query: dict[str, str | None] = {"response_type": "code", "client_id": CLIENT_ID, "redirect_uri": CALLBACK}
        query |= {"scope": SCOPE, "state": "s&1", "audience": AUDIENCE, "nonce": "n-1"}
        query |= {"code_challenge": challenge_of(VERIFIER), "code_challenge_method": "S256"} | changes
        return self.open("GET", "authorize", params=query)

    def submit(self, page: requests.Response, **fields: str) -> requests.Response:
        hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page.text))
        action = re.search(r'action="([^"]+)"', page.text)
        assert action is not None
        form = {name: html.unescape(value) for name, value in hidden.items()}
        return self.open("POST", action[1], data=form | {"email": "renter@example.test", "password": PASSWORD} | fields)

    def open(self, method: str, path: str, **options: Any) -> requests.Response:
        self.tenant.http.cookies = self.cookies
        try:
            return self.tenant.request(method, path, **options)
        finally:
            self.tenant.http.cookies = RequestsCookieJar()


def answer(response: requests.Response) -> dict[str, str]:
    """The parameters that the web client is sent back with."""
    assert response.status_code == 302, response.text
    location = urlsplit(response.headers["Location"])
    assert location._replace(query="").geturl() == CALLBACK
    return {name: values[0] for name, values in parse_qs(location.query).items()}


def redeem(tenant: TenantProcess, code: str, **changes: Any) -> requests.Response:
    body = {"grant_type": "authorization_code", "client_id": CLIENT_ID, "code": code, "redirect_uri": CALLBACK}
    return token(tenant, **(body | {"code_verifier": VERIFIER} | changes))


class TestMetadata:
    def test_discovery_lists_what_exists(self, tenant: TenantProcess) -> None:
        metadata = tenant.request("GET", ".well-known/openid-configuration").json()
        assert metadata["issuer"] == tenant.issuer
        assert metadata["issuer"].endswith("/")
        for name in ("authorization", "token", "userinfo", "end_session"):
            path = urlsplit(metadata[f"{name}_endpoint"]).path
            assert tenant.request("GET", path).status_code != 404
        assert tenant.http.get(metadata["jwks_uri"]).status_code == 200
        assert metadata["code_challenge_methods_supported"] == ["S256"]

    def test_key_set_holds_current_and_next_and_nothing_private(self, tenant: TenantProcess) -> None:
        tenant.control("POST", "keys/rotate", {"mode": "revoke"})
        keys = tenant.request("GET", ".well-known/jwks.json").json()["keys"]
        assert len(keys) == 2
        for key in keys:
            assert set(key) == {"kty", "use", "n", "e", "kid", "x5t", "x5c", "alg"}
            certificate = x509.load_der_x509_certificate(base64.b64decode(key["x5c"][0]))
            modulus = certificate.public_key().public_numbers().n  # type: ignore[union-attr]
            assert int.from_bytes(base64.urlsafe_b64decode(key["n"] + "=="), "big") == modulus
            assert modulus.bit_length() == 2048

    @pytest.mark.parametrize("path", [".well-known/jwks.json", "oauth/token", "userinfo"])
    def test_only_loopback_origins_may_call(self, tenant: TenantProcess, path: str) -> None:
        own = tenant.request("OPTIONS", path, headers={"Origin": "http://localhost:5173"})
        assert own.headers["Access-Control-Allow-Origin"] == "http://localhost:5173"
        assert "Content-Type" in own.headers["Access-Control-Allow-Headers"]
        for origin in ("https://example.com", "http://localhost.example.com", "http://localhost:1@evil.test", "null"):
            foreign = tenant.request("OPTIONS", path, headers={"Origin": origin})
            assert "Access-Control-Allow-Origin" not in foreign.headers
            assert "Origin" in foreign.headers["Vary"]

    @pytest.mark.parametrize(
        ("method", "path", "options", "status"),
        [
            ("GET", "nowhere", {}, 404),
            ("DELETE", "oauth/token", {}, 405),
            ("POST", "oauth/token", {"data": b" " * 70_000}, 413),
            ("GET", "_control/counters", {"headers": {"Host": "rebound.example.com"}}, 421),
        ],
    )
    def test_http_errors(
        self, tenant: TenantProcess, method: str, path: str, options: dict[str, Any], status: int
    ) -> None:
        response = tenant.request(method, path, **options)
        assert response.status_code == status
        assert status > 405 or response.json()["statusCode"] == status


class TestPasswordGrant:
    def test_tokens_have_auth0s_claims(self, tenant: TenantProcess) -> None:
        response = login(tenant)
        body = response.json()
        assert set(body) == {"access_token", "id_token", "refresh_token", "scope", "expires_in", "token_type"}
        assert (body["scope"], body["expires_in"], body["token_type"]) == (SCOPE, 86_400, "Bearer")
        header, claims = verify(tenant, body["access_token"])
        assert set(header) == {"alg", "typ", "kid"}
        assert set(claims) == {"iss", "sub", "aud", "iat", "exp", "scope", "azp", "gty"}
        assert claims["aud"] == [AUDIENCE, tenant.issuer + "userinfo"]
        assert re.fullmatch(r"auth0\|[0-9a-f]{24}", claims["sub"])
        assert claims["exp"] - claims["iat"] == 86_400
        assert (claims["gty"], claims["azp"], claims["iss"]) == ("password", CLIENT_ID, tenant.issuer)
        _, identity = verify(tenant, body["id_token"])
        assert (identity["aud"], identity["sub"]) == (CLIENT_ID, claims["sub"])
        assert (identity["email"], identity["email_verified"]) == ("renter@example.test", True)
        assert {"nickname", "name", "picture", "updated_at"} <= set(identity)

    def test_a_token_of_one_audience_names_it_as_a_string(self, tenant: TenantProcess) -> None:
        body = login(tenant, scope="email made-up").json()
        assert set(body) == {"access_token", "scope", "expires_in", "token_type"}
        assert (body["scope"], verify(tenant, body["access_token"])[1]["aud"]) == ("email", AUDIENCE)
        access = login(tenant, audience=None).json()["access_token"]
        assert verify(tenant, access)[1]["aud"] == tenant.issuer + "userinfo"

    def test_email_is_compared_in_any_case_and_forms_are_read_too(self, tenant: TenantProcess) -> None:
        form = {"grant_type": "password", "username": "RENTER@Example.test", "password": PASSWORD}
        response = tenant.request("POST", "oauth/token", data=form, auth=(CLIENT_ID, CLIENT_SECRET))
        assert response.status_code == 200

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({"password": "wrong"}, (403, "invalid_grant", "Wrong email or password.")),
            ({"username": "nobody@example.test"}, (403, "invalid_grant", "Wrong email or password.")),
            ({"client_secret": "wrong"}, (401, "access_denied", "Unauthorized")),
            ({"client_secret": ""}, (401, "access_denied", "Unauthorized")),
            ({"client_secret": None}, (401, "access_denied", "Unauthorized")),
            ({"client_id": "other"}, (401, "access_denied", "Unauthorized")),
            ({"audience": "https://x"}, (403, "access_denied", "Service not found: https://x")),
            ({"realm": "other"}, (400, "invalid_request", "the connection was not found")),
            ({"grant_type": "magic"}, (403, "unsupported_grant_type", "Unsupported grant type")),
            ({"grant_type": None}, (400, "invalid_request", "Missing required parameter: grant_type")),
            ({"password": None}, (400, "invalid_request", "Missing required parameter: password")),
            ({"realm": None}, (400, "invalid_request", "Missing required parameter: realm")),
            ({"username": {"$ne": 1}}, (400, "invalid_request", "Parameter 'username' must be a string")),
            (
                {"grant_type": "client_credentials"},
                (403, "unauthorized_client", "Grant type 'client_credentials' not allowed for the client."),
            ),
        ],
    )
    def test_refusals_are_auth0s(
        self, tenant: TenantProcess, changes: dict[str, Any], expected: tuple[int, str, str]
    ) -> None:
        email = changes.pop("username", "renter@example.test")
        assert refusal(login(tenant, email, **changes)) == expected

    @pytest.mark.parametrize(
        "body", [b"{", b"[]", b"[" * 60_000, b'{"grant_type": "\\ud800"}', b"\xff", [("grant_type", "password")] * 2]
    )
    def test_an_unreadable_body_or_a_repeated_parameter_is_refused(self, tenant: TenantProcess, body: Any) -> None:
        headers = {"Content-Type": "application/json"} if isinstance(body, bytes) else None
        response = tenant.request("POST", "oauth/token", data=body, headers=headers)
        assert refusal(response)[:2] == (400, "invalid_request")

    def test_a_blocked_user_is_refused_everywhere(self, tenant: TenantProcess) -> None:
        tenant.add_user("blocked@example.test")
        before = login(tenant, "blocked@example.test").json()
        changed = tenant.control("POST", "users/blocked@example.test", {"blocked": True})
        assert (changed["blocked"], changed["email_verified"]) == (True, True)
        expected = (403, "unauthorized", "user is blocked")
        assert refusal(login(tenant, "blocked@example.test")) == expected
        assert refusal(refresh(tenant, before["refresh_token"])) == expected
        assert userinfo(tenant, before["access_token"]).status_code == 401
        page = Browser(tenant)
        assert page.submit(page.authorize(), email="blocked@example.test").status_code == 403


class TestRefresh:
    def test_the_same_refresh_token_stays_valid(self, tenant: TenantProcess, refresh_token: str) -> None:
        subjects = set()
        for _ in range(2):
            body = refresh(tenant, refresh_token).json()
            assert set(body) == {"access_token", "id_token", "scope", "expires_in", "token_type"}
            claims = verify(tenant, body["access_token"])[1]
            assert claims["aud"] == [AUDIENCE, tenant.issuer + "userinfo"]
            subjects.add(claims["sub"])
        assert len(subjects) == 1

    def test_scope_can_narrow_and_never_widen(self, tenant: TenantProcess) -> None:
        refresh_token = login(tenant, scope="openid offline_access").json()["refresh_token"]
        assert refresh(tenant, refresh_token, scope="openid email").json()["scope"] == "openid"

    def test_unknown_token_and_missing_secret_are_refused(self, tenant: TenantProcess, refresh_token: str) -> None:
        expected = (403, "invalid_grant", "Unknown or invalid refresh token.")
        assert refusal(refresh(tenant, "made-up")) == expected
        assert refusal(refresh(tenant, refresh_token, client_secret=None)) == expected

    def test_it_is_not_stored_as_it_is(self, tenant: TenantProcess, refresh_token: str) -> None:
        for path in tenant.state.iterdir():
            content = path.read_bytes()
            assert refresh_token.encode() not in content
            assert PASSWORD.encode() not in content


class TestSignup:
    def test_the_answer_is_auth0s(self, tenant: TenantProcess) -> None:
        body = signup(tenant, "Ada@Example.test", given_name="Ada", name="Ada L", user_metadata={"a": 1}).json()
        assert re.fullmatch(r"[0-9a-f]{24}", body.pop("_id"))
        names = {"given_name": "Ada", "name": "Ada L", "user_metadata": {"a": 1}}
        assert body == {"email": "ada@example.test", "email_verified": False} | names
        claims = verify(tenant, login(tenant, "ada@example.test").json()["id_token"])[1]
        assert (claims["name"], claims["given_name"], claims["email_verified"]) == ("Ada L", "Ada", False)

    @pytest.mark.parametrize("password", ["Ab1!", "alllowercase", "lower1234", "UPPERCASE!!"])
    def test_a_weak_password_is_refused_with_its_rules(self, tenant: TenantProcess, password: str) -> None:
        response = signup(tenant, password=password)
        body = response.json()
        assert (response.status_code, body["statusCode"], body["code"]) == (400, 400, "invalid_password")
        assert (body["name"], body["message"]) == ("PasswordStrengthError", "Password is too weak")
        assert body["policy"].startswith("* At least 8 characters in length\n* ")
        assert body["description"]["verified"] is False
        assert not all(rule["verified"] for rule in body["description"]["rules"])

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            *(
                ({"email": email}, {"code": "invalid_body"})
                for email in ("", "no-at", "a@b", "a b@c.test", "a@" + "x" * 260 + ".test", 5, None)
            ),
            ({"client_id": "other"}, {"error": "the client was not found"}),
            ({"connection": "other"}, {"error": "the connection was not found"}),
            ({"client_id": None}, {"description": "Missing required parameter: client_id"}),
            ({"connection": None}, {"description": "Missing required parameter: connection"}),
        ],
    )
    def test_other_refusals_are_auth0s(
        self, tenant: TenantProcess, changes: dict[str, Any], expected: dict[str, str]
    ) -> None:
        response = signup(tenant, **changes)
        assert response.status_code == 400
        assert response.json().items() >= expected.items()

    def test_of_concurrent_sign_ups_with_one_email_one_succeeds(self, tenant: TenantProcess) -> None:
        body = {"client_id": CLIENT_ID, "connection": CONNECTION, "password": PASSWORD}

        def attempt(email: str) -> requests.Response:
            return requests.post(tenant.url("dbconnections/signup"), json=body | {"email": email}, timeout=30)

        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(attempt, ["race@example.test", "RACE@example.test"] * 3))
        refused = [(each.status_code, each.json()["code"]) for each in answers if not each.ok]
        assert refused == [(400, "user_exists")] * 5


class TestUserinfo:
    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_claims_follow_the_scope(self, tenant: TenantProcess, refresh_token: str, method: str) -> None:
        def access(scope: str) -> str:
            return str(refresh(tenant, refresh_token, scope=scope).json()["access_token"])

        everything = userinfo(tenant, access(SCOPE), method).json()
        assert set(everything) == {"sub", "nickname", "name", "picture", "updated_at", "email", "email_verified"}
        little = userinfo(tenant, access("openid email"), method).json()
        assert set(little) == {"sub", "email", "email_verified"}

    @pytest.mark.parametrize(
        "order",
        [
            {"claims": {"exp": 1}},
            {"claims": {"aud": AUDIENCE}},
            {"claims": {"iss": "https://evil/"}},
            {"claims": {"sub": "auth0|" + "0" * 24}},
            {"key": "unpublished"},
            {"header": {"alg": "none"}},
            {"header": {"alg": "HS256"}},
            {"drop": ["exp"]},
            {"payload": "[" * 5_000},
            {"payload": "not json"},
        ],
        ids=lambda order: str(order)[:40],
    )
    def test_other_tokens_are_refused(self, tenant: TenantProcess, subject: str, order: dict[str, Any]) -> None:
        assert userinfo(tenant, tenant.token(sub=subject)).status_code == 200
        minted = tenant.mint(**{**order, "claims": {"sub": subject} | order.get("claims", {})})
        response = userinfo(tenant, minted["token"])
        assert (response.status_code, response.text) == (401, "Unauthorized")
        assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]

    def test_no_token_is_refused_without_an_error_code(self, tenant: TenantProcess) -> None:
        response = tenant.request("GET", "userinfo")
        assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, 'Bearer realm="Users"')


class TestLoginPage:
    def test_code_with_pkce_round_trip(self, tenant: TenantProcess) -> None:
        browser = Browser(tenant)
        page = browser.authorize()
        policy = page.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "form-action 'self' http://localhost:5173" in policy
        assert "script-src" not in policy
        got = answer(browser.submit(page))
        assert got["state"] == "s&1"
        body = redeem(tenant, got["code"]).json()
        identity = verify(tenant, body["id_token"])[1]
        assert (identity["nonce"], identity["email"]) == ("n-1", "renter@example.test")
        assert identity["sid"]
        assert "gty" not in verify(tenant, body["access_token"])[1]
        # A public client refreshes what it got by PKCE without a secret.
        assert refresh(tenant, body["refresh_token"], client_secret=None).status_code == 200

    def test_a_code_works_once_and_only_as_it_was_asked_for(self, tenant: TenantProcess) -> None:
        browser = Browser(tenant)
        browser.submit(browser.authorize())

        def code(**changes: str | None) -> str:
            return answer(browser.authorize(**changes))["code"]

        used = code()
        assert redeem(tenant, used).status_code == 200
        invalid = (403, "invalid_grant", "Invalid authorization code")
        assert refusal(redeem(tenant, used)) == refusal(redeem(tenant, "made-up")) == invalid
        wrong = code()
        assert refusal(redeem(tenant, wrong, code_verifier="w" * 43))[2] == "Failed to verify code verifier"
        assert refusal(redeem(tenant, wrong)) == invalid, "a failed attempt uses the code up"
        assert refusal(redeem(tenant, code(), redirect_uri=CALLBACK + "/x"))[2] == "The redirect URI is wrong."
        assert refusal(redeem(tenant, code(), code_verifier=None))[:2] == (400, "invalid_request")
        plain: dict[str, str | None] = {"code_challenge": None, "code_challenge_method": None}
        assert refusal(redeem(tenant, code(**plain), code_verifier=None))[:2] == (401, "access_denied")
        with_secret = redeem(tenant, code(**plain), code_verifier=None, client_secret=CLIENT_SECRET)
        assert with_secret.status_code == 200

    def test_a_session_saves_the_second_login_until_logout(self, tenant: TenantProcess) -> None:
        browser = Browser(tenant)
        assert answer(browser.authorize(prompt="none"))["error"] == "login_required"
        cookie = browser.submit(browser.authorize()).headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        assert "code" in answer(browser.authorize(prompt="none"))
        assert browser.authorize(prompt="login").status_code == 200
        left = browser.open("GET", "v2/logout", params={"returnTo": CALLBACK, "client_id": CLIENT_ID})
        assert (left.status_code, left.headers["Location"]) == (302, CALLBACK)
        assert answer(browser.authorize(prompt="none"))["error"] == "login_required"

    def test_wrong_passwords_show_the_page_again(self, tenant: TenantProcess) -> None:
        browser = Browser(tenant)
        page = browser.submit(browser.authorize(), password=WRONG, email='"><script>@x.test')
        assert page.status_code == 400
        assert 'role="alert"' in page.text
        assert "<script>" not in page.text
        assert "code" in answer(browser.submit(page))

    def test_signing_up_on_the_page_logs_in(self, tenant: TenantProcess) -> None:
        browser = Browser(tenant)
        link = re.search(r'href="([^"]+screen_hint=signup[^"]*)"', browser.authorize().text)
        assert link is not None
        page = browser.open("GET", html.unescape(link[1]))
        for fields in ({"password": "weak"}, {"email": "no"}, {"email": "renter@example.test"}):
            page = browser.submit(page, **({"email": "page@example.test"} | fields))
            assert page.status_code == 400
            assert 'role="alert"' in page.text
        got = answer(browser.submit(page, email="page@example.test"))
        claims = verify(tenant, redeem(tenant, got["code"]).json()["id_token"])[1]
        assert claims["email"] == "page@example.test"

    def test_a_form_from_another_browser_is_refused(self, tenant: TenantProcess) -> None:
        page = Browser(tenant).authorize()
        for victim in (Browser(tenant), Browser(tenant)):
            assert victim.submit(page).status_code == 403
            victim.authorize()
        owner = Browser(tenant)
        assert owner.submit(owner.authorize(), request="forged").status_code == 403

    @pytest.mark.parametrize(
        ("changes", "error"),
        [
            ({"response_type": "token"}, "unsupported_response_type"),
            ({"response_mode": "fragment"}, "invalid_request"),
            ({"code_challenge_method": "plain"}, "invalid_request"),
            ({"code_challenge_method": None}, "invalid_request"),
            ({"code_challenge": "short"}, "invalid_request"),
            ({"audience": "https://other"}, "access_denied"),
        ],
    )
    def test_bad_requests_are_told_to_the_client(
        self, tenant: TenantProcess, changes: dict[str, str | None], error: str
    ) -> None:
        got = answer(Browser(tenant).authorize(**changes))
        assert (got["error"], got["state"]) == (error, "s&1")

    @pytest.mark.parametrize(
        "uri",
        [
            *("http://evil.test/", "https:/evil", "//evil.test", "javascript:alert(1)", "https://a@evil.test/", None),
            *("http://localhost.evil.test/", "http://localhost:80@evil.test/", "https://a.test/#f"),
            "https://a\\@b.test/",
        ],
    )
    def test_never_redirects_to_an_unchecked_uri(self, tenant: TenantProcess, uri: str | None) -> None:
        for changes in ({"redirect_uri": uri}, {"client_id": "other"}):
            response = Browser(tenant).authorize(**changes)
            assert (response.status_code, "Location" in response.headers) == (403, False)
        if uri is not None:
            for path, name in (("v2/logout", "returnTo"), ("oidc/logout", "post_logout_redirect_uri")):
                left = tenant.request("GET", path, params={name: uri})
                assert (left.status_code, "Location" in left.headers) == (403, False)

    def test_the_query_of_the_redirect_uri_is_kept(self, tenant: TenantProcess) -> None:
        got = Browser(tenant).authorize(redirect_uri="https://web.test/cb?keep=1", prompt="none").headers["Location"]
        assert got.startswith("https://web.test/cb?keep=1&error=login_required")


class TestControl:
    def test_counters_count_failures_too(self, tenant: TenantProcess) -> None:
        login(tenant, headers={"auth0-forwarded-for": "203.0.113.9"}, password=WRONG)
        assert tenant.counters()["forwarded_for"] == {"renter@example.test": "203.0.113.9"}
        tenant.fault("jwks", "down", times=1)
        with pytest.raises(requests.ConnectionError):
            tenant.request("GET", ".well-known/jwks.json")
        endpoints = tenant.counters()["endpoints"]
        assert (endpoints["token"], endpoints["jwks"], endpoints["signup"]) == (1, 1, 0)
        assert tenant.control("GET", "fault") == {}, "its one time is used up"
        tenant.control("DELETE", "counters")
        assert tenant.counters()["endpoints"]["token"] == 0

    @pytest.mark.parametrize(
        ("path", "body", "status"),
        [
            ("fault", {"endpoint": "nope", "mode": "down"}, 400),
            ("fault", {"endpoint": "jwks", "mode": "nope"}, 400),
            ("fault", {"endpoint": "jwks", "mode": "slow", "seconds": -1}, 400),
            ("fault", {"endpoint": "jwks", "mode": "slow", "seconds": "1"}, 400),
            ("fault", {"endpoint": "jwks", "mode": "slow", "times": True}, 400),
            ("keys/rotate", {"mode": "other"}, 400),
            ("settings", {"existing_user_code": "other"}, 400),
            ("users/renter@example.test", {"blocked": 1}, 400),
            ("users/x@y.test", {"blocked": True}, 404),
        ],
    )
    def test_a_mistaken_switch_is_refused(self, tenant: TenantProcess, path: str, body: Any, status: int) -> None:
        response = tenant.request("POST", f"_control/{path}", json=body)
        assert response.status_code == status
        assert response.json()["error"]
        assert tenant.request("POST", f"_control/{path}", data=body).status_code == 415  # a web page's form

    def test_it_can_be_switched_off(self) -> None:
        with TenantProcess(env={"TENANT_CONTROL": "false", "TENANT_TOKEN_LIFETIME_SECONDS": "60"}) as bare:
            assert bare.request("GET", "_control/counters").status_code == 404
            signup(bare)
            assert login(bare, "new@example.test").json()["expires_in"] == 60


class TestFaults:
    """The content of each faulty answer: tests/slow/ops/test_tenant_faults.py, by what the service makes of it."""

    def test_everything_can_fail_but_the_switches_and_the_trap_is_counted(self, tenant: TenantProcess) -> None:
        tenant.fault("*", "redirect")
        tenant.fault("token", "down")
        assert tenant.request("GET", "userinfo", allow_redirects=True).json() == {"trapped": True}
        with pytest.raises(requests.ConnectionError):
            token(tenant)
        assert tenant.counters()["endpoints"]["trap"] == 1
        tenant.fault("token", "none")
        assert token(tenant).status_code == 302
        tenant.control("DELETE", "fault")
        assert token(tenant).status_code == 400


class TestProcess:
    def test_users_keys_and_refresh_tokens_survive_a_kill(self) -> None:
        with TenantProcess() as process:
            sub = process.add_user("kept@example.test")
            tokens = login(process, "kept@example.test").json()
            issuer = process.issuer
            process.kill()
            process.start()
            assert process.issuer == issuer
            assert verify(process, tokens["access_token"])[1]["sub"] == sub
            assert refresh(process, tokens["refresh_token"]).status_code == 200
            assert stat.S_IMODE(process.state.stat().st_mode) == 0o700
            files = [path for path in process.state.iterdir() if path.name != "stderr.log"]
            assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}

    def test_it_stops_quietly_even_in_the_middle_of_a_request(self) -> None:
        with TenantProcess() as process:
            process.fault("jwks", "slow", seconds=600)
            with pytest.raises(requests.ReadTimeout):
                process.request("GET", ".well-known/jwks.json", timeout=0.1)
            assert process.stop() == 0
            assert process.stderr() == ""

    def test_add_user_works_beside_a_running_server(self, tenant: TenantProcess) -> None:
        arguments = ["--state", str(tenant.state), "--add-user", "cli1@example.test", "--add-user", "CLI2@example.test"]
        assert run_to_its_end(arguments, TENANT_USER_PASSWORD=PASSWORD) == (0, "")
        for email in ("cli1@example.test", "cli2@example.test"):
            claims = verify(tenant, login(tenant, email).json()["id_token"])[1]
            assert claims["email_verified"] is True
        code, message = run_to_its_end(arguments, TENANT_USER_PASSWORD=WRONG)
        assert (code, message.count("\n")) == (1, 1)
        assert "TENANT_USER_PASSWORD" in message

    def test_a_start_that_fails_is_explained_in_one_line(self, tenant: TenantProcess, tmp_path: Path) -> None:
        state, port = ["--state", str(tmp_path)], tenant.issuer.rstrip("/").rpartition(":")[2]
        missing = run_to_its_end([*state, "--port", "0"], AUTH0_CLIENT_ID="")
        assert missing == (1, "tenant: AUTH0_CLIENT_ID is missing\n")
        taken = run_to_its_end([*state, "--port", port])
        assert taken == (1, f"tenant: cannot listen on 127.0.0.1 port {port}: it is in use\n")
        (tmp_path / "keys.json").write_text("{}")
        code, message = run_to_its_end([*state, "--port", "0"])
        assert (code, message.count("\n"), "keys.json" in message) == (1, 1, True)

    def test_the_log_holds_no_query_and_sigint_is_a_clean_end(self, tmp_path: Path) -> None:
        arguments = [sys.executable, "-m", "deploy.local.tenant", "--port", "0", "--state", str(tmp_path)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen(arguments, cwd=ROOT, env=environment(), text=True, **pipes) as process:  # type: ignore[call-overload]
            issuer = process.stdout.readline().partition("issuer=")[2].strip()
            requests.get(issuer + "authorize?code=secret", timeout=30)
            process.send_signal(signal.SIGINT)
            _, log = process.communicate(timeout=30)
        assert (process.returncode, log) == (0, "GET /authorize 403\n")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AUTH0_CLIENT_SECRET", " "),
        ("AUTH0_AUDIENCE", "a\nb"),
        ("AUTH0_CONNECTION", "x" * 1_000),
        ("TENANT_CONTROL", "perhaps"),
        ("TENANT_TOKEN_LIFETIME_SECONDS", "0"),
        ("TENANT_TOKEN_LIFETIME_SECONDS", "1h"),
    ],
)
def test_a_bad_setting_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name):
        Config.from_env(environment(**{name: value}), issuer="http://127.0.0.1/")


def test_only_loopback_hosts_are_served() -> None:
    assert [loopback(host) for host in ("127.0.0.1", "::1", "localhost")]
    for host in ("0.0.0.0", "192.0.2.1", "example.com", ""):  # noqa: S104 - refused
        with pytest.raises(ConfigError, match="--host"):
            loopback(host)


def environment(**changes: str) -> dict[str, str]:
    own = {"AUTH0_CLIENT_ID": CLIENT_ID, "AUTH0_CLIENT_SECRET": CLIENT_SECRET, "AUTH0_AUDIENCE": AUDIENCE}
    return dict(os.environ) | own | changes


def run_to_its_end(arguments: list[str], **env: str) -> tuple[int, str]:
    """The exit code and stderr of a tenant."""
    done = run(sys.executable, "-m", "deploy.local.tenant", *arguments, env=environment(**env))
    return done.returncode, done.stderr

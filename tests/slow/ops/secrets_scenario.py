"""What `tests/slow/ops/test_secrets.py` puts a service through: secrets in every place, and failures of every kind."""

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import psycopg2

from deploy.local.cluster import PostgresCluster
from tests.support.processes.service import ServiceProcess
from tests.support.processes.tenant import TenantProcess
from tests.support.waiting import until
from tests.support.ws_raw import RawSocket

API = "/api/v1"
AUTH = f"{API}/auth/auth0"
CONTROLS = "\r\n2026-01-01T00:00:00Z [info] forged\x1b[31m\u2028\u202e"
BODIES = (
    *(("POST", f"{AUTH}/signup"), ("POST", f"{AUTH}/login"), ("POST", f"{AUTH}/refresh"), ("POST", f"{API}/equipment")),
    *(("POST", f"{API}/conversations"), ("PUT", f"{API}/users/me/owner-profile")),
    ("PUT", f"{API}/users/me/renter-profile"),
)
FIELDS = (
    *("email", "password", "username", "full_name", "refresh_token", "title", "daily_rate", "category_id", "content"),
    *("participant_ids", "equipment_id", "business_info", "coordinates", "client_msg_id"),
)
QUERY = ("q", "limit", "page", "cursor", "category_id", "min_price", "lat", "bbox", "sort", "access_token", "token")


@dataclass
class Plants:
    """Values that are found nowhere else, by what they are."""

    values: dict[str, str] = field(default_factory=dict)

    def new(self, name: str, form: str = "planted-{}") -> str:
        value = form.format(uuid4().hex)
        self.values[f"{name} {len(self.values)}"] = value
        return value

    def found_in(self, text: str) -> list[str]:
        return [name for name, value in self.values.items() if value in text]


class Scenario:
    def __init__(self, service: ServiceProcess, tenant: TenantProcess, plants: Plants) -> None:
        self.service = service
        self.tenant = tenant
        self.plants = plants
        self.statuses: set[int] = set()
        self.email = plants.new("e-mail", "planted-{}@example.com")
        self.password = plants.new("password", "Planted-{}!")
        self.token = ""

    def ask(self, method: str, path: str, **options: Any) -> Any:
        """A request with something planted wherever a client may put something."""
        headers = {
            "User-Agent": self.plants.new("User-Agent"),
            "Referer": self.plants.new("Referer", "https://example.com/?{}"),
            "Cookie": f"session={self.plants.new('cookie')}",
            "X-Request-Id": self.plants.new("X-Request-Id", "planted {}"),
            "X-Forwarded-For": "198.51.100.7, 198.51.100.8\x85\x9b",
            **options.pop("headers", {}),
        }
        answer = self.service.request(method, path, headers=headers, **options)
        self.statuses.add(answer.status_code)
        return answer

    def bearer(self, token: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {token}"}

    def accounts(self) -> None:
        """Sign up, log in, refresh: well, and badly."""
        credentials = {"email": self.email, "password": self.password}
        assert self.ask("POST", f"{AUTH}/signup", json=credentials).status_code == 201
        assert self.ask("POST", f"{AUTH}/signup", json=credentials).status_code == 409
        tokens = self.ask("POST", f"{AUTH}/login", json=credentials).json()
        self.token = tokens["access_token"]
        for name in ("access_token", "refresh_token", "id_token"):
            self.plants.values[name] = tokens[name]
            self.plants.values[f"the signature of {name}"] = tokens[name].rpartition(".")[2]
        assert self.ask("POST", f"{AUTH}/refresh", json={"refresh_token": tokens["refresh_token"]}).status_code == 200
        wrong = {**credentials, "password": self.plants.new("wrong password")}
        assert self.ask("POST", f"{AUTH}/login", json=wrong).status_code in (401, 429)
        made_up = {"refresh_token": self.plants.new("refresh token")}
        assert self.ask("POST", f"{AUTH}/refresh", json=made_up).status_code == 401

    def tokens(self) -> None:
        """Tokens that hold and that do not, in every place."""
        assert self.ask("GET", f"{API}/auth/me", headers=self.bearer(self.token)).status_code == 200
        head = self.token.partition(".")[0]
        for form in ("{}", "{}.{}.{}", head + ".{}.{}", "eyJ{}", "{} {}", "{},{}"):
            value = form.replace("{}", self.plants.new("token", "planted{}"))
            for scheme in ("Bearer", "Basic", "bearer"):
                self.ask("GET", f"{API}/auth/me", headers={"Authorization": f"{scheme} {value}"})
        for name in ("access_token", "token"):
            self.ask("GET", f"{API}/auth/me?{name}={self.plants.new(name)}")
        self.ask("GET", "/metrics", headers=self.bearer(self.plants.new("metrics token")))

    def inputs(self) -> None:
        """Every schema, with what it does not take."""
        for method, path in BODIES:
            for name in FIELDS:
                planted = self.plants.new(name)
                for value in (planted, {planted: planted}, [planted], f"{planted}{CONTROLS}", f"{planted}\x00"):
                    self.ask(method, path, json={name: value, planted: value}, headers=self.bearer(self.token))
            for raw in (b'{"x": planted', b"planted", b'"' + self.plants.new("body").encode() + b'"', b"\xff"):
                headers = {"Content-Type": "application/json", **self.bearer(self.token)}
                self.ask(method, path, data=raw, headers=headers)
        for name in QUERY:
            self.ask("GET", f"{API}/equipment", params={name: self.plants.new(f"query {name}") + CONTROLS})

    def messages(self, other_id: str) -> str:
        mine = self.bearer(self.token)
        talk = str(
            self.ask("POST", f"{API}/conversations", json={"participant_ids": [other_id]}, headers=mine).json()["id"]
        )
        for conversation_id, status in ((talk, 201), (str(uuid4()), 404)):
            body = {
                "content": f"{self.plants.new('message')}\nforged",
                "client_msg_id": self.plants.new("client_msg_id"),
            }
            path = f"{API}/conversations/{conversation_id}/messages"
            assert self.ask("POST", path, json=body, headers=mine).status_code == status
        return talk

    def paths(self) -> None:
        """Line breaks and terminal sequences in what is logged of every request."""
        for path in ("/nowhere%0D%0Aforged", "/nowhere%1B[31m", "/nowhere%E2%80%A8", "/nowhere%C2%85", "/%FF%00"):
            self.ask("GET", path)

    def tenant_down(self) -> None:
        for mode in ("down", "error", "garbage", "wrong_shape", "rate_limited", "redirect"):
            for endpoint in ("token", "signup", "userinfo"):
                self.tenant.fault(endpoint, mode)
            credentials = {"email": self.plants.new("e-mail", "planted-{}@example.com"), "password": self.password}
            self.ask("POST", f"{AUTH}/signup", json=credentials)
            self.ask("POST", f"{AUTH}/login", json=credentials)
            self.ask("POST", f"{AUTH}/refresh", json={"refresh_token": self.plants.new("refresh token")})
            newcomer = self.tenant.token(sub=f"auth0|{uuid4().hex}")
            self.plants.values[f"a newcomer's token {mode}"] = newcomer
            self.ask("GET", f"{API}/auth/me", headers=self.bearer(newcomer))
            self.tenant.reset()

    def database_down(self, cluster: PostgresCluster, talk: str) -> None:
        mine = self.bearer(self.token)
        cluster.kill()
        try:
            content = {"content": self.plants.new("message")}
            path = f"{API}/conversations/{talk}/messages"
            assert self.ask("POST", path, json=content, headers=mine).status_code == 503
            self.ask("GET", f"{API}/equipment", params={"q": self.plants.new("q")})
            credentials = {"email": self.email, "password": self.password}
            self.ask("POST", f"{AUTH}/login", json=credentials)
            assert self.ask("GET", "/ready").status_code == 503
        finally:
            cluster.start()
        until(lambda: self.ask("GET", f"{API}/auth/me", headers=mine).status_code == 200)

    def schema_gone(self, cluster: PostgresCluster, talk: str) -> None:
        """A 500: a column that the code expects is not there."""
        with psycopg2.connect(cluster.url("gearyard")) as admin:
            admin.cursor().execute("ALTER TABLE messages RENAME COLUMN content TO contents")
        content = {"content": self.plants.new("message")}
        path = f"{API}/conversations/{talk}/messages"
        answer = self.ask("POST", path, json=content, headers=self.bearer(self.token))
        assert answer.status_code == 500
        with RawSocket(self.service.port) as raw, suppress(EOFError):
            raw.open("/ws?v=2", self.bearer(self.token))
            raw.say("message", conversation_id=talk, content=self.plants.new("frame"))
            raw.close_body()
        with psycopg2.connect(cluster.url("gearyard")) as admin:
            admin.cursor().execute("ALTER TABLE messages RENAME COLUMN contents TO content")

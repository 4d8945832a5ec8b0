"""What one `make run` is to do, read from its environment: which ports, which parts, which settings for the product."""

import os
import re
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from deploy.local.processes import ROOT, LocalError, write_private
from deploy.local.sockets import port_is_free

STATE = ROOT / ".local" / "run"
DATABASE = "gearyard"
DEMO_EMAILS = ("renter@gearyard.example", "owner@gearyard.example", "admin@gearyard.example")
DEMO_PASSWORD = "Rent-a-kayak-2026"  # noqa: S105 - printed for everybody; opens nothing but the local tenant

DEFAULTS = {
    "APP_ENV": "development",
    "WEB_CONCURRENCY": "2",
}
# Only beside our own tenant: for somebody else's, these are not ours to guess.
TENANT_DEFAULTS = {
    "AUTH0_AUDIENCE": "https://api.gearyard.example",
    "AUTH0_CLIENT_ID": "gearyard-local",
    "AUTH0_CONNECTION": "Username-Password-Authentication",
}
# Which names of the environment are the product's (deploy/env.example) and therefore go into the file for `flask`.
SETTING = re.compile(
    r"(APP_ENV|HOST|PORT|WEB_CONCURRENCY|SENTRY_DSN|OWNER_SIGNUP|DEMO_ACCOUNTS|(AUTH0|DATABASE|DB|REDIS|JWKS|CORS|TRUSTED|METRICS"
    r"|LOGIN|RATE_LIMIT|LOG|WS)_[A-Z0-9_]+)"
)


@dataclass(frozen=True)
class Plan:
    """The choices of one run. `environment` is what its processes get; `DATABASE_URL` is missing until there is one."""

    port: int
    tenant_port: int
    own_database: bool
    own_tenant: bool
    environment: dict[str, str]

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Read the caller's environment; blank values count as unset.

        Raises:
            LocalError: when a port is no port, or both are the same.

        """
        given = {name: value for name, value in env.items() if value.strip()}
        port, tenant_port = _port(given, "PORT", 8080), _port(given, "TENANT_PORT", 8081)
        own_tenant = not (given.get("AUTH0_DOMAIN") or given.get("AUTH0_ISSUER"))
        if own_tenant and port == tenant_port:
            raise LocalError(f"PORT and TENANT_PORT are both {port}: give them different numbers.")
        defaults = DEFAULTS | {"PORT": str(port), "CORS_ALLOWED_ORIGINS": ",".join(_origins(port))}
        if own_tenant:
            defaults |= TENANT_DEFAULTS | {"AUTH0_ISSUER": f"http://127.0.0.1:{tenant_port}/"}
        if own_tenant and given.get("APP_ENV", DEFAULTS["APP_ENV"]) == "development":
            defaults["DEMO_ACCOUNTS"] = ",".join(f"{email}:{DEMO_PASSWORD}" for email in DEMO_EMAILS)
        return cls(
            port=port,
            tenant_port=tenant_port,
            own_database="DATABASE_URL" not in given,
            own_tenant=own_tenant,
            environment={**env, **{name: value for name, value in defaults.items() if name not in given}},
        )

    @property
    def is_development(self) -> bool:
        """Whether demo data belongs into the database."""
        return self.environment["APP_ENV"] == "development"

    def require_free_ports(self) -> None:
        """Raise LocalError, naming the variable that moves the listener, if a port is not to be had."""
        wanted = {"PORT": self.port} | ({"TENANT_PORT": self.tenant_port} if self.own_tenant else {})
        for variable, port in wanted.items():
            try:
                reason = None if port_is_free(port) else "is taken by another program"
            except PermissionError:
                reason = "needs rights that this user lacks"
            if reason:
                raise LocalError(f"port {port} {reason}: choose another one, as in `make run {variable}={port + 10}`.")


def client_secret(state: Path) -> str:
    """The secret that the local tenant and the product share: random, made once."""
    path = state / "client_secret"
    if not path.exists():
        write_private(path, secrets.token_urlsafe(32))
    return path.read_text()


def environment_file(environment: Mapping[str, str]) -> str:
    """The product's settings in the form that `flask --env-file` reads, and a shell can source."""
    settings = {name: value for name, value in sorted(environment.items()) if SETTING.fullmatch(name)}
    return "".join(f"{name}={_quoted(value)}\n" for name, value in settings.items())


def python(*arguments: str | Path) -> list[str | Path]:
    """A command of the interpreter that runs this program, that is, the virtual environment's."""
    return [sys.executable, *arguments]


def readable(path: Path) -> str:
    """A path as the person at the terminal would type it."""
    return os.path.relpath(path, ROOT)


def _origins(port: int) -> list[str]:
    """The pages that may call the service: its own, which open sockets, and what web developers' servers are on."""
    return [f"http://{host}" for host in (f"127.0.0.1:{port}", f"localhost:{port}", "localhost:3000", "localhost:5173")]


def _port(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(name, str(default)).strip()
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65_535:
        raise LocalError(f"{name} must be a port number from 1 to 65535, not {text!r}.")
    return int(text)


def _quoted(value: str) -> str:
    if re.fullmatch(r"[\w@%+=:,./-]*", value, re.ASCII):
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"

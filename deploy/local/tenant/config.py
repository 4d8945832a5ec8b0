"""What the tenant is told at its start: one client, one API, one database connection."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass

DEFAULT_CONNECTION = "Username-Password-Authentication"
DEFAULT_TOKEN_LIFETIME_SECONDS = 86_400  # Auth0's default for an API ("Update Access Token Lifetime")
MAX_TOKEN_LIFETIME_SECONDS = 2_592_000  # Auth0's maximum: 30 days
MAX_VALUE_LENGTH = 512

_SWITCH = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


class ConfigError(Exception):
    """A setting is missing or wrong; the message names it in one line and never repeats a secret."""


@dataclass(frozen=True)
class Config:
    """Checked settings. ``issuer`` ends in ``/``, as Auth0's does."""

    issuer: str
    client_id: str
    client_secret: str
    audience: str
    connection: str = DEFAULT_CONNECTION
    control: bool = True
    token_lifetime_seconds: int = DEFAULT_TOKEN_LIFETIME_SECONDS

    @classmethod
    def from_env(cls, env: Mapping[str, str], issuer: str) -> Config:
        """Read the product's own ``AUTH0_*`` names plus ``TENANT_*``. Raises ConfigError naming the first bad one."""
        return cls(
            issuer=issuer,
            client_id=_required(env, "AUTH0_CLIENT_ID"),
            client_secret=_required(env, "AUTH0_CLIENT_SECRET"),
            audience=_required(env, "AUTH0_AUDIENCE"),
            connection=_line(env, "AUTH0_CONNECTION") or DEFAULT_CONNECTION,
            control=_switch(env, "TENANT_CONTROL", default=True),
            token_lifetime_seconds=_lifetime(env, "TENANT_TOKEN_LIFETIME_SECONDS"),
        )

    @property
    def userinfo_audience(self) -> str:
        """The audience that lets an access token call ``/userinfo``."""
        return self.issuer + "userinfo"


def loopback(host: str) -> str:
    """The host unchanged if it is a loopback address or ``localhost``. Raises ConfigError for any other."""
    try:
        is_loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise ConfigError(f"--host must be a loopback address, not {host!r}: this tenant is for development only")
    return host


def origin_of(host: str, port: int) -> str:
    """``http://host:port``, with the brackets that an IPv6 address needs (RFC 3986 §3.2.2)."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _line(env: Mapping[str, str], name: str) -> str:
    value = env.get(name, "").strip()
    if len(value) > MAX_VALUE_LENGTH or re.search(r"[\x00-\x1f\x7f]", value):
        raise ConfigError(f"{name} must be one line of at most {MAX_VALUE_LENGTH} characters")
    return value


def _required(env: Mapping[str, str], name: str) -> str:
    value = _line(env, name)
    if not value:
        raise ConfigError(f"{name} is missing")
    return value


def _switch(env: Mapping[str, str], name: str, *, default: bool) -> bool:
    text = _line(env, name).lower()
    if text and text not in _SWITCH:
        raise ConfigError(f"{name} must be true or false, not {text!r}")
    return _SWITCH[text] if text else default


def _lifetime(env: Mapping[str, str], name: str) -> int:
    text = _line(env, name) or str(DEFAULT_TOKEN_LIFETIME_SECONDS)
    if not re.fullmatch(r"[0-9]{1,8}", text) or not 1 <= int(text) <= MAX_TOKEN_LIFETIME_SECONDS:
        raise ConfigError(f"{name} must be a whole number of seconds from 1 to {MAX_TOKEN_LIFETIME_SECONDS}")
    return int(text)

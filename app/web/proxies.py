"""Whom to believe about the client: exactly so many proxies, counted from this end."""

from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from app.client_address import bare_address
from app.settings import Settings

REMOTE_ADDR = "REMOTE_ADDR"


def init_app(app: Flask, settings: Settings) -> None:
    """Let `request.remote_addr` be the client's address, bare, or empty where nobody can tell; `scheme`, too."""
    application = app.wsgi_app
    proxies = settings.trusted_proxy_count

    def with_bare_address(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ[REMOTE_ADDR] = bare_address(environ.get(REMOTE_ADDR, ""))
        return application(environ, start_response)

    around = ProxyFix(with_bare_address, x_for=proxies, x_proto=proxies) if proxies else with_bare_address
    app.wsgi_app = around  # type: ignore[method-assign]

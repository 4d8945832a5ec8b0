"""The client's address and scheme, from exactly as many proxies as `TRUSTED_PROXY_COUNT` says."""

from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from app.common.client_address import bare_address
from app.settings import Settings

REMOTE_ADDR = "REMOTE_ADDR"


def init_app(app: Flask, settings: Settings) -> None:
    """Set `request.remote_addr` to the client's bare address, empty if unknown, and `request.scheme` to its scheme."""
    application = app.wsgi_app
    proxies = settings.trusted_proxy_count

    def with_bare_address(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ[REMOTE_ADDR] = bare_address(environ.get(REMOTE_ADDR, ""))
        return application(environ, start_response)

    # Without a trusted proxy, forwarded headers are the client's own claims.
    app.wsgi_app = (  # type: ignore[method-assign]
        ProxyFix(with_bare_address, x_for=proxies, x_proto=proxies) if proxies else with_bare_address
    )

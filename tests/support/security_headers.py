"""What every answer must carry, whatever its status and whoever gives it: the app, or the server before it."""

from collections.abc import Mapping

from werkzeug.datastructures import Headers

CONTENT_SECURITY_POLICY = "Content-Security-Policy"
REQUIRED = {
    "Strict-Transport-Security": "max-age=63072000; includeSubDomains",
    CONTENT_SECURITY_POLICY: "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-site",
}


def assert_secure(headers: Mapping[str, str] | Headers, *, is_page: bool = False) -> None:
    """Each header is there, with its value; a page may have a policy of its own (it is tested where the page is)."""
    for name, value in REQUIRED.items():
        assert name in headers
        assert headers[name] == value or (is_page and name == CONTENT_SECURITY_POLICY), f"{name}: {headers[name]}"

"""What every answer must carry, whatever its status and whoever gives it: the app, or the server before it."""

from collections.abc import Mapping

from werkzeug.datastructures import Headers

CONTENT_SECURITY_POLICY = "Content-Security-Policy"
HSTS = "Strict-Transport-Security"
REQUIRED = {
    CONTENT_SECURITY_POLICY: "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-site",
}


def assert_secure(headers: Mapping[str, str] | Headers, *, is_page: bool = False, is_https: bool = False) -> None:
    """Check each header's value. A page may have its own policy. HSTS belongs to HTTPS only (RFC 6797 §7.2)."""
    assert headers.get(HSTS) == ("max-age=63072000; includeSubDomains" if is_https else None)
    for name, value in REQUIRED.items():
        assert name in headers
        assert headers[name] == value or (is_page and name == CONTENT_SECURITY_POLICY), f"{name}: {headers[name]}"

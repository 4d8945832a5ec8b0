"""Security headers, added to every response whatever its status. They restrict what browsers do with the response."""

HEADERS = {
    # The last three do not follow from the first (CSP Level 3 §6.1, "fallback").
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-site",
}
# RFC 6797 §7.2: never sent over plain HTTP.
HSTS = ("Strict-Transport-Security", "max-age=63072000; includeSubDomains")
# A response that does not permit caching is private.
_DEFAULTS = [(name.lower(), (name, value)) for name, value in {**HEADERS, "Cache-Control": "no-store"}.items()]


def add_missing(headers: list[tuple[str, str]], scheme: str) -> None:
    """Add to a response the headers that its view has not set."""
    present = {name.lower() for name, _ in headers}
    headers.extend(header for name, header in _DEFAULTS if name not in present)
    if scheme == "https":
        headers.append(HSTS)

"""Where a browser may be sent: the development answer to "Allowed Callback URLs" and "Allowed Logout URLs"."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlencode, urlsplit

MAX_URI_LENGTH = 2_048
LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
# RFC 3986's characters only. A backslash, a space or a control character could make a browser see another host.
_URI = re.compile(r"[A-Za-z0-9\-._~:/?\[\]@!$&'()*+,;=%]+")
_HOST = re.compile(r"([A-Za-z0-9]([A-Za-z0-9.\-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")


def is_allowed(uri: str) -> bool:
    """True for https, and for http on a loopback host: absolute, without user information or fragment.

    RFC 6749 §3.1.2 forbids the fragment; RFC 8252 §7.3 allows any port on loopback.
    """
    if len(uri) > MAX_URI_LENGTH or not _URI.fullmatch(uri):
        return False
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
    except ValueError:
        return False
    if not host or not _HOST.fullmatch(parts.netloc) or port == 0:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and host in LOOPBACK_HOSTS)


def is_loopback_origin(origin: str) -> bool:
    """True for an ``Origin`` header of a page served on this machine over http."""
    return origin.startswith("http://") and origin.count("/") == 2 and "?" not in origin and is_allowed(origin)


def origin_of_uri(uri: str) -> str:
    """``scheme://host:port`` of an allowed URI."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc}"


def with_parameters(uri: str, **parameters: str | None) -> str:
    """The URI with these parameters added to its query, which is kept (RFC 6749 §3.1.2); None is left out."""
    parts = urlsplit(uri)
    query = parse_qsl(parts.query, keep_blank_values=True)
    query += [(name, value) for name, value in parameters.items() if value is not None]
    return parts._replace(query=urlencode(query)).geturl()

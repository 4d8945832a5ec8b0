"""Access to `/metrics`: for clients on a private network and clients with the token.

Behind an undeclared proxy every client has the proxy's address, which is private. So a request counts as public if its
headers show another number of proxies than TRUSTED_PROXY_COUNT.
"""

import hmac
from ipaddress import ip_network

from werkzeug.datastructures import Headers

from app.common.client_address import parse_address
from app.errors import Forbidden, InvalidToken
from app.settings import MetricsAccess

# Python's `is_private` includes documentation, benchmark and other reserved ranges, too.
_PRIVATE_NETWORKS = [
    ip_network(network)
    for network in (
        *("127.0.0.0/8", "::1/128"),  # loopback
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),  # RFC 1918
        "fc00::/7",  # RFC 4193
        *("169.254.0.0/16", "fe80::/10"),  # link-local: RFC 3927, RFC 4291
    )
]
FORWARDED = "Forwarded"
FORWARDED_FOR = "X-Forwarded-For"
_PROXY_HEADERS = (
    *(FORWARDED, FORWARDED_FOR, "Via", "X-Real-IP", "X-Client-IP", "True-Client-IP", "CF-Connecting-IP"),
    *("X-Forwarded", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Server"),
)


def check(access: MetricsAccess, *, headers: Headers, client_address: str | None, proxies: int) -> None:
    """Return if the client may read the metrics.

    `client_address` is ProxyFix's result, `proxies` the number of proxies that it trusts.

    Raises:
        InvalidToken: the request has an Authorization header without the token.
        Forbidden: it has no Authorization header.
    """
    if access.allow_private_only:
        if _came_as_configured(headers, proxies) and is_private(client_address or ""):
            return
    elif access.admin_token is None:
        return
    sent = headers.get("Authorization")
    if sent is None:
        raise Forbidden("The metrics are not for everyone.")
    if access.admin_token is None or not _is_token(sent, access.admin_token):
        raise InvalidToken("This is not the token for the metrics.")


def is_private(address: str) -> bool:
    """Whether the text is an address of a private network; False for text that is no address."""
    found = parse_address(address)
    return found is not None and any(found in network for network in _PRIVATE_NETWORKS)


def _came_as_configured(headers: Headers, proxies: int) -> bool:
    if proxies == 0:
        return not any(name in headers for name in _PROXY_HEADERS)
    # Each trusted proxy adds one entry. With fewer entries ProxyFix leaves the address of the last proxy.
    entries = headers.get(FORWARDED_FOR, "").split(",")
    return FORWARDED not in headers and len(entries) == proxies and all(entry.strip() for entry in entries)


def _is_token(authorization: str, token: str) -> bool:
    scheme, _, sent = authorization.partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(sent.strip().encode(), token.encode())

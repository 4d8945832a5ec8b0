"""Who may read `/metrics`: whoever is on a private network, as far as that can be known, or has the token.

An address is worth something only if it is the client's own. Behind a proxy that nobody declared, everyone has the
proxy's address, which is a private one: so whatever shows that a request came another way than the settings say, by
fewer proxies or by more, counts as public.
"""

import hmac
from ipaddress import ip_network

from werkzeug.datastructures import Headers

from app.client_address import parsed
from app.errors import Forbidden, InvalidToken
from app.settings import MetricsAccess

# Listed, since Python's `is_private` also takes documentation, benchmark and other reserved ranges for private.
_PRIVATE = [
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
# What proxies add to say on whose behalf they ask.
_SIGNS_OF_A_PROXY = (
    *(FORWARDED, FORWARDED_FOR, "Via", "X-Real-IP", "X-Client-IP", "True-Client-IP", "CF-Connecting-IP"),
    *("X-Forwarded", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Server"),
)


def check(access: MetricsAccess, *, headers: Headers, client_address: str | None, proxies: int) -> None:
    """Let the caller read, or raise.

    `client_address` is what ProxyFix made of the request, `proxies` how many it trusts.

    Raises:
        InvalidToken: something was sent as a credential, and it is not the token.
        Forbidden: nothing was.
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
    """Tell whether it is an address of a private network; False for all that is no address at all."""
    found = parsed(address)
    return found is not None and any(found in network for network in _PRIVATE)


def _came_as_configured(headers: Headers, proxies: int) -> bool:
    if proxies == 0:
        return not any(name in headers for name in _SIGNS_OF_A_PROXY)
    # Each trusted proxy adds one entry. With fewer, ProxyFix leaves the address of the last proxy, for everybody.
    entries = headers.get(FORWARDED_FOR, "").split(",")
    return FORWARDED not in headers and len(entries) == proxies and all(entry.strip() for entry in entries)


def _is_token(authorization: str, token: str) -> bool:
    scheme, _, sent = authorization.partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(sent.strip().encode(), token.encode())

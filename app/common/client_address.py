"""Client addresses, and the networks by which requests and login attempts are counted."""

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

UNKNOWN = "unknown"
CACHED_ADDRESSES = 1024
# RFC 7239 §6: an IPv6 address in brackets, an optional port, optional quotes around both.
_NODE = re.compile(r'"?(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<ipv4>[0-9.]+))(?::[0-9]{1,5})?"?', re.ASCII)
SUBSCRIBER_PREFIX_BITS = 64  # the least that a provider assigns to one subscriber (RFC 6177 §2)


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """The address, the IPv4 address for an IPv4-mapped IPv6 address, None for any other text."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # A dual-stack listener reports IPv4 clients as mapped addresses.
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


@lru_cache(CACHED_ADDRESSES)
def bare_address(node: str) -> str:
    """The address in an entry of X-Forwarded-For, without port, brackets or quotes; empty if it has none."""
    text = node.strip()
    match = _NODE.fullmatch(text)
    address = parse_address(match["ipv6"] or match["ipv4"] if match else text)
    return "" if address is None else str(address)


@lru_cache(CACHED_ADDRESSES)
def network_of(address: str) -> str:
    """The network that an address is counted by, in at most 24 characters.

    An IPv4 address is its own network (`192.0.2.7`), an IPv6 address belongs to its /64 (`2001:db8:0:1::/64`). Any
    other text is `UNKNOWN`. All spellings of an address give the same name.
    """
    found = parse_address(address)
    if isinstance(found, IPv6Address):
        return str(IPv6Network((int(found), SUBSCRIBER_PREFIX_BITS), strict=False))
    return UNKNOWN if found is None else str(found)

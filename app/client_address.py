"""Which network a client's address belongs to: what attempts and requests are counted by."""

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

UNKNOWN = "unknown"
MAX_NODE_CHARACTERS = 100  # more than any address with its port takes
MAX_REMEMBERED = 4096  # of those who asked last
# RFC 7239 §6: an IPv6 address in brackets, perhaps a port, all of it perhaps in quotes.
_NODE = re.compile(r'"?(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<ipv4>[0-9.]+))(?::[0-9]{1,5})?"?', re.ASCII)

# What a provider hands to one subscriber at the least (RFC 6177 §2): within it, addresses are free for the taking.
SUBSCRIBER_PREFIX_BITS = 64


def bare_address(node: str) -> str:
    """The address in what a proxy says of its client: some write a port, brackets or quotes. Empty if there is none.

    An IPv4-mapped IPv6 address is the IPv4 address within it.
    """
    return _bare_address(node) if len(node) <= MAX_NODE_CHARACTERS else ""


@lru_cache(maxsize=MAX_REMEMBERED)
def _bare_address(node: str) -> str:
    match = _NODE.fullmatch(node.strip())
    found = parsed(match["ipv6"] or match["ipv4"] if match else node.strip())
    return "" if found is None else str(found)


def parsed(address: str) -> IPv4Address | IPv6Address | None:
    """The address, the IPv4 one where an IPv6 address only maps it; None for all that is none."""
    try:
        found = ip_address(address)
    except ValueError:
        return None
    # How a listener for both families sees IPv4. Other embeddings (6to4, NAT64) come from outside.
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found


def network_of(address: str) -> str:
    """The name of the network that `address` stands for when things are counted by client address.

    An IPv4 address stands for itself (`192.0.2.7`), an IPv6 address for its /64 (`2001:db8:0:1::/64`), and an
    IPv4-mapped IPv6 address (`::ffff:192.0.2.7`) for the IPv4 address within it. Total: whatever is no address, such as
    the empty string or what a proxy passed on unread, is `UNKNOWN`. All spellings of one network give the same name,
    and no name is longer than 24 characters.
    """
    return _network_of(address) if len(address) <= MAX_NODE_CHARACTERS else UNKNOWN


@lru_cache(maxsize=MAX_REMEMBERED)
def _network_of(address: str) -> str:
    # The zone (`fe80::1%eth0`) says by which interface an address is reached, not whose it is.
    found = parsed(address.partition("%")[0] if ":" in address else address)
    if isinstance(found, IPv6Address):
        return str(IPv6Network((found, SUBSCRIBER_PREFIX_BITS), strict=False))
    return UNKNOWN if found is None else str(found)

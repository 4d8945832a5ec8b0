"""The bare address in whatever a proxy writes of its client (RFC 7239 §6), and nothing where there is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.common.client_address import bare_address

ADDRESSES = {
    "192.0.2.7": "192.0.2.7",
    " 192.0.2.7 ": "192.0.2.7",
    "192.0.2.7:1234": "192.0.2.7",
    '"192.0.2.7:1234"': "192.0.2.7",
    "2001:db8::5": "2001:db8::5",
    "2001:DB8:0::5": "2001:db8::5",
    "[2001:db8::5]": "2001:db8::5",
    "[2001:db8::5]:443": "2001:db8::5",
    '"[2001:db8::5]:443"': "2001:db8::5",
    "::ffff:192.0.2.7": "192.0.2.7",
}
NONE = [
    *("", " ", "unknown", "_hidden", "example.com", "05.6.7.8", "1.2.3", "127.1", "0x7f.0.0.1", "[2001:db8::5"),
    *("1.2.3.4:", "1.2.3.4:123456", "1.2.3.4, 5.6.7.8", "١.2.3.4", "2001:db8::5:443:1:2:3:4:5"),
]


@pytest.mark.parametrize(("node", "address"), ADDRESSES.items())
def test_an_address_is_found_whatever_is_around_it(node: str, address: str) -> None:
    assert bare_address(node) == address


@pytest.mark.parametrize("node", NONE)
def test_what_is_no_address_is_nothing(node: str) -> None:
    assert bare_address(node) == ""


@given(st.text())
def test_whatever_is_said_it_is_an_address_or_nothing(node: str) -> None:
    found = bare_address(node)
    assert found == "" or bare_address(found) == found

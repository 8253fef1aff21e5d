"""Which addresses are public: each special block, at its borders, and IPv4 addresses in the spellings of IPv6."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.process.public_addresses import refusal

PUBLIC = [
    "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "128.0.0.1", "169.253.255.255",
    "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0", "223.255.255.255",
    "2606:4700:4700::1111", "2a00:1450:4001:80e::200e", "2400::1",
]  # fmt: skip

REFUSED = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200", "127.0.0.1",
    "127.255.255.255", "169.254.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.0.9",
    "192.0.2.1", "192.88.99.1", "192.168.0.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1",
    "255.255.255.255", "168.63.129.16",
    "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "64:ff9b::a00:1", "64:ff9b:1::1", "100::1",
    "2001::1", "2001:db8::1", "2002:7f00:1::", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fd20:ce::254",
    "fe80::1", "fe80::1%1", "fec0::1", "ff02::1",
]  # fmt: skip

NO_ADDRESSES = ["", "localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.0.0.1.", " 8.8.8.8", "[::1]"]


@pytest.mark.parametrize("address", PUBLIC)
def test_public(address: str) -> None:
    assert refusal(address) == ""


@pytest.mark.parametrize("address", REFUSED)
def test_not_public(address: str) -> None:
    assert refusal(address) == "not a public address"


@pytest.mark.parametrize("text", NO_ADDRESSES)
def test_other_spellings_are_refused(text: str) -> None:
    assert refusal(text) == "not an IP address"


@given(st.ip_addresses(v=4))
def test_no_ipv4_address_passes_in_a_spelling_of_ipv6(ip: ipaddress.IPv4Address) -> None:
    high, low = int(ip) >> 16, int(ip) & 0xFFFF
    for text in (
        f"::ffff:{ip}",
        f"::{ip}",
        f"64:ff9b::{ip}",
        f"2002:{high:x}:{low:x}::1",
        f"2001:0:{high:x}:{low:x}::1",
    ):
        assert refusal(text) != "", text


@given(st.ip_addresses())
def test_what_the_library_calls_private_is_never_public(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if ip.is_private or ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_reserved or ip.is_unspecified:
        assert refusal(str(ip)) != ""

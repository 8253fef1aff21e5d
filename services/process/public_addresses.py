"""The rule for connections whose target somebody else has chosen, a client or a model: public addresses only. Pure.

Python's `is_global` follows the registries of special addresses. It lets some addresses pass that lead to an inner
network all the same; those are listed here. Check the address that is connected to, never the name: a name may have
another address a moment later.
"""

import ipaddress
from typing import Final

_GLOBAL_UNICAST_6: Final = ipaddress.IPv6Network("2000::/3")
"""All that is assigned of IPv6. Outside are IPv4 addresses in other spellings (::ffff:10.0.0.1, 64:ff9b::10.0.0.1)."""

_REFUSED_4: Final = tuple(
    map(
        ipaddress.IPv4Network,
        (
            "168.63.129.16/32",  # Azure: services of the host, with the metadata of the machine
            "192.0.0.0/24",  # protocol assignments, among them the metadata of Oracle's cloud
            "192.88.99.0/24",  # relays between IPv4 and IPv6
        ),
    )
)

_REFUSED_6: Final = tuple(
    map(
        ipaddress.IPv6Network,
        (
            "2001::/23",  # protocol assignments: Teredo carries an IPv4 address
            "2001:db8::/32",
            "2002::/16",  # 6to4 carries an IPv4 address
            "3fff::/20",  # documentation
        ),
    )
)


def refusal(address: str) -> str:
    """Why nothing may connect to the address, in a few words; empty if it is public.

    `address` is an IP address as `getaddrinfo` writes it. Other texts, and other spellings, are refused.
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return "not an IP address"
    if isinstance(ip, ipaddress.IPv4Address):
        refused = any(ip in network for network in _REFUSED_4)
    else:
        refused = ip not in _GLOBAL_UNICAST_6 or any(ip in network for network in _REFUSED_6)
    if refused or not ip.is_global or ip.is_multicast:
        return "not a public address"
    return ""

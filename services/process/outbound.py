"""Connections to public addresses of other machines only, whatever the name or spelling of the target.

A name is resolved once, each of its addresses is checked, and the connection goes to one of these. Spellings such as
`127.1` are resolved too, so that what is checked is always the address that is connected to.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Final

from holdfast.process.public_addresses import refusal

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""The addresses of a host. Raises OSError."""


_FOREIGN: Final = ("192.0.2.1", "2001:db8::1")
"""Addresses that no machine has (RFC 5737, RFC 3849), of IPv4 and IPv6."""


class AddressRefused(OSError):
    """The target has an address that is not public. The text does not name it: it may be of an inner network."""


@cache
def tls_context() -> ssl.SSLContext:
    """Checks certificates by the system's authorities. Made once, as that takes some milliseconds."""
    return ssl.create_default_context()


async def resolve(host: str, port: int) -> list[str]:
    """The addresses that the system has for the host, without repetition. Raises OSError, among it gaierror."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def is_own(address: str) -> bool:
    """Whether the IP address is one of this machine. Its services trust what reaches them without its firewall.

    Only an own address can be bound to. Where `ip_nonlocal_bind` is set any can: then the source decides that the
    system chooses for a connection to the address. Nothing is sent.
    """
    if not _can_bind(address):
        return False
    return not _can_bind(_FOREIGN[":" in address]) or _source(address) == address


def _can_bind(address: str) -> bool:
    with contextlib.suppress(OSError), _datagram_socket(address) as probe:
        probe.bind((address, 0))
        return True
    return False


def _source(address: str) -> str:
    with contextlib.suppress(OSError), _datagram_socket(address) as probe:
        probe.connect((address, 9))
        return str(probe.getsockname()[0])
    return ""


def _datagram_socket(address: str) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)


async def connect(
    host: str, port: int, *, tls: bool, limit: int, check: bool = True, addresses: Resolve = resolve
) -> Streams:
    """Connect to the host. `limit`: bytes that are read ahead, and of the longest line.

    Not `check`: the host may have any address. Raises AddressRefused and other OSError; no deadline of its own.
    """
    found = await addresses(host, port)
    for address in found if check else ():
        if why := refusal(address) or ("one of this machine" if is_own(address) else ""):
            raise AddressRefused(f"the host has an address that is {why}")
    failure = OSError("the host has no address")
    for address in found:
        try:
            return await asyncio.open_connection(
                address, port, limit=limit, ssl=tls_context() if tls else None, server_hostname=host if tls else None
            )
        except OSError as exc:
            failure = exc
    raise failure

"""Connections of aiohttp to public addresses only (`public_addresses`), whatever the name or spelling of the target.

A name is resolved once, each of its addresses is checked, and the connection goes to one of these. An address in the
URL is not resolved by aiohttp; it is checked where its socket is made.
"""

import socket
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from holdfast.process.public_addresses import refusal


class AddressRefused(OSError):
    """The target has an address that is not public. The text does not name it: it may be of an inner network."""


class _CheckedResolver(AbstractResolver):
    """Refuses a name if one of its addresses is not public."""

    def __init__(self, inner: AbstractResolver) -> None:
        self._inner = inner

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        for one in found:
            _check(one["host"])
        return found

    async def close(self) -> None:
        await self._inner.close()


def _check(address: str) -> None:
    if why := refusal(address):
        raise AddressRefused(f"the host has an address that is {why}")


def _checked_socket(info: tuple[Any, ...]) -> socket.socket:
    family, kind, proto, _, address = info
    _check(address[0])
    return socket.socket(family=family, type=kind, proto=proto)


def public_connector(*, limit: int, resolver: AbstractResolver | None = None) -> aiohttp.TCPConnector:
    """Connects to public addresses only, each connection for one request, at most `limit` at once.

    `resolver` looks names up, by default as the system does.
    A refused target ends in ClientConnectorError, whose `os_error` is AddressRefused. Follow no redirects with it
    unless their targets are checked too: it checks addresses, not schemes.
    """
    return aiohttp.TCPConnector(
        limit=limit,
        force_close=True,
        use_dns_cache=False,
        resolver=_CheckedResolver(resolver or ThreadedResolver()),
        socket_factory=_checked_socket,
    )


def unchecked_connector(*, limit: int) -> aiohttp.TCPConnector:
    """As `public_connector` without the check: for hosts that the operator has named."""
    return aiohttp.TCPConnector(limit=limit, force_close=True, use_dns_cache=False)


def was_refused(exc: BaseException) -> bool:
    """Whether a request failed because its target is not public."""
    return isinstance(exc, AddressRefused) or (
        isinstance(exc, aiohttp.ClientConnectorError) and isinstance(exc.os_error, AddressRefused)
    )

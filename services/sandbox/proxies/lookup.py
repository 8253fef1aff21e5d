"""Looking up the names that sandboxes ask for: in threads of its own, so that slow names hold up nobody else.

A lookup cannot be cancelled, and one of a name whose server does not answer takes up to half a minute. So a slot is
given back when the lookup has ended, not when nobody waits for it any more.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Final

from holdfast.process.outbound import AddressRefused
from holdfast.sandbox.proxies.egress_rules import is_address
from holdfast.sandbox.threads import in_daemon_thread

WORKER_LOOKUPS: Final = 32
"""Lookups of all sandboxes of a worker at the same time, each in a thread."""

SANDBOX_LOOKUPS: Final = 4
"""Lookups of one sandbox at the same time."""

_NO_SUCH_NAME: Final = (socket.EAI_NONAME, socket.EAI_NODATA)


class Lookups:
    """Lookups at the same time are limited, here and in `all_sandboxes`, those of the worker as a whole."""

    def __init__(self, limit: int, all_sandboxes: "Lookups | None" = None) -> None:
        self._slots = asyncio.Semaphore(limit)
        self._parent = all_sandboxes

    async def addresses(self, host: str, port: int) -> list[str]:
        """The addresses of a host, without repetition. Raises OSError; AddressRefused if it has none.

        A name without an address and one with a private address are refused alike. Otherwise code in a sandbox could
        find out which names an inner network has.
        """
        if is_address(host):
            return [host]
        gives_back = await self._take()
        lookup = asyncio.ensure_future(in_daemon_thread(_look_up, host, port))
        lookup.add_done_callback(lambda done: (gives_back(), done.cancelled() or done.exception()))
        return await asyncio.shield(lookup)

    async def _take(self) -> Callable[[], None]:
        """Wait for a slot here and in the parent; the function gives both back."""
        await self._slots.acquire()
        if self._parent is None:
            return self._slots.release
        try:
            parents = await self._parent._take()  # noqa: SLF001  of the same class
        except BaseException:
            self._slots.release()
            raise

        def give_back() -> None:
            parents()
            self._slots.release()

        return give_back


def _look_up(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as exc:
        if exc.errno in _NO_SUCH_NAME:
            raise AddressRefused("the host has no public address") from None
        raise
    return list(dict.fromkeys(str(address[0]) for *_, address in found))

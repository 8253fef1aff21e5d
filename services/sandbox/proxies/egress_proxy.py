"""The egress proxy: the only way out of a sandbox. It listens on one Unix socket for each sandbox.

The socket says which sandbox it is, so nothing inside has to prove it, and no credential exists there. A sandbox has no
other route: its network is a loopback of its own (`drivers/`). A forwarder inside (`agent/network.py`) brings TCP
connections to the socket.
"""

import asyncio
import os
import resource
import shutil
import socket
from collections.abc import Collection
from pathlib import Path
from typing import Final

import structlog

from holdfast.bus.ids import Key
from holdfast.process import failures, metering, metrics
from holdfast.sandbox.egress import Egress
from holdfast.sandbox.proxies.egress_connection import Connection
from holdfast.sandbox.proxies.egress_rules import Refused
from holdfast.sandbox.proxies.http_peer import CHUNK_BYTES, end
from holdfast.sandbox.proxies.lookup import SANDBOX_LOOKUPS, WORKER_LOOKUPS, Lookups

log = structlog.get_logger()

SOCKET: Final = "proxy"
"""Name of the socket in the folder of a sandbox."""

BACKLOG: Final = 128
"""Connections that wait to be accepted; the kernel lets further ones wait, or fail."""

NEW_PER_S: Final = 50.0
"""New connections of one sandbox in a second, when BURST is used up: each takes about a millisecond of the worker."""

BURST: Final = 200.0

PAUSE_S: Final = 1.0
"""Seconds until the next attempt to accept a connection, after one that failed."""

SPARE_FILES: Final = 400
"""Open files that the rest of the worker needs. A connection takes two."""

LOGGED_TARGETS: Final = 1000
"""Different hosts and verdicts of one sandbox that are logged."""


class EgressLimits:
    """Limits of one sandbox. `total_bytes`: both directions together; 0: no limit."""

    def __init__(self, connections: int, total_bytes: int) -> None:
        self.connections = connections
        self.total_bytes = total_bytes


class EgressProxy:
    """The proxy of one worker. `exempt`: hosts in lower case that may have any address and port."""

    def __init__(self, limits: EgressLimits, exempt: Collection[str]) -> None:
        self.limits = limits
        self.exempt = frozenset(exempt)
        self.lookups = Lookups(WORKER_LOOKUPS)
        most = max(16, (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE_FILES) // 2)
        self.slots = asyncio.Semaphore(most)
        """Connections of all sandboxes at the same time."""

    def open(self, egress: Egress, key: Key, generation: str, folder: Path) -> "EgressRoute":
        """Listen for a sandbox, on a socket in `folder`, which is made. Raises OSError."""
        return EgressRoute(self, egress, key, generation, folder)


class EgressRoute:
    """The way out of one sandbox, until `close`. See `egress_connection.Network`."""

    def __init__(self, proxy: EgressProxy, egress: Egress, key: Key, generation: str, folder: Path) -> None:
        self.egress = egress
        self.exempt: Collection[str] = proxy.exempt
        self.lookups = Lookups(SANDBOX_LOOKUPS, proxy.lookups)
        self.folder = folder
        self._log = log.bind(session=key.session, tenant=key.tenant, generation=generation)
        self._proxy = proxy
        self._slots = asyncio.Semaphore(proxy.limits.connections)
        self._bytes = 0
        self._verdicts: dict[tuple[str, str], int] = {}
        self._connections: set[asyncio.Task[None]] = set()
        self._listener = _listen(folder)
        self._accepting = asyncio.create_task(self._accept())

    def count(self, size: int) -> None:
        """See Network."""
        self._bytes += size
        metering.add(metrics.EGRESS_BYTES, size)
        if 0 < self._proxy.limits.total_bytes < self._bytes:
            most = self._proxy.limits.total_bytes
            raise Refused("bytes", f"this sandbox has used up the {most} bytes of traffic that it may have")

    def verdict(self, target: str, code: str) -> None:
        """See Network. The first of each kind is logged."""
        metering.add(metrics.EGRESS_CONNECTIONS, labels={metrics.VERDICT: code or "allowed"})
        seen = (target, code)
        if seen not in self._verdicts:
            if len(self._verdicts) >= LOGGED_TARGETS:
                return
            self._log.info("egress refused" if code else "egress", target=target, verdict=code or "allowed")
        self._verdicts[seen] = self._verdicts.get(seen, 0) + 1

    async def close(self) -> None:
        """End all connections, and remove the folder of the socket. May be repeated."""
        tasks = [self._accepting, *self._connections]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._listener.close()
        if self._verdicts:
            allowed = sum(count for (_, code), count in self._verdicts.items() if not code)
            refused = sum(self._verdicts.values()) - allowed
            self._log.info("egress of a sandbox that ended", allowed=allowed, refused=refused, bytes=self._bytes)
            self._verdicts.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    async def _accept(self) -> None:
        """Accept connections, as many and as fast as the sandbox may have them. The others wait in the kernel."""
        loop = asyncio.get_running_loop()
        tokens, filled_at = BURST, loop.time()
        while True:
            await self._slots.acquire()
            task = asyncio.create_task(self._serve(await self._next_connection(loop)))
            self._connections.add(task)
            task.add_done_callback(self._ended)
            now = loop.time()
            tokens, filled_at = min(BURST, tokens + (now - filled_at) * NEW_PER_S) - 1, now
            if tokens < 0:
                await asyncio.sleep(-tokens / NEW_PER_S)

    async def _next_connection(self, loop: asyncio.AbstractEventLoop) -> socket.socket:
        """The next connection, when the worker has room for it."""
        while True:
            try:
                accepted, _ = await loop.sock_accept(self._listener)
            except OSError as exc:  # the process may open no further file
                self._log.warning("no connection of a sandbox can be accepted", cause=exc.strerror)
                await asyncio.sleep(PAUSE_S)
                continue
            try:
                await self._proxy.slots.acquire()
            except BaseException:
                accepted.close()
                raise
            return accepted

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._connections.discard(task)
        self._slots.release()
        self._proxy.slots.release()
        if not task.cancelled() and (exc := task.exception()) is not None:
            self._log.error("a connection of a sandbox failed", exc_info=exc, failure=failures.bug("egress"))

    async def _serve(self, accepted: socket.socket) -> None:
        try:
            reader, writer = await asyncio.open_unix_connection(sock=accepted, limit=CHUNK_BYTES)
        except BaseException:
            accepted.close()
            raise
        try:
            await Connection(self, reader, writer).serve()
        finally:
            await end(writer)


def _listen(folder: Path) -> socket.socket:
    """A listening socket in the folder, which is made. Raises OSError.

    It is bound by way of the descriptor of the folder: the path of a socket has at most 107 bytes, and data folders
    have long names. Every user may connect, since a container may have another one than the service. On the host the
    folder of the worker keeps others away.
    """
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(f"/proc/self/fd/{fd}/{SOCKET}")
        (folder / SOCKET).chmod(0o666)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    finally:
        os.close(fd)
    return listener

"""Wiring of the vault service."""

import asyncio
import time
from typing import Final

import structlog

from holdfast.bus import subjects
from holdfast.bus.jetstream.client import NatsBus, connect
from holdfast.process.health import Health
from holdfast.process.lifecycle import forbid_inspection, launch
from holdfast.vault import paths
from holdfast.vault.credentials import Credentials
from holdfast.vault.errors import StoreUnavailable
from holdfast.vault.sealing_key import SealingKey, open_sealing_key
from holdfast.vault.service import Service
from holdfast.vault.settings import VaultSettings
from holdfast.vault.store import Store
from holdfast.vault.vaults import Vaults

log = structlog.get_logger()

QUEUE: Final = "vault"
CHECK_EVERY: Final = 2.0
CHECK_FIRST: Final = 0.05
"""Seconds between two looks at the store: afterwards, and until it has answered for the first time."""

READ_EVERY: Final = 30.0
"""Seconds between two real reads while all is well. They find what a health answer hides, such as a full audit disk,
but each is two lines in the audit log, for ever."""


def _now() -> int:
    return time.time_ns() // 1000


class Opened:
    """The key of the service, read once it can be had, and whether the store can be used now."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._box: SealingKey | None = None
        self._read_due = 0.0

    async def box(self) -> SealingKey:
        """Raises Closed."""
        if self._box is None:
            self._box = await open_sealing_key(self._store)
        return self._box

    async def check(self) -> None:
        """Raises Closed unless the store answers; from time to time, and after a failure, by a real read."""
        if time.monotonic() < self._read_due:
            await self._store.ping()
            return
        await self.box()
        await self._store.get(paths.BOX)
        self._read_due = time.monotonic() + READ_EVERY

    def doubt(self) -> None:
        """The next check is a real read."""
        self._read_due = 0.0


async def serve(settings: VaultSettings, stop: asyncio.Event) -> None:
    """Answer until `stop`, then finish what is in hand."""
    forbid_inspection()
    store = Store(settings)
    opened = Opened(store)
    vaults = Vaults(store, _now)
    credentials = Credentials(store, vaults, _now, loopback=settings.mcp_loopback)
    service = Service(vaults, credentials, opened.box)
    health = Health("vault", "bus", "store")
    async with health.serve(settings.health_port):
        bus = await connect(settings, name="vault")
        admin = await bus.core.serve(subjects.VAULT_ADMIN, service.admin, queue=QUEUE)
        key = await bus.core.serve(subjects.VAULT_KEY, service.key, queue=QUEUE)
        log.info("ready", url=settings.vault_url)
        watching = asyncio.create_task(_watch(health, bus, opened))
        try:
            await stop.wait()
        finally:
            health.stop()
            watching.cancel()
            await admin.close()
            await key.close()
            await bus.close()
            await store.close()


async def _watch(health: Health, bus: NatsBus, opened: Opened) -> None:
    """Keep the checks current."""
    was: bool | None = None
    ever = False
    while True:
        health.set("bus", bus.connected)
        try:
            await opened.check()
        except StoreUnavailable:
            opened.doubt()
            ok = False
        else:
            ok = True
        health.set("store", ok)
        if ok is not was:
            log.info("store", available=ok)
        was, ever = ok, ever or ok
        await asyncio.sleep(CHECK_EVERY if ever else CHECK_FIRST)


def main() -> None:
    launch("vault", VaultSettings, serve)
